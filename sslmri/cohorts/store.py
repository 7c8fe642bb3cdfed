"""Prepared slices of many records in one memory-mapped array, decoded once."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.workers import worker_pool
from sslmri.errors import ScanError, TrainingError
from sslmri.files import write_atomically, write_json
from sslmri.scans.reading import read_scan
from sslmri.scans.slices import Preparation, to_slices

MAX_BAD_FRACTION = 0.02  # more unreadable files than this mean the wrong folder, not a few bad files
_CHUNK = 64  # files handed to a worker at a time


@dataclass(frozen=True)
class Store:
    """Prepared slices beside the records they came from.

    Attributes:
        slices: (N, H, W) uint8.
        records: the N records, one for each slice; the slices of a volume repeat theirs.
        bad: (name, reason) of every file that could not be read.
    """

    slices: np.ndarray
    records: list[Record]
    bad: list[tuple[str, str]]

    def select(self, keep: Sequence[int]) -> "Store":
        """Returns the store of the chosen slices, in the order given."""
        return replace(self, slices=self.slices[list(keep)], records=[self.records[i] for i in keep])


def open_store(records: list[Record], preparation: Preparation, folder: Path, workers: int | None = None) -> Store:
    """Returns the prepared slices of all records, from the folder where they were stored before, or built now.

    A store is kept under a name made of the preparation and of each file's path, size and time of change, so a
    stale one is never found.

    Raises:
        TrainingError: over 2 % of the files cannot be read.
    """
    key = _key(records, preparation)
    slices_path, index_path = folder / f"{key}.npy", folder / f"{key}.json"
    if not (slices_path.exists() and index_path.exists()):
        _build(records, preparation, slices_path, index_path, workers or os.cpu_count() or 1)
    index = json.loads(index_path.read_text(encoding="utf-8"))
    chosen = [records[i] for i in index["record"]]
    return Store(np.load(slices_path, mmap_mode="r"), chosen, [(name, reason) for name, reason in index["bad"]])


def _key(records: Iterable[Record], preparation: Preparation) -> str:
    digest = hashlib.sha256(json.dumps(asdict(preparation), sort_keys=True).encode())
    for record in records:
        status = record.path.stat() if record.path.exists() else None
        changed = (status.st_size, status.st_mtime_ns) if status else None
        digest.update(f"{record.path.absolute()}\0{changed}\n".encode())
    return f"store-{digest.hexdigest()[:24]}"


def _build(records: list[Record], preparation: Preparation, slices_path: Path, index_path: Path, workers: int) -> None:
    paths = [record.path for record in records]
    prepare = partial(prepare_file, preparation=preparation)
    with worker_pool(workers) as pool:
        results = pool.map(prepare, paths, chunksize=_CHUNK) if workers > 1 else map(prepare, paths)
        prepared = list(tqdm(results, total=len(paths), desc="preparing", unit="file", mininterval=1.0))
    bad = [(record.name, found) for record, found in zip(records, prepared, strict=True) if isinstance(found, str)]
    if len(bad) > MAX_BAD_FRACTION * len(records):
        listed = "; ".join(reason for _, reason in bad[:5])
        raise TrainingError(
            f"Expected at most {MAX_BAD_FRACTION:.0%} unreadable files, got {len(bad)} of {len(records)}: {listed}."
        )
    good = [(index, found) for index, found in enumerate(prepared) if not isinstance(found, str)]
    slices = np.concatenate([found for _, found in good])
    write_atomically(slices_path, lambda path: _save(path, slices))
    owners = [index for index, found in good for _ in range(len(found))]
    write_json(index_path, {"record": owners, "bad": bad})


def prepare_file(path: Path, preparation: Preparation) -> np.ndarray | str:
    """Returns the prepared slices (S, H, W) uint8 of one file, or the sentence why there are none."""
    try:
        return to_slices(read_scan(path.read_bytes(), path.name), preparation)
    except (ScanError, OSError) as error:
        return str(error)


def _save(path: Path, slices: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, slices)
