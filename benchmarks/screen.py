"""Screening of folders against the bare forward pass of its encoder: ``python -m benchmarks.screen``.

Both see the same images in batches of the same size, one after the other in every round. The bare pass starts from
slices that are read and prepared already; screening starts from files and ends with the lines that the command prints.
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

from benchmarks.images import write_images
from sslmri.learning.encoder import pool
from sslmri.learning.model import Model
from sslmri.project import DEFAULT_MODEL
from sslmri.scans.slices import to_slices
from sslmri.screening.batch import BATCH_SCANS, screen_files
from sslmri.screening.report.export import json_line
from sslmri.screening.screener import Screener
from tests.harness.parsing import parse_scan

_KINDS = {128: ".jpg", 512: ".png"}


@dataclass(frozen=True)
class Settings:
    """Time screening of folders against the bare forward pass.

    Attributes:
        model: the model folder.
        files: images of each kind.
        rounds: rounds after the one that warms up; the table shows their medians.
    """

    model: Path = DEFAULT_MODEL
    files: int = 640
    rounds: int = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table and, last, one line of JSON."""
    settings = tyro.cli(Settings, args=arguments, description=__doc__)
    model = Model.load(settings.model)
    print(f"{settings.files} files of each kind, batches of {BATCH_SCANS}, {torch.get_num_threads()} threads\n")
    print("| files | bare, slices/s | screening, slices/s | screening / bare |")
    print("|---|---|---|---|")
    ratios: dict[str, float] = {}
    for size, suffix in _KINDS.items():
        with TemporaryDirectory() as folder:
            files = write_images(Path(folder), settings.files, size, suffix)
            bare, ours = _compare(model, files, settings.rounds)
        ratios[f"ours_over_bare_{size}"] = round(bare / ours, 3)
        cells = f"{len(files) / bare:.1f} | {len(files) / ours:.1f} | {bare / ours:.3f}"
        print(f"| {size} px {suffix[1:].upper()} | {cells} |", flush=True)
    print(json.dumps(ratios))


def _compare(model: Model, files: list[Path], rounds: int) -> tuple[float, float]:
    """Returns the median seconds of the bare pass and of screening."""
    screener = Screener(model)
    preparation = model.card.encoder.preparation
    scans = [parse_scan(file.read_bytes(), file.name) for file in files]
    slices = np.concatenate([to_slices(scan, preparation) for scan in scans])
    seconds = []
    for number in range(rounds + 1):
        own = (_bare(model, slices), _screening(screener, files))
        seconds.append(own)
        print(f"{'warm-up' if number == 0 else number}: {own}", file=sys.stderr)
    bare, ours = (median(column) for column in zip(*seconds[1:], strict=True))
    return bare, ours


@torch.inference_mode()
def _bare(model: Model, slices: np.ndarray) -> float:
    started = time.perf_counter()
    for first in range(0, len(slices), BATCH_SCANS):
        pool(model.maps(slices[first : first + BATCH_SCANS]).last)
    return time.perf_counter() - started


def _screening(screener: Screener, files: list[Path]) -> float:
    started = time.perf_counter()
    printed = [json_line(screener.card, entry, None) for entry, _ in screen_files(screener, files)]
    seconds = time.perf_counter() - started
    if any('"refused"' in line for line in printed):
        raise RuntimeError(f"Expected every image to be screened, got a refusal among {len(printed)}.")
    return seconds


if __name__ == "__main__":
    main()
