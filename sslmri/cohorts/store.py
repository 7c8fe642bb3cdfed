"""Prepared slices of many records in one memory-mapped array, decoded once."""

import hashlib
import json
import os
from collections.abc import Collection, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sslmri import scans
from sslmri.cohorts.manifest import Record
from sslmri.cohorts.sampling import sample_classes, sample_groups
from sslmri.diseases import DISEASES
from sslmri.errors import ScanError, TrainingError
from sslmri.files import sha256_of, write_atomically, write_json
from sslmri.scans.prepare import prepare_files
from sslmri.scans.slices import Preparation, PreparedScan

MAX_BAD_FRACTION = 0.02  # more unreadable files than this mean the wrong folder, not a few bad files
_FEW_BAD = 5  # files that may be bad in a small set, where one head that cannot be aligned would be over 2 %
_AHEAD = 64  # files that are read before the slices of the first of them are written
_READERS = 8  # threads that hash files: on a slow disk they wait together


@dataclass(frozen=True)
class Store:
    """Prepared slices with their records. Slices stay on the disk until they are read.

    Attributes:
        pixels: (M, H, W) uint8, memory-mapped where it comes from a file.
        records: the N records, one for each slice; the slices of a volume repeat theirs.
        bad: every record whose file could not be read, with the reason.
        rows: which N of the M slices belong to the records; None where all do.
    """

    pixels: np.ndarray
    records: list[Record]
    bad: list[tuple[Record, str]]
    rows: np.ndarray | None = None

    @property
    def slices(self) -> np.ndarray:
        """All slices at once, in memory: (N, H, W) uint8. A copy: in a loop take a ``batch``."""
        return self.batch(range(len(self.records)))

    def batch(self, keep: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns a copy of the chosen slices, in the order given: (len(keep), H, W) uint8."""
        return np.asarray(self.pixels[self._rows(keep)])

    def select(self, keep: Sequence[int]) -> "Store":
        """Returns the store of the chosen slices, in the order given; no slice is read for it."""
        return replace(self, records=[self.records[i] for i in keep], rows=self._rows(keep))

    def joined(self, other: "Store") -> "Store":
        """Returns a store in memory of these slices and then those of another."""
        return Store(np.concatenate([self.slices, other.slices]), self.records + other.records, self.bad)

    def indices(self, *, disease: str | Collection[str] | None = None, split: str | None = None) -> list[int]:
        """Returns the positions of the slices of a disease (or of any of several) and split, where given."""
        diseases = (disease,) if isinstance(disease, str) else disease
        return [
            position
            for position, record in enumerate(self.records)
            if (diseases is None or record.disease in diseases) and (split is None or record.split == split)
        ]

    def where(self, *, disease: str | Collection[str] | None = None, split: str | None = None) -> "Store":
        """Returns the store of the slices named by ``indices``, with the unreadable files of these."""
        unread = replace(self, records=[record for record, _ in self.bad]).indices(disease=disease, split=split)
        chosen = self.select(self.indices(disease=disease, split=split))
        return replace(chosen, bad=[self.bad[position] for position in unread])

    @property
    def whole_heads(self) -> "Store":
        """The slices as acquired of whole heads whose aligned brain has a label."""
        files = {record.path for record in self.labelled.records}
        return self.select([i for i, r in enumerate(self.records) if r.disease is None and r.path in files])

    @property
    def labelled(self) -> "Store":
        """The slices that have a label."""
        return self.where(disease=DISEASES)

    @property
    def truth(self) -> np.ndarray:
        """(N,) int64: the index of each slice's label among the classes of its disease; every slice has a label."""
        return np.array([DISEASES[str(r.disease)].classes.index(str(r.label)) for r in self.records], dtype=np.int64)

    @property
    def groups(self) -> np.ndarray:
        """(N,) str: the group of each slice, named across cohorts."""
        return np.array([record.group_key for record in self.records], dtype=str)

    def evenly(self, count: int) -> "Store":
        """Returns at most ``count`` slices, as equally many of each group as it has."""
        return self.select(sample_groups(self.records, count))

    def evenly_per_class(self, per_class: int) -> "Store":
        """Returns at most ``per_class`` slices of each class, as equally many of each group as it has."""
        return self.select(sample_classes(self.records, per_class))

    def _rows(self, keep: Sequence[int] | np.ndarray) -> np.ndarray:
        chosen = np.asarray(keep, dtype=np.intp)
        return chosen if self.rows is None else self.rows[chosen]


def open_store(records: list[Record], preparation: Preparation, folder: Path) -> Store:
    """Returns the prepared slices of all records, from the folder where they were stored before, or built now.

    A volume gives the slices that screening analyses, each with the record of the volume. Where the classifier of its
    label reads aligned brains, and it is a whole head, these are the slices of its aligned brain, and before them, with
    no label, those as acquired, by which the gate decides whether it is brain MRI.

    A store is kept under a name made of the preparation, of its code and of the content of each file, so a stale one
    is never found, and a cohort that was moved finds its own. While it is built, the slices of some dozens of files
    are in memory.

    Raises:
        TrainingError: too many files cannot be read, or the folder cannot be written.
    """
    if not records:
        raise TrainingError("Expected records to prepare, got none: name a manifest with rows for training.")
    key = _key(records, preparation)
    slices_path, index_path = folder / f"{key}.raw", folder / f"{key}.json"
    try:
        if not (slices_path.exists() and index_path.exists()):
            _build(records, preparation, slices_path, index_path)
        index = json.loads(index_path.read_text(encoding="utf-8"))
        pixels = np.memmap(slices_path, np.uint8, "r", shape=(np.sum(index["slices"]), *preparation.image_size))
    except OSError as error:
        need = len(records) * preparation.image_size[0] * preparation.image_size[1] / 1e6
        raise TrainingError(
            f"Expected to keep at least {need:.1f} MB of prepared slices in {folder}, got: "
            f"{error.strerror or error}: free disk space there, or name a folder that can be written."
        ) from error
    owners: list[Record] = []
    for record, (n_acquired, n_aligned) in zip(records, index["slices"], strict=True):
        owners += [replace(record, disease=None, label=None) if n_aligned else record] * n_acquired
        owners += [record] * n_aligned
    return Store(pixels, owners, [(records[i], reason) for i, reason in index["bad"]])


def _hash(path: Path) -> str | None:
    """Returns the SHA-256 of a file's content, None where it cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return None


def _key(records: list[Record], preparation: Preparation) -> str:
    digest = hashlib.sha256(json.dumps(asdict(preparation), sort_keys=True).encode())
    for code in sorted(Path(scans.__path__[0]).rglob("*.py")):
        digest.update(code.read_bytes())
    with ThreadPoolExecutor(_READERS) as threads:
        hashes = list(threads.map(_hash, [record.path for record in records]))
    named = (f"{own}{' aligned' * _is_aligned(record)}" for own, record in zip(hashes, records, strict=True))
    digest.update("\n".join(named).encode())
    return f"store-{digest.hexdigest()[:24]}"


def _is_aligned(record: Record) -> bool:
    """Returns whether the classifier of the record's label learns from aligned brains."""
    return record.disease is not None and DISEASES[record.disease].form == "atlas"


def _build(records: list[Record], preparation: Preparation, slices_path: Path, index_path: Path) -> None:
    """Writes the slices and their index: how many of each record are as acquired and aligned, and which are bad."""
    counts: list[tuple[int, int]] = []
    bad: list[tuple[int, str]] = []

    def write(path: Path) -> None:
        with path.open("wb") as file, closing(_prepared(records, preparation)) as prepared:
            for row, result in enumerate(prepared):
                if isinstance(result, ScanError):
                    bad.append((row, result.reason))
                    _check_bad([(records[row].name, reason) for row, reason in bad], len(records))
                    counts.append((0, 0))
                    continue
                aligned = result.slices[:0] if result.aligned is None else result.aligned
                file.write(result.slices.data)
                file.write(aligned.data)
                counts.append((len(result.slices), len(aligned)))
        write_json(index_path, {"slices": counts, "bad": bad})

    write_atomically(slices_path, write)


def _prepared(records: list[Record], preparation: Preparation) -> Generator[PreparedScan | ScanError, None, None]:
    """Yields what became of each file, in order."""

    def prepare(record: Record) -> PreparedScan | ScanError:
        return prepare_files((record.path,), preparation, _is_aligned(record))

    bar = tqdm(total=len(records), desc="preparing", unit="file", mininterval=1.0)
    with ThreadPoolExecutor(os.cpu_count()) as threads, bar:
        for start in range(0, len(records), _AHEAD):
            for result in threads.map(prepare, records[start : start + _AHEAD]):
                yield result
                bar.update()


def _check_bad(bad: list[tuple[str, str]], n_records: int) -> None:
    if len(bad) > max(MAX_BAD_FRACTION * n_records, min(_FEW_BAD, n_records // 4)):
        listed = " ".join(f"{name}: {reason}" for name, reason in bad[:5])
        raise TrainingError(
            f"Expected at most {MAX_BAD_FRACTION:.0%} unreadable files (of few files a quarter, up to {_FEW_BAD}), "
            f"got {len(bad)} of {n_records} and stopped: name the right files. First: {listed}"
        )
