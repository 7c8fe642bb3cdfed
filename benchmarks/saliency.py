"""Maps of every head and class against grad-cam called for each: ``python -m benchmarks.saliency``.

Ours is what a screening does: one forward pass, and all maps in closed form from it. grad-cam is called once for each
head and class, as its documentation shows. Both start from prepared slices and run the shipped model in float32; that
the maps are the same is what ``tests/test_saliency.py`` proves.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
import tyro
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from benchmarks.images import write_images
from sslmri.learning.encoder import normalise
from sslmri.learning.model import Model
from sslmri.project import DEFAULT_MODEL
from sslmri.scans.slices import to_slices
from sslmri.screening.saliency import OneHead, class_maps
from tests.harness.parsing import parse_scan

_BATCHES = (1, 16)
_SHORT = 20  # rounds of the forward pass and the maps for each round of grad-cam: they take milliseconds


@dataclass(frozen=True)
class Settings:
    """Time all maps of a batch against grad-cam and against the forward pass.

    Attributes:
        model: the model folder.
        rounds: rounds after the one that warms up; the table shows their medians.
    """

    model: Path = DEFAULT_MODEL
    rounds: int = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table and, last, one line of JSON: the worst of the batch sizes."""
    settings = tyro.cli(Settings, args=arguments, description=__doc__)
    model = Model.load(settings.model)
    n_maps = sum(len(head.bias) for head in model.heads.values())
    print(f"{n_maps} maps of {len(model.heads)} heads, {torch.get_num_threads()} threads\n")
    print("| slices | forward, ms | our maps, ms | grad-cam, ms | grad-cam / (forward + maps) | maps / forward |")
    print("|---|---|---|---|---|---|")
    speeds, overheads = [], []
    for n_slices in _BATCHES:
        with TemporaryDirectory() as folder:
            files = write_images(Path(folder), n_slices, model.card.encoder.preparation.image_size[0], ".png")
            preparation = model.card.encoder.preparation
            slices = np.concatenate(
                [to_slices(parse_scan(file.read_bytes(), file.name), preparation) for file in files]
            )
        forward, maps, peer = _compare(model, slices, settings.rounds)
        speeds.append(peer / (forward + maps))
        overheads.append(maps / forward)
        times = " | ".join(f"{1e3 * seconds:.1f}" for seconds in (forward, maps, peer))
        print(f"| {n_slices} | {times} | {speeds[-1]:.1f} | {overheads[-1]:.3f} |", flush=True)
    figures = {"grad_cam_over_ours": round(min(speeds), 1), "overhead_of_forward": round(max(overheads), 3)}
    print(f"\n{json.dumps(figures)}")


def _compare(model: Model, slices: np.ndarray, rounds: int) -> tuple[float, float, float]:
    """Returns the median seconds of the forward pass, of our maps after it, and of grad-cam."""
    forward, maps, peer = [], [], []
    for number in range(rounds + 1):
        short = [_ours(model, slices) for _ in range(_SHORT)]
        started = time.perf_counter()
        _grad_cam(model, slices)
        seconds = time.perf_counter() - started
        print(f"{'warm-up' if number == 0 else number}: {short[-1]}, grad-cam {seconds:.3f}", file=sys.stderr)
        if number:
            forward += [one for one, _ in short]
            maps += [other for _, other in short]
            peer.append(seconds)
    return median(forward), median(maps), median(peer)


@torch.inference_mode()
def _ours(model: Model, slices: np.ndarray) -> tuple[float, float]:
    """Returns the seconds of the forward pass up to the logits, and of all maps after it."""
    started = time.perf_counter()
    stages = model.maps(slices)
    local = {key: head.local_logits(stages) for key, head in model.heads.items()}
    for key, head in model.heads.items():
        head.slice_logits(local[key])
    between = time.perf_counter()
    for key, head in model.heads.items():
        class_maps(local[key], head).numpy()
    return between - started, time.perf_counter() - between


def _grad_cam(model: Model, slices: np.ndarray) -> None:
    batch = normalise(torch.from_numpy(slices), model.card.encoder.preparation)
    batch = batch.contiguous(memory_format=torch.channels_last)
    for head in model.heads.values():
        network = OneHead(model.encoder, head)
        with GradCAM(model=network, target_layers=[network.stage]) as engine:
            for index in range(len(head.bias)):
                engine(input_tensor=batch, targets=[ClassifierOutputTarget(index)] * len(slices))


if __name__ == "__main__":
    main()
