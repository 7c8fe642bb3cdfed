"""Pre-training on a GPU against what its chip allows: ``python -m benchmarks.gpu``.

Epochs of ``pretrain`` go over a store of synthetic slices; the first compiles and is not counted. The fraction of the
peak is that of the operations of forward and backward, as torch counts them, over the chip's dense bfloat16 peak.
Without a GPU it says so, prints nulls and ends well.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
import tyro
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.images import write_images
from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store, open_store
from sslmri.learning.pretrain import SimCLR, pretrain
from sslmri.learning.settings import PretrainSettings, ViewSettings
from sslmri.models.architecture import RESNET50
from sslmri.models.history import read_history
from sslmri.scans.slices import Preparation

_SIZES = (128, 224)  # pixels per side
_EPOCHS, _SLICES = 50, 100_947  # the training whose time is projected
_PEAKS = {"H200": 989.5e12, "H100": 989.5e12, "A100": 312e12, "L4": 121e12}  # dense bfloat16, operations a second
_DRAWN = 2_000  # different images; the store repeats them


@dataclass(frozen=True)
class Settings:
    """Time pre-training on a GPU.

    Attributes:
        slices: slices of an epoch.
        batch_size: slices a step; 0 finds the largest that fits.
        epochs: timed epochs, after the one that compiles.
        peak: dense bfloat16 operations a second of the chip, where its name is not known here.
    """

    slices: int = 20_480
    batch_size: int = 512
    epochs: int = 2
    peak: float | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table and, last, one line of JSON for the first size."""
    settings = tyro.cli(Settings, args=arguments, description=__doc__)
    figures: dict[str, float | None] = dict.fromkeys(("slices_per_s", "share_of_peak", "projected_s"))
    if not torch.cuda.is_available():
        print("No GPU here: nothing was measured. Run this command on a machine that has one.")
        print(json.dumps(figures))
        return
    name = torch.cuda.get_device_name()
    peak = settings.peak or next((value for key, value in _PEAKS.items() if key in name), None)
    print(f"{name}, batch {settings.batch_size}, {settings.slices} slices an epoch\n")
    print(f"| size, px | slices/s | fraction of the peak | {_EPOCHS} epochs of {_SLICES} slices, s |")
    print("|---|---|---|---|")
    for size in _SIZES:
        rate = _rate(size, settings)
        share = rate * _operations(size) / peak if peak else None
        shown = "-" if share is None else f"{share:.2f}"
        print(f"| {size} | {rate:.0f} | {shown} | {_EPOCHS * _SLICES / rate:.0f} |", flush=True)
        if size == _SIZES[0]:
            found = (round(rate, 1), None if share is None else round(share, 3), round(_EPOCHS * _SLICES / rate, 1))
            figures = dict(zip(figures, found, strict=True))
    print(f"\n{json.dumps(figures)}")


def _rate(size: int, settings: Settings) -> float:
    """Returns the slices a second of the middle epoch, the first left out; checkpoints are not counted."""
    own = PretrainSettings(
        epochs=settings.epochs + 1,
        batch_size=settings.batch_size,
        probe_every=settings.epochs + 1,
        device="cuda",
        views=ViewSettings(size=size),
    )
    preparation = Preparation(image_size=(size, size))
    with TemporaryDirectory() as name:
        files = write_images(Path(name) / "files", min(_DRAWN, settings.slices), size, ".jpg")
        records = [Record(path, path.name, "benchmark", None, None, path.stem, None) for path in files]
        drawn = open_store(records, preparation, Path(name) / "store")
        rows = np.arange(settings.slices) % len(drawn.records)
        pool = Store(drawn.pixels, [drawn.records[row] for row in rows], [], rows)
        pretrain(pool, (drawn.select([]), drawn.select([])), preparation, Path(name) / "run", own)
        history = read_history(Path(name) / "run" / "history.jsonl")[1:]
    return median(float(entry["slices_per_s"]) for entry in history)


def _operations(size: int) -> float:
    """Returns the floating-point operations of forward and backward for the two views of a slice."""
    model, views = SimCLR(RESNET50), torch.rand(4, 1, size, size)
    with FlopCounterMode(display=False) as counter:
        model(views)[1].sum().backward()
    return counter.get_total_flops() / 2


if __name__ == "__main__":
    main()
