"""The data of a run: records, split by group, and their prepared slices."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.cohorts.simulated import SimulatedSettings, write_simulated
from sslmri.cohorts.splits import assign_splits
from sslmri.cohorts.store import Store, open_store
from sslmri.errors import ModelError, TrainingError
from sslmri.scans.slices import Preparation


@dataclass(frozen=True)
class RunOptions:
    """Where a run reads and writes.

    Attributes:
        data: a manifest.csv; without one the simulated cohort is made and used.
        run: the run folder.
        resume: go on from the folder's last checkpoint.
        cache: where prepared slices and the simulated cohort are kept.
        split_seed: of the 60/20/20 split by group, for manifests without folds.
        preparation: how slices are prepared.
    """

    data: Path | None = None
    run: Path = Path("runs/simulated")
    resume: bool = False
    cache: Path = Path(".cache")
    split_seed: int = 0
    preparation: Preparation = field(default_factory=Preparation)


def open_cohort(options: RunOptions) -> tuple[list[Record], Store]:
    """Returns all records of the run's data, and the prepared slices of those that are in a split.

    Raises:
        ManifestError: the manifest or its split is at fault.
        TrainingError: too many files cannot be read.
    """
    records = assign_splits(read_manifest(options.data or _simulated(options.cache)), options.split_seed)
    store = open_store([record for record in records if record.split], options.preparation, options.cache)
    for name, reason in store.bad:
        print(f"left out: {name}: {reason}")
    return records, store


def side(store: Store, split: str, disease: str | None = None) -> Store:
    """Returns the slices of one side of the split, of one disease where it is given."""
    records = enumerate(store.records)
    return store.select([row for row, r in records if r.split == split and disease in (None, r.disease)])


def check_fresh(folder: Path, is_resumed: bool) -> None:
    """Refuses to start anew in a folder that holds a checkpoint.

    Raises:
        TrainingError: naming the folder.
    """
    if (folder / "checkpoint.pt").exists() and not is_resumed:
        raise TrainingError(f"Expected a new run, got one that has begun in {folder}: pass --resume or another --run.")


def check_unseen(folder: Path, store: Store) -> None:
    """Refuses an encoder whose pre-training saw a group that is now validated or tested on.

    Raises:
        ModelError: the folder holds no pre-trained encoder.
        TrainingError: naming the groups.
    """
    path = folder / "groups.json"
    if not path.exists():
        raise ModelError(f"Expected a pre-trained encoder in {folder}, got none: run `python train.py pretrain` first.")
    seen = set(json.loads(path.read_text(encoding="utf-8")))
    leaked = sorted({r.group_key for r in store.records if r.split != "train" and r.group_key in seen})
    if leaked:
        raise TrainingError(
            f"Expected test and validation groups that pre-training never saw, got {len(leaked)} that it did, "
            f"first {', '.join(leaked[:5])}: pre-train again on this split."
        )


def _simulated(cache: Path) -> Path:
    """Returns the manifest of the default simulated cohort, made on the first call."""
    settings = SimulatedSettings()
    folder = cache / f"simulated-{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"
    if not (folder / "manifest.csv").exists():
        print(f"making the simulated cohort in {folder}")
        write_simulated(folder, settings)
    return folder / "manifest.csv"
