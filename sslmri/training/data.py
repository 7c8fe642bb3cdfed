"""The data of a run: records, split by its protocol, their prepared slices, and the guard that no test slice taught."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.cohorts.simulated import SimulatedSettings, write_simulated
from sslmri.cohorts.splits import AS_PUBLISHED, GROUP_DISJOINT, Protocol, assign_splits
from sslmri.cohorts.store import Store, open_store
from sslmri.errors import ModelError, TrainingError
from sslmri.files import write_json
from sslmri.models.cards import ENCODER_CARD, ModelCard, read_encoder_card
from sslmri.scans.slices import Preparation
from sslmri.text import printable_line

GROUPS_FILE, PICTURES_FILE = "groups.json", "pictures.json"  # what a step learned from, in its folder
_SHOWN = 5


@dataclass(frozen=True)
class RunOptions:
    """Where a run reads and writes, and by which protocol it is measured.

    As published, slices of 496 x 248 pixels are pre-trained on for 50 epochs at temperature 0.07, minority classes are
    raised to 10,000 pictures by augmentation after the split, and 450 labelled slices a class are taught. Where only a
    CPU is there ours is smaller: 128 x 128 pixels, as many epochs as the steps are told (``--pretrain.epochs`` and
    ``--finetune.epochs``), and minority classes raised in each epoch of fine-tuning, by repetition with new
    augmentation, to the size of the largest class of their disease, at most 450. Temperature and labels are the same.

    Attributes:
        data: a manifest.csv; without one the simulated cohort is made and used.
        run: the run folder.
        resume: go on from the folder's last checkpoint.
        cache: where prepared slices and the simulated cohort are kept.
        protocol: ``group-disjoint``: no group is on two sides. ``as-published``: single pictures are dealt, so people
            are shared between training and test; only for comparison with published figures.
        split_seed: of the 60/20/20 split by group, for manifests without folds, and of the split by picture.
        preparation: how slices are prepared.
    """

    data: Path | None = None
    run: Path = Path("runs/simulated")
    resume: bool = False
    cache: Path = Path(".cache")
    protocol: Protocol = GROUP_DISJOINT
    split_seed: int = 0
    preparation: Preparation = field(default_factory=Preparation)


def open_cohort(options: RunOptions) -> tuple[list[Record], Store]:
    """Returns all records of the run's data, and the prepared slices of those that are in a split.

    Raises:
        ManifestError: the manifest is at fault, or a group (as published: a picture) is on two sides.
        TrainingError: too many files cannot be read.
    """
    listed = read_manifest(options.data or _simulated(options.cache))
    records = assign_splits(listed, options.split_seed, options.protocol)
    store = open_store([record for record in records if record.split], options.preparation, options.cache)
    for name, reason in store.bad:
        print(printable_line(f"left out: {name}: {reason}"))
    return records, store


def require_empty_run(folder: Path, is_resumed: bool) -> None:
    """Refuses to start anew in a folder that holds a checkpoint.

    Raises:
        TrainingError: naming the folder.
    """
    if (folder / "checkpoint.pt").exists() and not is_resumed:
        raise TrainingError(f"Expected a new run, got one that has begun in {folder}: pass --resume or another --run.")


def remember(folder: Path, learned: Store, protocol: Protocol) -> None:
    """Writes what a step is about to learn from to its folder, before it starts.

    Raises:
        TrainingError: the checkpoint in the folder learned from others: the step would have learned from both.
    """
    has_begun = (folder / "checkpoint.pt").exists()
    lists = {GROUPS_FILE: _names(learned.records, GROUP_DISJOINT)}
    if protocol == AS_PUBLISHED:
        lists[PICTURES_FILE] = _names(learned.records, protocol)
    found = {name: read_names(folder / name) for name in (GROUPS_FILE, PICTURES_FILE)}
    before = {name: names for name, names in found.items() if names is not None}
    if has_begun and before and before != {name: set(own) for name, own in lists.items()}:
        raise TrainingError(
            f"Expected to go on with the training data that {folder} began with, got others: name the same data, "
            "protocol and split seed, or another --run."
        )
    for name, own in lists.items():
        write_json(folder / name, own)


def check_start(folder: Path, pool: Store, protocol: Protocol) -> None:
    """Refuses to go on from an encoder that learned from more than the pool: the run's own list would not tell.

    Raises:
        ModelError: the folder does not say what its encoder learned from.
        TrainingError: naming what it saw beside the pool.
    """
    seen = read_names(folder / _list_of(protocol))
    if seen is None:
        raise ModelError(
            f"Expected a pre-training under the protocol {protocol} in {folder}, got none: name its pretrain folder."
        )
    others = sorted(seen - set(_names(pool.records, protocol)))
    if others:
        raise TrainingError(
            f"Expected to go on from an encoder that saw nothing but the training side, got {len(others)} others, "
            f"{', '.join(others[:_SHOWN])}: pre-train it on this split."
        )


def check_protocol(what: str, found: Mapping[str, Any], protocol: Protocol) -> None:
    """Refuses ``what``, whose card says ``found``, if it is of another protocol.

    Raises:
        ModelError: naming both protocols.
    """
    own = found.get("protocol", GROUP_DISJOINT)  # runs from before there were two say nothing
    if own != protocol:
        raise ModelError(
            f"Expected {what} under the protocol {protocol}, got one of {own}: pass --protocol {own}, or train another "
            f"--run with --protocol {protocol}."
        )


def check_unseen(folder: Path, store: Store, protocol: Protocol = GROUP_DISJOINT) -> None:
    """Refuses an encoder of another protocol, or one whose pre-training saw what is now validated or tested on.

    Raises:
        ModelError: the folder holds no pre-trained encoder, or one of another protocol.
        TrainingError: naming the groups (as published: the pictures).
    """
    none = f"Expected a pre-trained encoder in {folder}, got none: run `python train.py pretrain` first."
    if not (folder / ENCODER_CARD).exists():
        raise ModelError(none)
    pretraining = read_encoder_card(folder / ENCODER_CARD).pretraining or {}
    check_protocol(f"an encoder in {folder} that was pre-trained", pretraining, protocol)
    if not (folder / _list_of(protocol)).exists():
        raise ModelError(none)
    _check_list(folder, store, protocol)


def check_no_leakage(card: ModelCard, store: Store, protocol: Protocol) -> None:
    """Refuses a model of another protocol, or one that learned from what is now validated or tested on.

    A shipped model has no lists of what it learned from, only their hashes: then the training side must be the same to
    the last group, or the data of other cohorts.

    Raises:
        ModelError: the model is of another protocol.
        TrainingError: naming the groups (as published: the pictures), or saying that it cannot be told.
    """
    check_protocol(f"a model in {card.folder} that was trained", card.training, protocol)
    hashed = hash_name(protocol)
    pretraining = {"groups_sha256": card.encoder.groups_sha256, **(card.encoder.pretraining or {})}
    labelled = [record for record in store.records if record.disease]
    for step, sha256, cohorts, records in (
        ("pretrain", pretraining.get(hashed), card.encoder.cohorts, store.records),
        ("finetune", card.training.get(hashed), card.training.get("cohorts", ()), labelled),
    ):
        if (card.folder / step / _list_of(protocol)).exists():
            _check_list(card.folder / step, store, protocol)
        elif sha256 is not None:
            _check_hash(sha256, set(cohorts), records, protocol)


def hash_name(protocol: Protocol) -> str:
    """Returns the name under which a card keeps the hash of what was learned from."""
    return "pictures_sha256" if protocol == AS_PUBLISHED else "groups_sha256"


def hash_of(records: Iterable[Record], protocol: Protocol = GROUP_DISJOINT) -> str:
    """Returns the hash of the sorted names of the records' groups; as published, of their pictures."""
    return hashlib.sha256("\n".join(_names(records, protocol)).encode()).hexdigest()


def read_names(path: Path) -> set[str] | None:
    """Returns the groups or pictures that a step learned from, or None where they were not kept.

    Raises:
        ModelError: the file is damaged.
    """
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"Expected a list of names in {path}, got something else: train the run anew.") from error
    if not isinstance(names, list):
        raise ModelError(f"Expected a list of names in {path}, got a {type(names).__name__}: train the run anew.")
    return set(map(str, names))


def _check_list(folder: Path, store: Store, protocol: Protocol) -> None:
    seen = read_names(folder / _list_of(protocol)) or set()
    leaked = sorted(seen & set(_names((r for r in store.records if r.split != "train"), protocol)))
    if leaked:
        kind = "pictures" if protocol == AS_PUBLISHED else "groups"
        step = "fine-tuning" if folder.name == "finetune" else "pre-training"
        rest = f" and {len(leaked) - _SHOWN} more" if len(leaked) > _SHOWN else ""
        raise TrainingError(
            f"Expected test and validation {kind} that {step} never saw, got {len(leaked)} that it did, "
            f"{', '.join(leaked[:_SHOWN])}{rest} (in {folder}): train again on this split."
        )


def _check_hash(sha256: str, cohorts: set[str], records: Iterable[Record], protocol: Protocol) -> None:
    """Refuses data of the model's own cohorts under a split that is not provably that of its training."""
    records = list(records)
    is_same = hash_of((record for record in records if record.split == "train"), protocol) == sha256
    known = sorted({record.cohort for record in records if record.split != "train"} & cohorts)
    if known and not is_same:
        raise TrainingError(
            f"Expected the split that the model was trained on, got another one of its cohorts {', '.join(known)}: "
            "which groups it has seen cannot be told, so name the data, protocol and split seed of its training."
        )


def _list_of(protocol: Protocol) -> str:
    return PICTURES_FILE if protocol == AS_PUBLISHED else GROUPS_FILE


def _names(records: Iterable[Record], protocol: Protocol) -> list[str]:
    """Returns, sorted, what the protocol keeps on one side: groups, or, as published, pictures."""
    return sorted({record.name if protocol == AS_PUBLISHED else record.group_key for record in records})


def _simulated(cache: Path) -> Path:
    """Returns the manifest of the default simulated cohort, made on the first call."""
    settings = SimulatedSettings()
    folder = cache / f"simulated-{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"
    if not (folder / "manifest.csv").exists():
        print(f"making the simulated cohort in {folder}")
        write_simulated(folder, settings)
    return folder / "manifest.csv"
