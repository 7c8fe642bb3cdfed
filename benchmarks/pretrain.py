"""Pre-training against lightly and against the bare step: ``python -m benchmarks.pretrain``.

All start from the same JPEG files, with the same encoder, batch and size, one after the other in every round:

- ours: the store is built in an empty folder and one epoch of ``pretrain`` goes over it;
- lightly: its documentation's SimCLR example with a ResNet-50 (its dataset, views, head and loss; float32, SGD);
- lightly in bfloat16 and channels-last: the same with the two lines that its user could add;
- bare: forward, backward and update of the encoder alone on tensors that are there already, two views a slice, in
  bfloat16 and channels-last. Nothing that trains this encoder so can be faster.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
import tyro
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.images import write_images
from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import open_store
from sslmri.learning.encoder import Encoder
from sslmri.learning.precision import autocast, choose_precision
from sslmri.learning.pretrain import pretrain
from sslmri.learning.settings import PretrainSettings, ViewSettings
from sslmri.models.history import read_history
from sslmri.scans.slices import Preparation

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Settings:
    """Time pre-training against lightly and the bare step.

    Attributes:
        files: JPEG files; each round goes over them once.
        size: pixels per side, of files and views.
        batch_size: slices a step.
        rounds: rounds after the one that warms up; the table shows their medians.
    """

    files: int = 640
    size: int = 128
    batch_size: int = 32
    rounds: int = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table and, last, one line of JSON."""
    settings = tyro.cli(Settings, args=arguments, description=__doc__)
    print(f"{settings.files} JPEG files of {settings.size} px, batch {settings.batch_size}, ", end="")
    print(f"{torch.get_num_threads()} threads\n")
    rates: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder:
        write_images(Path(folder) / "files", settings.files, settings.size, ".jpg")
        for number in range(settings.rounds + 1):
            few = replace(settings, files=2 * settings.batch_size) if number == 0 else settings
            for name, measured in _round(Path(folder) / "files", few).items():
                print(f"{'warm-up' if number == 0 else number}: {name} {measured:.2f} slices/s", file=sys.stderr)
                if number:
                    rates.setdefault(name, []).append(measured)
    middle = {name: median(values) for name, values in rates.items()}
    print("| | slices/s | least to most | fraction of the bare step |")
    print("|---|---|---|---|")
    for name, values in rates.items():
        spread = f"{min(values):.1f} to {max(values):.1f}"
        print(f"| {name} | {middle[name]:.1f} | {spread} | {middle[name] / middle['bare']:.2f} |")
    figures = {name: round(middle[name], 2) for name in ("ours", "lightly", "bare")}
    figures |= {f"ours_over_{name}": round(middle["ours"] / middle[name], 3) for name in ("lightly", "bare")}
    print(f"\n{json.dumps(figures)}")


def _round(folder: Path, settings: Settings) -> dict[str, float]:
    """Returns the slices a second of everyone."""
    files = sorted(folder.iterdir())[: settings.files]
    return {
        "ours": _ours(files, settings),
        "lightly": _lightly(files, settings, is_tuned=False),
        "lightly, bfloat16 and channels-last": _lightly(files, settings, is_tuned=True),
        "bare": _bare(settings),
    }


def _ours(files: list[Path], settings: Settings) -> float:
    """Times building the store and the steps of an epoch; the probe and the checkpoint after it are nobody's step."""
    records = [Record(path, path.name, "benchmark", None, None, path.stem, None) for path in files]
    preparation = Preparation(image_size=(settings.size, settings.size))
    own = PretrainSettings(
        epochs=1, batch_size=settings.batch_size, device="cpu", views=ViewSettings(size=settings.size)
    )
    with TemporaryDirectory(dir=files[0].parent.parent) as folder:
        started = time.perf_counter()
        store = open_store(records, preparation, Path(folder) / "store")
        built = time.perf_counter() - started
        pretrain(store, (store.select([]), store.select([])), preparation, Path(folder) / "run", own)
        entry = read_history(Path(folder) / "run" / "history.jsonl")[-1]
    return _seen(settings) / (built + float(entry["seconds"]))


def _lightly(files: list[Path], settings: Settings, is_tuned: bool) -> float:
    """Times an epoch of docs.lightly.ai/examples/simclr.html, with a ResNet-50 in place of its ResNet-18."""
    from lightly.data import LightlyDataset
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms.simclr_transform import SimCLRTransform

    transform = SimCLRTransform(input_size=settings.size)
    names = [path.name for path in files]
    dataset = LightlyDataset(str(files[0].parent), transform=transform, filenames=names)
    workers = os.cpu_count() or 1
    loader = DataLoader(dataset, batch_size=settings.batch_size, shuffle=True, drop_last=True, num_workers=workers)
    encoder = Encoder()
    encoder.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)  # its views are RGB
    model = nn.Sequential(encoder, SimCLRProjectionHead(2048, 2048, 128))
    layout = torch.channels_last if is_tuned else torch.contiguous_format
    model.to(memory_format=layout)
    criterion, optimizer = NTXentLoss(), torch.optim.SGD(model.parameters(), lr=0.06)
    started = time.perf_counter()
    for (first, second), *_ in loader:
        with autocast(_CPU, choose_precision(_CPU) if is_tuned else "float32"):
            one, other = (model(view.contiguous(memory_format=layout)) for view in (first, second))
        loss = criterion(one.float(), other.float())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return _seen(settings) / (time.perf_counter() - started)


def _bare(settings: Settings) -> float:
    encoder = Encoder()
    encoder.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(encoder.parameters(), fused=True)
    views = torch.rand(2 * settings.batch_size, 1, settings.size, settings.size)
    views = views.contiguous(memory_format=torch.channels_last)
    started = time.perf_counter()
    for _ in range(settings.files // settings.batch_size):
        with autocast(_CPU, choose_precision(_CPU)):
            features = encoder(views)
        features.float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return _seen(settings) / (time.perf_counter() - started)


def _seen(settings: Settings) -> int:
    """Returns the slices of an epoch: whole batches only."""
    return settings.files // settings.batch_size * settings.batch_size


if __name__ == "__main__":
    main()
