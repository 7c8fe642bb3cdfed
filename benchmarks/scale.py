"""What a record costs as records grow in number: ``python -m benchmarks.scale``.

Each run goes the way of a training: the manifest is read and split, the store is built from JPEG files in an empty
folder, the training side is selected and all its batches are drawn once, shuffled. Files were written a moment before,
so they come from memory in every run. The growth is that of the memory that is the process's own: the pages of the
mapped store belong to the system's cache, which takes them back at will.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import tyro

from benchmarks.images import write_images
from sslmri.cohorts.manifest import read_manifest, write_manifest
from sslmri.cohorts.splits import assign_splits
from sslmri.cohorts.store import open_store
from sslmri.scans.slices import Preparation
from tests.harness.memory import watch

_SIZE = 128  # pixels a side
_BATCH = 32
_PERSON = 30  # slices of one simulated subject


@dataclass(frozen=True)
class Settings:
    """Time the way from files to batches for growing numbers of records.

    Attributes:
        records: records of the largest run; the others have 1,000 and 10,000, or a hundredth and a tenth of fewer.
        rounds: rounds of all runs; the table shows their medians, and the largest growth.
    """

    records: int = 100_947
    rounds: int = 3


@dataclass(frozen=True)
class Run:
    """Seconds of the parts of one run, and the growth of its memory in MB."""

    manifest: float
    store: float
    batches: float
    again: float
    growth: float

    @property
    def total(self) -> float:
        """The way from the manifest to the last batch; opening the store again is not part of it."""
        return self.manifest + self.store + self.batches


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table and, last, one line of JSON."""
    settings = tyro.cli(Settings, args=arguments, description=__doc__)
    sizes = _sizes(settings.records)
    with TemporaryDirectory() as name:
        manifests = _write_manifests(Path(name), sizes)
        # the largest first: what it takes is then new to the process
        rounds = [[_run(manifest) for manifest in manifests[::-1]][::-1] for _ in range(settings.rounds)]
    print("| records | manifest, s | store built, s | one pass, s | store opened again, s | µs a slice | growth, MB |")
    print("|---|---|---|---|---|---|---|")
    totals = []
    for size, runs in zip(sizes, zip(*rounds, strict=True), strict=True):
        parts = (median(getattr(run, part) for run in runs) for part in ("manifest", "store", "batches", "again"))
        totals.append(median(run.total / size for run in runs))
        growth = max(run.growth for run in runs)
        shown = " | ".join(f"{part:.2f}" for part in parts)
        print(f"| {size} | {shown} | {1e6 * totals[-1]:.0f} | {growth:.0f} |")
    print(json.dumps({"time_ratio": round(totals[-1] / totals[0], 3), "memory_growth_mb": round(growth, 1)}))


def _sizes(records: int) -> tuple[int, int, int]:
    return (1_000, 10_000, records) if records > 10_000 else (max(1, records // 100), max(1, records // 10), records)


def _write_manifests(folder: Path, sizes: Sequence[int]) -> list[Path]:
    """Writes the images of the largest run, and a manifest for each run; returns the manifests."""
    started = time.perf_counter()
    paths = write_images(folder / "images", sizes[-1], _SIZE, ".jpg")
    print(f"{len(paths)} images written in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    groups = [f"person-{number // _PERSON:05d}" for number in range(len(paths))]
    rows = pd.DataFrame({"path": [str(path) for path in paths], "cohort": "benchmark", "group": groups})
    rows = rows.assign(disease="", label="", fold=[number // _PERSON % 5 for number in range(len(paths))])
    manifests = [folder / f"{size}.csv" for size in sizes]
    for manifest, size in zip(manifests, sizes, strict=True):
        write_manifest(manifest, rows[:size])
    return manifests


def _run(manifest: Path) -> Run:
    with TemporaryDirectory(dir=manifest.parent) as cache, watch(lambda: [os.getpid()]) as memory:
        times = [time.perf_counter()]
        records = assign_splits(read_manifest(manifest))
        times.append(time.perf_counter())
        store = open_store(records, Preparation(), Path(cache))
        times.append(time.perf_counter())
        train = store.where(split="train")
        order = np.random.default_rng(0).permutation(len(train.records))
        for start in range(0, len(order), _BATCH):
            batch = train.batch(order[start : start + _BATCH])
            if batch.shape[1:] != (_SIZE, _SIZE) or batch.dtype != np.uint8:
                raise RuntimeError(f"Expected slices of {_SIZE} x {_SIZE} bytes, got {batch.shape} {batch.dtype}.")
        times.append(time.perf_counter())
        open_store(records, Preparation(), Path(cache))
        times.append(time.perf_counter())
    print(f"{manifest.name}: {np.diff(times).round(2)} s, {memory.growth:.0f} MB", file=sys.stderr)
    read, built, drawn, again = np.diff(times).tolist()
    return Run(read, built, drawn, again, memory.growth)


if __name__ == "__main__":
    main()
