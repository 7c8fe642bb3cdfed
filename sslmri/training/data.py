"""The data of a run: its records with their splits, their prepared slices, and the check that no test slice trained."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.cohorts.protocols import AS_PUBLISHED, GROUP_DISJOINT, Protocol
from sslmri.cohorts.registry import terms_of
from sslmri.cohorts.simulated import write_simulated
from sslmri.cohorts.splits import NEGATIVES_FILE, assign_splits, label_negatives, with_folds
from sslmri.cohorts.store import Store, open_store
from sslmri.diseases import DISEASES, class_title, load_diseases
from sslmri.errors import ModelError, TrainingError
from sslmri.files import write_atomically
from sslmri.models.cards import Counts, ModelCard, TrainingData
from sslmri.models.folder import MODEL_FILE
from sslmri.text import printable_line
from sslmri.training.options import RunOptions


@dataclass(frozen=True)
class Cohort:
    """All records of a run's data, and the slices of those that are in a split, prepared when they are first needed."""

    records: list[Record]
    options: RunOptions

    @property
    def used(self) -> list[Record]:
        """The records in a split."""
        return [record for record in self.records if record.split]

    @cached_property
    def store(self) -> Store:
        """The prepared slices.

        Raises:
            TrainingError: too many files cannot be read.
        """
        return prepared(self.options, self.used)


def open_cohort(options: RunOptions) -> Cohort:
    """Returns the data of a run.

    Raises:
        ManifestError: the manifest is at fault, or a group (as published: an image) is in two splits.
        ModelError: the file of diseases is at fault.
    """
    load_diseases(options.diseases)
    listed = read_manifest(options.data or default_manifest(options.cache))
    return Cohort(assign_splits(listed, options.split_seed, options.protocol), options)


def open_folds(options: RunOptions) -> tuple[list[Record], Store]:
    """Returns the records of a cross-validation, and the prepared slices of those that it trains or tests on.

    Raises:
        SslmriError: the manifest or its files are at fault.
    """
    load_diseases(options.diseases)
    manifest = options.data or default_manifest(options.cache)
    records = read_manifest(manifest)
    if (manifest.parent / NEGATIVES_FILE).is_file():
        records = label_negatives(records, manifest.parent / NEGATIVES_FILE)
    return records, prepared(options, with_folds(records, options.split_seed))


def prepared(options: RunOptions, records: list[Record]) -> Store:
    """Returns the prepared slices of records, and says which files were left out."""
    store = open_store(records, options.preparation, options.cache)
    for record, reason in store.bad:
        print(printable_line(f"left out: {record.name}: {reason}"))
    return store


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


def training_data(train: Store, protocol: Protocol) -> TrainingData:
    """Returns what a card says of the training slices of a step; the hashes name unreadable files of theirs as well."""
    named = [*train.records, *(record for record, _ in train.bad)]
    images = hash_of(named, AS_PUBLISHED) if protocol == AS_PUBLISHED else None
    counts = Counts(len(set(train.groups.tolist())), len(train.records))
    terms = {cohort: terms_of(cohort) for cohort in sorted({record.cohort for record in train.records})}
    return TrainingData(protocol, hash_of(named), images, counts, terms)


def require_group_disjoint(options: RunOptions) -> None:
    """Refuses the protocol that puts patients into both training and test.

    Raises:
        TrainingError: naming the protocol.
    """
    if options.protocol != GROUP_DISJOINT:
        raise TrainingError(f"Expected the protocol {GROUP_DISJOINT}, got {options.protocol}: leave --protocol out.")


def check_no_leakage(card: ModelCard, records: Sequence[Record], protocol: Protocol) -> None:
    """Refuses a model of another protocol, or one that may have learned from what is now validated or tested on.

    Raises:
        ModelError: the model is of another protocol.
        TrainingError: the data were split again.
    """
    labelled = [record for record in records if record.disease]
    check_same_split(f"model in {card.folder}", card.training, labelled, protocol)
    check_same_split(f"model in {card.folder}", card.encoder.data, records, protocol)


def check_same_split(what: str, data: TrainingData, records: Sequence[Record], protocol: Protocol) -> None:
    """Refuses data whose training groups are not those that an encoder or a model learned from; data of others pass.

    Raises:
        ModelError: it was trained by another protocol.
        TrainingError: it learned from other groups (as published: images) of the cohorts that are held out now.
    """
    if data.protocol != protocol:
        raise ModelError(
            f"Expected the {what} under the protocol {protocol}, got one of {data.protocol}: pass --protocol "
            f"{data.protocol}, or train another --run with --protocol {protocol}."
        )
    if may_have_seen(data, records, protocol):
        raise TrainingError(
            f"The data were split again since the {what} was trained, or it learned from every group, so its training "
            "groups may now be test groups: its stored results stay, so train again to measure on this split."
        )


def may_have_seen(data: TrainingData, records: Sequence[Record], protocol: Protocol) -> set[str]:
    """Returns the held-out cohorts of a split of which groups (as published: images) may have been learned from.

    A card has the names of the cohorts and one hash of all groups. So of a cohort that was learned from only one split
    is known to hold out nothing that was seen: the one that trains on exactly the same groups, some of them its own.
    """
    expected = data.images_sha256 if protocol == AS_PUBLISHED else data.groups_sha256
    shared = held_out_cohorts(records) & data.cohorts.keys()
    is_same = shared and hash_of((r for r in records if r.split == "train"), protocol) == expected
    return shared - {r.cohort for r in records if r.split == "train"} if is_same else shared


def held_out_cohorts(records: Sequence[Record]) -> set[str]:
    """Returns the cohorts of the records that do not train."""
    return {record.cohort for record in records if record.split != "train"}


def hash_of(records: Iterable[Record], protocol: Protocol = GROUP_DISJOINT) -> str:
    """Returns the hash of the sorted names of what a protocol keeps in one split: groups; as published, images."""
    names = {record.name if protocol == AS_PUBLISHED else record.group_key for record in records}
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def thin_validation(labelled: Store) -> list[str]:
    """Returns a sentence for each trained disease with fewer than two classes in the validation split."""
    sentences = []
    for key in dict.fromkeys(str(record.disease) for record in labelled.where(split="train").records):
        found = labelled.where(disease=key, split="validation").records
        labels = sorted({str(record.label) for record in found})
        if len(labels) < 2:
            named = " and ".join(map(class_title, labels)) or "no class"
            sentences.append(
                f"{DISEASES[key].title}: the validation split holds {named} only, two are needed: this classifier "
                "does not affect the choice of the epoch, and its probabilities are not calibrated."
            )
    return sentences


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays, whole or not at all."""
    content: dict[str, Any] = dict(arrays)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **content)

    write_atomically(path, write)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays in a file that ``write_arrays`` wrote.

    Raises:
        ModelError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ModelError(f"Expected predictions in {path}, got a damaged file: remove it.") from error


def default_manifest(cache: Path) -> Path:
    """Returns the manifest of the default simulated cohort, made on the first call."""
    folder = cache / "simulated"
    if not (folder / "manifest.csv").exists():
        print(f"making the simulated cohort in {folder}")
        write_simulated(folder)
    return folder / "manifest.csv"
