"""Puts every record on the training, validation or test side, by one of two protocols.

``group-disjoint``, the default, never puts one group on two sides. ``as-published`` deals single pictures, whatever
their group: people stand on both sides, and one nearest neighbour on pixels does as well as anything that was learned.
It is there to be compared with figures that others published.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from sslmri.cohorts.manifest import TRAIN_USE, Record
from sslmri.cohorts.protocols import AS_PUBLISHED, GROUP_DISJOINT, Protocol
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError

SPLITS = ("train", "validation", "test")
N_FOLDS = 5
_TEST_FOLD, _VALIDATION_FOLD = 0, 1
_HELD_OUT_FRACTION = 0.2  # of the groups of a class, once for validation and once for test
_TEST_PICTURES, _VALIDATION_PICTURES = 0.2, 0.1  # as published: of a class, and of what is then left of it
_SHOWN = 5


def assign_splits(records: list[Record], seed: int = 0, protocol: Protocol = GROUP_DISJOINT) -> list[Record]:
    """Returns the records in the same order, each with its split.

    A record whose use is not ``train`` gets None. As published, a fifth of the pictures of each class tests, a tenth of
    the others validates and the rest trains, dealt from the seed, whatever their groups and folds; pictures without a
    label train. Group-disjoint: where the labelled records have folds, fold 0 is the test side,
    fold 1 the validation side and every other fold the training side. Where none has, whole groups are dealt 60/20/20
    from the seed, class by class, whatever the order of the rows; a group with labels of several diseases is dealt
    once, among the groups with the same labels. Of a class with one group that group trains; of two, one trains and
    one tests; from three on each side has at least one. An unlabelled record follows its group, or else trains.

    Raises:
        ManifestError: only a part of the records has folds, or the folds put one group on two sides, or, as published,
            a picture is on two sides.
    """
    pool = trainable(records)
    if protocol == AS_PUBLISHED:
        return _deal_pictures(records, pool, seed)
    labelled = [record for record in pool if record.disease is not None]
    with_fold = [record for record in pool if record.fold is not None]
    without_fold = [record for record in labelled if record.fold is None]
    if with_fold and without_fold:
        raise ManifestError(
            f"Expected a fold on every labelled record or on none, got {len(without_fold)} without one (first "
            f"{without_fold[0].name}) beside {len(with_fold)} with one: fill in the folds or remove the column."
        )
    sides = _deal_groups(labelled, seed) if without_fold else {r.group_key: _side_of_fold(r.fold) for r in with_fold}
    assigned = [_with_split(record, sides.get(record.group_key, "train")) for record in records]
    check_disjoint(assigned)
    return assigned


def check_disjoint(records: Iterable[Record]) -> None:
    """Returns nothing if no group is on two sides.

    Raises:
        ManifestError: names the first groups that are, and how many there are.
    """
    sides = defaultdict(set)
    for record in records:
        if record.split is not None:
            sides[record.group_key].add(record.split)
    shared = sorted(group for group, found in sides.items() if len(found) > 1)
    if shared:
        named = ", ".join(f"{group} ({' and '.join(sorted(sides[group]))})" for group in shared[:_SHOWN])
        rest = f" and {len(shared) - _SHOWN} more" if len(shared) > _SHOWN else ""
        raise ManifestError(
            f"Expected every group on one side of the split, got {len(shared)} on several, {named}{rest}: "
            f"give all records of a group the same fold."
        )


def check_pictures(records: Iterable[Record]) -> None:
    """Returns nothing if no picture is on two sides, which is all that the published protocol asks.

    Raises:
        ManifestError: names the first pictures that are, and how many there are.
    """
    sides = defaultdict(set)
    for record in records:
        if record.split is not None:
            sides[record.path.absolute()].add(record.split)
    shared = sorted(str(path) for path, found in sides.items() if len(found) > 1)
    if shared:
        named = ", ".join(shared[:_SHOWN]) + (f" and {len(shared) - _SHOWN} more" if len(shared) > _SHOWN else "")
        raise ManifestError(
            f"Expected every picture on one side of the split, got {len(shared)} on several, {named}: "
            "list each picture once."
        )


def shared_groups(records: Iterable[Record], disease: str | None = None) -> list[str]:
    """Returns the groups that test, with the disease where it is given, and train as well with whatever label."""
    training, tested = set(), set()
    for record in records:
        if record.split == "train":
            training.add(record.group_key)
        elif record.split == "test" and disease in (None, record.disease):
            tested.add(record.group_key)
    return sorted(training & tested)


def group_folds(records: Iterable[Record], seed: int = 0) -> dict[str, int]:
    """Returns the fold of each labelled group: the manifest's, or one of five dealt from the seed where it has none.

    Groups are dealt in turn, those with equal labels one after the other, so that each fold gets its share of them.

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
        dealt = [group for _, groups in sorted(_strata(labelled, seed).items()) for group in groups]
        return {group: position % N_FOLDS for position, group in enumerate(dealt)}
    without = [record for record in labelled if record.group_key not in given]
    if without:
        raise ManifestError(
            f"Expected a fold on every labelled record or on none, got {len(without)} without one (first "
            f"{without[0].name}): fill in the folds or remove the column."
        )
    return {group: found.pop() for group, found in given.items()}


def trainable(records: Iterable[Record], disease: str | None = None, split: str | None = None) -> list[Record]:
    """Returns the records for training and evaluation, of one disease and one split where these are given."""
    return [
        record
        for record in records
        if record.use == TRAIN_USE
        and (disease is None or record.disease == disease)
        and (split is None or record.split == split)
    ]


def class_counts(records: Iterable[Record]) -> pd.DataFrame:
    """Returns groups and slices of each class and split, columns disease, label, split, groups, slices.

    Every class and split of a disease that has records is listed, with zeros where it is empty, in the order of
    ``DISEASES``, of the disease's classes and of ``SPLITS``. Records without a label or a split are not counted.
    """
    slices: Counter[tuple[str | None, str | None, str]] = Counter()
    groups: dict[tuple[str | None, str | None, str], set[str]] = defaultdict(set)
    for record in records:
        if record.disease is not None and record.split is not None:
            cell = (record.disease, record.label, record.split)
            slices[cell] += 1
            groups[cell].add(record.group_key)
    present = {disease for disease, _, _ in slices}
    cells = [
        (disease.key, label, split)
        for disease in DISEASES.values()
        if disease.key in present
        for label in disease.classes
        for split in SPLITS
    ]
    rows = [(*cell, len(groups.get(cell, ())), slices[cell]) for cell in cells]
    return pd.DataFrame(rows, columns=["disease", "label", "split", "groups", "slices"])


def _side_of_fold(fold: int | None) -> str:
    if fold == _TEST_FOLD:
        return "test"
    return "validation" if fold == _VALIDATION_FOLD else "train"


def _with_split(record: Record, side_of_group: str) -> Record:
    if record.use != TRAIN_USE:
        return replace(record, split=None)
    # the record's own fold, not its group's: check_disjoint must see a group whose folds disagree
    return replace(record, split=side_of_group if record.fold is None else _side_of_fold(record.fold))


def _deal_groups(labelled: list[Record], seed: int) -> dict[str, str]:
    """Returns the side of each group, dealt among those with equal labels."""
    sides: dict[str, str] = {}
    for groups in _strata(labelled, seed).values():
        sides |= _dealt(groups, *_held_out(len(groups)))
    return sides


def _strata(labelled: list[Record], seed: int) -> dict[str, list[str]]:
    """Returns the groups by their labels, each in an order that only seed and group name decide."""
    labels = defaultdict(set)
    for record in labelled:
        labels[record.group_key].add(f"{record.disease}/{record.label}")
    strata = defaultdict(list)
    for group, found in labels.items():
        strata[" ".join(sorted(found))].append(group)
    return {label: _shuffled(groups, seed) for label, groups in strata.items()}


def _deal_pictures(records: list[Record], pool: list[Record], seed: int) -> list[Record]:
    """Returns the records with the split of the published protocol: pictures dealt class by class."""
    classes = defaultdict(list)
    for record in pool:
        if record.disease is not None:
            classes[record.disease, record.label].append(record.name)
    sides: dict[str, str] = {}
    for names in classes.values():
        n_test = max(1, round(_TEST_PICTURES * len(names))) if len(names) > 1 else 0
        n_validation = max(1, round(_VALIDATION_PICTURES * (len(names) - n_test))) if len(names) > 2 else 0
        sides |= _dealt(_shuffled(names, seed), n_validation, n_test)
    assigned = [replace(r, split=sides.get(r.name, "train") if r.use == TRAIN_USE else None) for r in records]
    check_pictures(assigned)
    return assigned


def _shuffled(names: list[str], seed: int) -> list[str]:
    """Returns the names in an order that only they and the seed decide."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).hexdigest())


def _dealt(names: list[str], n_validation: int, n_test: int) -> dict[str, str]:
    """Returns the side of each name: the first test, the next validate, the others train."""
    held_out = ["test"] * n_test + ["validation"] * n_validation
    return {name: held_out[place] if place < len(held_out) else "train" for place, name in enumerate(names)}


def _held_out(n_groups: int) -> tuple[int, int]:
    """Returns how many of a class's groups validate and test."""
    if n_groups < 3:
        return 0, n_groups - 1
    n_side = max(1, round(_HELD_OUT_FRACTION * n_groups))
    return n_side, n_side
