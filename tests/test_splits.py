"""No group is ever on two sides of a split."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.cohorts.splits import SPLITS, assign_splits, check_disjoint, class_counts, trainable
from sslmri.errors import ManifestError

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def record(group: str, label: str | None = "normal", fold: int | None = None, number: int = 0, **more: str) -> Record:
    """Returns a slice of a group, of multiple sclerosis unless another disease is named."""
    disease = None if label is None else more.pop("disease", "ms")
    name = f"{group}-{disease}-{number}.png"
    return Record(Path(name), name, "c", disease, label, group, fold, use=more.pop("use", "train"))


def cohort(n_groups: int, label: str = "normal", n_slices: int = 3) -> list[Record]:
    """Returns groups of one class without folds."""
    return [record(f"{label}{group}", label, number=i) for group in range(n_groups) for i in range(n_slices)]


def groups_of_sides(records: list[Record]) -> dict[str | None, int]:
    """Returns how many groups each side has."""
    return dict(Counter(split for _, split in {(r.group_key, r.split) for r in records}))


def test_folds_decide_where_they_are_given() -> None:
    assigned = assign_splits([record(f"g{fold}", fold=fold) for fold in range(5)])
    assert [r.split for r in assigned] == ["test", "validation", "train", "train", "train"]


def test_records_of_another_use_are_in_no_split() -> None:
    assigned = assign_splits(
        [record("g", fold=0), record("g", fold=0, number=1, use="gap"), record("h", use="leak_demo")]
    )
    assert [r.split for r in assigned] == ["test", None, None]


def test_group_in_two_folds_is_refused_by_name() -> None:
    with pytest.raises(ManifestError, match=r"got 1 on several, c/g \(test and train\)"):
        assign_splits([record("g", fold=0), record("g", fold=2, number=1)])


def test_some_folds_without_others_are_refused() -> None:
    with pytest.raises(ManifestError, match="got 1 without one"):
        assign_splits([record("g", fold=0), record("h")])


def test_groups_are_dealt_whole_60_20_20_in_each_class() -> None:
    assigned = assign_splits(cohort(20) + cohort(10, "multiple_sclerosis"))
    counts = class_counts(assigned).set_index(["label", "split"])["groups"]
    assert [counts["normal", split] for split in SPLITS] == [12, 4, 4]
    assert [counts["multiple_sclerosis", split] for split in SPLITS] == [6, 2, 2]
    check_disjoint(assigned)


@pytest.mark.parametrize(
    ("n_groups", "sides"),
    [
        (1, {"train": 1}),
        (2, {"train": 1, "test": 1}),
        (3, {"train": 1, "validation": 1, "test": 1}),
        (4, {"train": 2, "validation": 1, "test": 1}),
    ],
)
def test_small_class_is_trained_first_then_tested_then_validated(n_groups: int, sides: dict[str, int]) -> None:
    assert groups_of_sides(assign_splits(cohort(n_groups))) == sides


def test_dealing_does_not_depend_on_the_order_of_rows() -> None:
    records = cohort(30)
    shuffled = random.Random(1).sample(records, len(records))
    expected = {r.name: r.split for r in assign_splits(records)}
    assert {r.name: r.split for r in assign_splits(shuffled)} == expected


def test_order_of_records_is_kept() -> None:
    records = cohort(10)
    assert [r.name for r in assign_splits(records)] == [r.name for r in records]


def test_another_seed_deals_other_groups() -> None:
    records = cohort(30)
    assert assign_splits(records, seed=1) == assign_splits(records, seed=1)
    assert assign_splits(records, seed=1) != assign_splits(records, seed=2)


def test_group_with_several_diseases_is_on_one_side() -> None:
    both = [r for i in range(15) for r in (record(f"g{i}"), record(f"g{i}", "parkinsons", disease="parkinsons"))]
    assigned = assign_splits(both + cohort(15))
    assert sum(groups_of_sides(assigned).values()) == 30


@pytest.mark.parametrize("folded", [True, False])
def test_unlabelled_record_follows_its_group_or_trains(folded: bool) -> None:
    labelled = [record(f"g{i}", fold=i % 5 if folded else None) for i in range(15)]
    unlabelled = [record(f"g{i}", None, number=1) for i in range(15)] + [record("alone", None)]
    assigned = assign_splits(labelled + unlabelled)
    side = {r.group: r.split for r in assigned[:15]}
    assert [r.split for r in assigned[15:-1]] == [side[f"g{i}"] for i in range(15)]
    assert assigned[-1].split == "train"


def test_unlabelled_cohort_trains_except_its_held_out_folds() -> None:
    assert [r.split for r in assign_splits([record("a", None), record("b", None, fold=0)])] == ["train", "test"]


def test_shared_groups_are_counted_beyond_the_first_five() -> None:
    records = [replace(record(f"g{i}"), split=split) for i in range(7) for split in ("train", "test")]
    with pytest.raises(ManifestError, match="got 7 on several, c/g0 .*c/g4 .* and 2 more"):
        check_disjoint(records)


def test_trainable_filters_use_disease_and_split() -> None:
    records = assign_splits(
        [record("a", fold=0), record("b", fold=2), record("d", fold=2, use="gap"), record("e", None)]
    )
    assert [r.group for r in trainable(records)] == ["a", "b", "e"]
    assert [r.group for r in trainable(records, "ms")] == ["a", "b"]
    assert [r.group for r in trainable(records, "ms", "test")] == ["a"]


def test_class_counts_lists_empty_cells_in_clinical_order() -> None:
    counts = class_counts(assign_splits([record("g", "multiple_sclerosis", 2, i) for i in range(3)]))
    assert counts.columns.tolist() == ["disease", "label", "split", "groups", "slices"]
    assert counts["label"].tolist() == ["normal"] * 3 + ["multiple_sclerosis"] * 3
    assert counts["groups"].tolist() == [0, 0, 0, 1, 0, 0]
    assert counts["slices"].tolist() == [0, 0, 0, 3, 0, 0]
    assert class_counts([]).empty


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public slices in ../shared/data are not on this machine")
def test_shared_manifest_is_split_without_a_shared_group() -> None:
    assigned = assign_splits(read_manifest(SHARED / "manifest.csv"))
    sides = [{r.group_key for r in trainable(assigned, split=split)} for split in SPLITS]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert len(trainable(assigned, split="train")) == 5425
    assert Counter(r.split for r in assigned) == {"train": 5425, "validation": 1931, "test": 2215, None: 1314}
