"""The data of a run: its records with their splits, their prepared slices, and the check that no test slice trained."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.cohorts.protocols import AS_PUBLISHED, GROUP_DISJOINT, Protocol
from sslmri.cohorts.registry import terms_of
from sslmri.cohorts.simulated import SimulatedSettings, write_simulated
from sslmri.cohorts.splits import assign_splits
from sslmri.cohorts.store import MAX_BAD_FRACTION, Store, open_store
from sslmri.errors import ModelError, TrainingError
from sslmri.files import write_json
from sslmri.models.cards import Counts, ModelCard, TrainingData
from sslmri.models.folder import ENCODER_CARD, MODEL_FILE, read_encoder_card, read_model_card
from sslmri.text import printable_line
from sslmri.training.options import RunOptions

GROUPS_FILE = "groups.json"
_LISTS = {GROUP_DISJOINT: GROUPS_FILE, AS_PUBLISHED: "images.json"}  # what a step is trained on, in its folder
_SHOWN = 5


class Cohort(NamedTuple):
    """All records of a run's data, and the prepared slices of those that are in a split."""

    records: list[Record]
    store: Store


def open_cohort(options: RunOptions, is_measured: bool = False) -> Cohort:
    """Returns the data of a run, or those that its model is to be measured on.

    Raises:
        ManifestError: the manifest is at fault, or a group (as published: an image) is in two splits.
        TrainingError: too many files cannot be read, or the model that is to be measured was trained on others.
    """
    listed = read_manifest(options.data or default_manifest(options.cache))
    records = assign_splits(listed, options.split_seed, options.protocol)
    used = [record for record in records if record.split]
    if is_measured and (options.run / MODEL_FILE).exists():
        _check_training_cohorts(read_model_card(options.run), used)
    store = open_store(used, options.preparation, options.cache)
    for name, reason in store.bad:
        print(printable_line(f"left out: {name}: {reason}"))
    return Cohort(records, store)


def require_empty_run(run: Path, begun: Sequence[str], is_resumed: bool) -> None:
    """Refuses to begin in a folder that holds one of the files of a training, or that is a model folder itself.

    Raises:
        TrainingError: naming the folder.
    """
    if (run / MODEL_FILE).exists():
        raise TrainingError(
            f"Expected a run folder, got the finished model {run}: train with --run runs/mine, which SSLMRI_MODEL and "
            "--model accept as a model."
        )
    if any((run / name).exists() for name in begun) and not is_resumed:
        raise TrainingError(f"Expected a new run, got one that has begun in {run}: pass --resume or another --run.")


def record_training_groups(folder: Path, train: Store, protocol: Protocol) -> None:
    """Writes what a step is about to be trained on to its folder, before it starts.

    Raises:
        TrainingError: the checkpoint in the folder was trained on others: the step would have been trained on both.
    """
    has_begun = (folder / "checkpoint.pt").exists()
    lists = {_LISTS[kept]: _names(train.records, kept) for kept in dict.fromkeys((GROUP_DISJOINT, protocol))}
    found = {name: read_names(folder / name) for name in _LISTS.values()}
    before = {name: names for name, names in found.items() if names is not None}
    if has_begun and before and before != {name: set(names) for name, names in lists.items()}:
        raise TrainingError(
            f"Expected to go on with the training data that {folder} began with, got others: name the same data, "
            "protocol and split seed, or another --run."
        )
    for name, names in lists.items():
        write_json(folder / name, names)


def training_data(records: Sequence[Record], protocol: Protocol) -> TrainingData:
    """Returns what a card says of the training records of a step."""
    images = hash_of(records, AS_PUBLISHED) if protocol == AS_PUBLISHED else None
    counts = Counts(len({record.group_key for record in records}), len(records))
    terms = {cohort: terms_of(cohort) for cohort in sorted({record.cohort for record in records})}
    return TrainingData(protocol, hash_of(records), images, counts, terms)


def check_protocol(what: str, found: Protocol, protocol: Protocol) -> None:
    """Refuses ``what``, which was trained by the protocol ``found``, if that is another.

    Raises:
        ModelError: naming both protocols.
    """
    if found != protocol:
        raise ModelError(
            f"Expected {what} under the protocol {protocol}, got one of {found}: pass --protocol {found}, or train "
            f"another --run with --protocol {protocol}."
        )


def require_group_disjoint(options: RunOptions) -> None:
    """Refuses the protocol that puts patients into both training and test.

    Raises:
        TrainingError: naming the protocol.
    """
    if options.protocol != GROUP_DISJOINT:
        raise TrainingError(f"Expected the protocol {GROUP_DISJOINT}, got {options.protocol}: leave --protocol out.")


def check_unseen(run: Path, store: Store, protocol: Protocol) -> None:
    """Refuses a pre-trained encoder of another protocol, or one trained on what is now validated or tested on.

    Raises:
        ModelError: the run holds no pre-trained encoder, or one of another protocol.
        TrainingError: naming the groups (as published: the images).
    """
    folder = run / "pretrain"
    none = f"Expected a pre-trained encoder in {folder}, got none: run `python train.py pretrain` first."
    if not (folder / ENCODER_CARD).exists():
        if (run / MODEL_FILE).exists():
            check_no_leakage(read_model_card(run), run, store, protocol)
        raise ModelError(none)
    found = read_encoder_card(folder / ENCODER_CARD).data.protocol
    check_protocol(f"an encoder in {folder} that was pre-trained", found, protocol)
    if not (folder / _LISTS[protocol]).exists():
        raise ModelError(none)
    _check_list(folder, store, protocol)


def check_no_leakage(card: ModelCard, run: Path, store: Store, protocol: Protocol) -> None:
    """Refuses a model of another protocol, or one that was trained on what is now validated or tested on.

    A run folder lists what its model was trained on. A model folder alone has hashes of the lists: then the training
    groups of the data must be the very same, or the data of other cohorts.

    Raises:
        ModelError: the model is of another protocol.
        TrainingError: naming the groups (as published: the images), or saying that the data were split again.
    """
    check_protocol(f"a model in {card.folder} that was trained", card.training.protocol, protocol)
    labelled = store.labelled.records
    for step, data, records in (("pretrain", card.encoder.data, store.records), ("finetune", card.training, labelled)):
        if (run / step / _LISTS[protocol]).exists():
            _check_list(run / step, store, protocol)
        else:
            check_same_split(card.folder, data, records)


def check_same_split(folder: Path, data: TrainingData, records: Iterable[Record]) -> None:
    """Refuses records of a model's own cohorts whose training groups are not the ones it was trained on.

    Raises:
        TrainingError: saying so.
    """
    records = list(records)
    protocol, cohorts = data.protocol, {record.cohort for record in records if record.split != "train"}
    expected = data.images_sha256 if protocol == AS_PUBLISHED else data.groups_sha256
    train = (record for record in records if record.split == "train")
    if cohorts & data.cohorts.keys() and hash_of(train, protocol) != expected:
        raise split_again(folder)


def _check_training_cohorts(card: ModelCard, records: Sequence[Record]) -> None:
    """Refuses what ``check_same_split`` would refuse for its cohorts, in seconds, before minutes of preparing slices.

    A file that cannot be read was not trained on, so a few files of another cohort prove nothing.

    Raises:
        TrainingError: saying that the data were split again.
    """
    known = card.encoder.data.cohorts.keys() | card.training.cohorts.keys()
    n_added = sum(record.split == "train" and record.cohort not in known for record in records)
    n_tested = sum(record.split != "train" and record.cohort in known for record in records)
    trained = {record.group_key for record in records if record.split == "train" and record.disease is not None}
    is_smaller = len(trained) < (1 - MAX_BAD_FRACTION) * card.training.counts.groups  # the model learned from more
    if min(len(records) if is_smaller else n_added, n_tested) > MAX_BAD_FRACTION * len(records):
        raise split_again(card.folder)


def split_again(folder: Path) -> TrainingError:
    """Returns the refusal to measure a model on data whose split is not that of its training."""
    return TrainingError(
        f"The data were split again since the model in {folder} was trained, or it learned from every group, so its "
        "training groups may now be test groups: its stored results stay, so train again to measure on this split."
    )


def hash_of(records: Iterable[Record], protocol: Protocol = GROUP_DISJOINT) -> str:
    """Returns the hash of the sorted names of the records' groups; as published, of their images."""
    return hashlib.sha256("\n".join(_names(records, protocol)).encode()).hexdigest()


def read_names(path: Path) -> set[str] | None:
    """Returns the groups or images that a step was trained on, or None where there is no list.

    Raises:
        ModelError: the file is damaged.
    """
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"Expected a list of names in {path}, got something else: train the run again.") from error
    if not isinstance(names, list):
        raise ModelError(f"Expected a list of names in {path}, got a {type(names).__name__}: train the run again.")
    return set(map(str, names))


def _check_list(folder: Path, store: Store, protocol: Protocol) -> None:
    seen = read_names(folder / _LISTS[protocol]) or set()
    leaked = sorted(seen & set(_names((r for r in store.records if r.split != "train"), protocol)))
    if leaked:
        kind = "images" if protocol == AS_PUBLISHED else "groups"
        step = "fine-tuning" if folder.name == "finetune" else "pre-training"
        rest = f" and {len(leaked) - _SHOWN} more" if len(leaked) > _SHOWN else ""
        raise TrainingError(
            f"Expected test and validation {kind} that {step} never saw, got {len(leaked)} that it did, "
            f"{', '.join(leaked[:_SHOWN])}{rest} (in {folder}): train again on this split."
        )


def _names(records: Iterable[Record], protocol: Protocol) -> list[str]:
    """Returns, sorted, what the protocol keeps in one split: groups, or, as published, images."""
    return sorted({record.name if protocol == AS_PUBLISHED else record.group_key for record in records})


def default_manifest(cache: Path) -> Path:
    """Returns the manifest of the default simulated cohort, made on the first call."""
    settings = SimulatedSettings()
    folder = cache / f"simulated-{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"
    if not (folder / "manifest.csv").exists():
        print(f"making the simulated cohort in {folder}")
        write_simulated(folder, settings)
    return folder / "manifest.csv"
