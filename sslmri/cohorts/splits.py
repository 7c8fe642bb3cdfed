"""Assigns every record to training, validation or test, by one of two protocols, or to the fold that tests it.

``group-disjoint``, the default, never puts one group in two splits. ``as-published`` assigns single images, whatever
their group: subjects are shared between training and test, and one nearest neighbour on pixels does as well as any
trained model. It is there for comparison with published results. In a cross-validation every labelled group is tested
once, by a model that never saw it.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from sslmri.cohorts.manifest import TRAIN_USE, Record
from sslmri.cohorts.protocols import AS_PUBLISHED, GROUP_DISJOINT, Protocol
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError

SPLITS = ("train", "validation", "test")
N_FOLDS = 5
_TEST_FOLD, _VALIDATION_FOLD = 0, 1
_HELD_OUT_FRACTION = 0.2  # of the groups of a class, once for validation and once for test
_TEST_IMAGES, _VALIDATION_IMAGES = 0.2, 0.1  # as published: of a class, and of what is then left of it
_SHOWN = 5
NEGATIVES_FILE = "lgg_negatives.csv"  # next to the manifest: slices without a tumour, of patients with one
NEGATIVES_DISEASE = "tumours"
LOCALISATION_USE = "localisation"


def assign_splits(
    records: list[Record], seed: int = 0, protocol: Protocol = GROUP_DISJOINT, is_checked: bool = True
) -> list[Record]:
    """Returns the records in the same order, each with its split.

    A record whose use is not ``train`` gets None. As published, a fifth of the images of each class is for test, a
    tenth of the others for validation and the rest for training, drawn by the seed whatever their groups and folds;
    images without a label train. Group-disjoint: where the labelled records have folds, fold 0 is for test, fold 1 for
    validation and every other fold for training. Where none has, whole groups are split 60/20/20 by the seed, class by
    class, whatever the order of the rows; a group with labels of several diseases is assigned once, among the groups
    with the same labels. Of a class with one group that group trains; of two, one trains and one is for test; from
    three on each split has at least one. An unlabelled record without a fold follows its labelled group, or trains.

    Raises:
        ManifestError: only a part of the records has folds, or, where this is checked, the folds put one group in two
            splits.
    """
    pool = trainable(records)
    if protocol == AS_PUBLISHED:
        return _split_images(records, pool, seed)
    labelled = [record for record in pool if record.disease is not None]
    with_fold = [record for record in pool if record.fold is not None]
    _check_all_have_folds([record for record in labelled if record.fold is None], with_fold)
    splits = {record.group_key: _split_of_fold(record.fold) for record in with_fold}
    for groups in [] if with_fold else _strata(labelled, seed).values():
        splits |= _assigned(groups, *_held_out(len(groups)))
    assigned = [_with_split(record, splits.get(record.group_key, "train")) for record in records]
    if is_checked:
        check_disjoint(assigned)
    return assigned


def in_several_splits(records: Iterable[Record]) -> dict[str, list[str]]:
    """Returns the groups that are in several splits, with the names of these splits."""
    splits = defaultdict(set)
    for record in records:
        if record.split is not None:
            splits[record.group_key].add(record.split)
    return {key: sorted(names) for key, names in sorted(splits.items()) if len(names) > 1}


def check_disjoint(records: Iterable[Record]) -> None:
    """Checks that no group is in two splits.

    Raises:
        ManifestError: names the first groups that are, and how many there are.
    """
    shared = in_several_splits(records)
    if shared:
        named = [f"{group} ({' and '.join(splits)})" for group, splits in shared.items()]
        more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
        raise ManifestError(
            f"Expected every group in one split, got {len(named)} in several, {', '.join(named[:_SHOWN])}{more}: give "
            "all records of a group the same fold."
        )


def shared_groups(records: Iterable[Record], disease: str | None = None) -> list[str]:
    """Returns the test groups, of the disease where it is given, that are also used for training with any label."""
    training, tested = set(), set()
    for record in records:
        if record.split == "train":
            training.add(record.group_key)
        elif record.split == "test" and disease in (None, record.disease):
            tested.add(record.group_key)
    return sorted(training & tested)


def group_folds(records: Iterable[Record], seed: int = 0) -> dict[str, int]:
    """Returns the fold of each labelled group: the manifest's, or one of five drawn by the seed where it has none.

    Groups are assigned in turn, those with equal labels one after the other, so that each fold gets its part of them.

    Raises:
        ManifestError: only a part of the records has folds, or one group is in two.
    """
    labelled = trainable(record for record in records if record.disease is not None)
    given: dict[str, set[int]] = defaultdict(set)
    for record in labelled:
        if record.fold is not None:
            given[record.group_key].add(record.fold)
    several = sorted(group for group, found in given.items() if len(found) > 1)
    if several:
        raise ManifestError(
            f"Expected every group in one fold, got {len(several)} in several, first {', '.join(several[:_SHOWN])}: "
            "give all records of a group the same fold."
        )
    if not given:
        ordered = [group for _, groups in sorted(_strata(labelled, seed).items()) for group in groups]
        return {group: position % N_FOLDS for position, group in enumerate(ordered)}
    _check_all_have_folds(
        [r for r in labelled if r.group_key not in given], [r for r in labelled if r.fold is not None]
    )
    return {group: found.pop() for group, found in given.items()}


def _check_all_have_folds(without: list[Record], with_fold: list[Record]) -> None:
    if without and with_fold:
        raise ManifestError(
            f"Expected a fold on every labelled record or on none, got {len(without)} without one (first "
            f"{without[0].name}) and {len(with_fold)} with one: fill in the folds or remove the column."
        )


def trainable(records: Iterable[Record]) -> list[Record]:
    """Returns the records for training and evaluation."""
    return [record for record in records if record.use == TRAIN_USE]


def class_counts(records: Iterable[Record]) -> pd.DataFrame:
    """Returns groups and slices of each class and split, columns disease, label, split, groups, slices.

    Every class and split of a disease that has records is listed, with zeros where it is empty, in the order of
    ``DISEASES``, of the disease's classes and of ``SPLITS``. Records without a label or a split are not counted.
    """
    groups: dict[tuple[str | None, str | None, str | None], list[str]] = defaultdict(list)
    for record in records:
        groups[record.disease, record.label, record.split].append(record.group_key)
    cells = [
        (disease.key, label, split)
        for disease in DISEASES.values()
        if any(key == disease.key and split is not None for key, _, split in groups)
        for label in disease.classes
        for split in SPLITS
    ]
    rows = [(*cell, len(set(groups[cell])), len(groups[cell])) for cell in cells]
    return pd.DataFrame(rows, columns=["disease", "label", "split", "groups", "slices"])


def with_folds(records: Iterable[Record], seed: int = 0) -> list[Record]:
    """Returns the records that a cross-validation trains or tests on, each with the fold of its group.

    Labelled records have the fold of the manifest, or one of five drawn by the seed where it has none. Slices with an
    annotated lesion and a fold take part. Records without a label have the fold of the labelled ones of their group,
    or none.

    Raises:
        ManifestError: only a part of the labelled records has folds, or one group is in two.
    """
    pool = []
    for record in records:
        is_annotated = record.use == LOCALISATION_USE and record.disease is not None and record.fold is not None
        if record.use == TRAIN_USE or is_annotated:
            pool.append(replace(record, use=TRAIN_USE))
    folds = group_folds(pool, seed)
    return [replace(record, fold=folds.get(record.group_key), split="train") for record in pool]


def leave_out(records: Iterable[Record], fold: int | None) -> list[Record]:
    """Returns the records with their split when one fold is tested; all train where no fold is left out."""
    return [replace(r, split="test" if r.fold is not None and r.fold == fold else "train") for r in records]


def label_negatives(records: list[Record], path: Path) -> list[Record]:
    """Returns the records with the slices of a file labelled as showing no tumour, each with the fold of its patient.

    Their label belongs to the slice: other slices of the same patients show a tumour. The CSV file has the columns path
    and fold; in the manifest next to it these slices have no label.

    Raises:
        ManifestError: other columns, a fold that is no number, a slice that the manifest lacks or gives a label.
    """
    try:
        table = pd.read_csv(path, usecols=["path", "fold"], dtype={"path": str, "fold": int})
    except (OSError, ValueError) as error:
        raise ManifestError(
            f"Expected a CSV file with the columns path and fold in {path}, a whole number on every row, got something "
            "else: correct the file."
        ) from error
    folds = dict(zip(table["path"].tolist(), table["fold"].tolist(), strict=True))
    others = sorted(folds.keys() - {record.name for record in records if record.disease is None})
    if others:
        raise ManifestError(
            f"Expected in {path} slices of the manifest next to it that have no label, got {len(others)} others, first "
            f"{others[0]}: correct the file."
        )
    reference = DISEASES[NEGATIVES_DISEASE].reference
    return [
        replace(r, disease=NEGATIVES_DISEASE, label=reference, fold=folds[r.name]) if r.name in folds else r
        for r in records
    ]


def _split_of_fold(fold: int | None) -> str:
    if fold == _TEST_FOLD:
        return "test"
    return "validation" if fold == _VALIDATION_FOLD else "train"


def _with_split(record: Record, split_of_group: str) -> Record:
    if record.use != TRAIN_USE:
        return replace(record, split=None)
    # the record's own fold, not its group's: check_disjoint must see a group whose folds disagree
    return replace(record, split=split_of_group if record.fold is None else _split_of_fold(record.fold))


def _strata(labelled: list[Record], seed: int) -> dict[str, list[str]]:
    """Returns the groups by their labels, each in an order that only seed and group name decide."""
    labels = defaultdict(set)
    for record in labelled:
        labels[record.group_key].add(f"{record.disease}/{record.label}")
    strata = defaultdict(list)
    for group, names in labels.items():
        strata[" ".join(sorted(names))].append(group)
    return {label: _shuffled(groups, seed) for label, groups in strata.items()}


def _split_images(records: list[Record], pool: list[Record], seed: int) -> list[Record]:
    """Returns the records with the split of the published protocol: images assigned class by class."""
    classes = defaultdict(list)
    for record in pool:
        if record.disease is not None:
            classes[record.disease, record.label].append(record.name)
    splits: dict[str, str] = {}
    for names in classes.values():
        n_test = max(1, round(_TEST_IMAGES * len(names))) if len(names) > 1 else 0
        n_validation = max(1, round(_VALIDATION_IMAGES * (len(names) - n_test))) if len(names) > 2 else 0
        splits |= _assigned(_shuffled(names, seed), n_validation, n_test)
    return [replace(r, split=splits.get(r.name, "train") if r.use == TRAIN_USE else None) for r in records]


def _shuffled(names: list[str], seed: int) -> list[str]:
    """Returns the names in an order that only they and the seed decide."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).hexdigest())


def _assigned(names: list[str], n_validation: int, n_test: int) -> dict[str, str]:
    """Returns the split of each name: first test, then validation, then training."""
    held_out = ["test"] * n_test + ["validation"] * n_validation
    return {name: held_out[position] if position < len(held_out) else "train" for position, name in enumerate(names)}


def _held_out(n_groups: int) -> tuple[int, int]:
    """Returns how many of a class's groups validate and test."""
    if n_groups < 3:
        return 0, n_groups - 1
    n_held_out = max(1, round(_HELD_OUT_FRACTION * n_groups))
    return n_held_out, n_held_out
