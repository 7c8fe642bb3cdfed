"""No group is ever in two splits."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.cohorts.splits import (
    SPLITS,
    assign_splits,
    check_disjoint,
    class_counts,
    group_folds,
    shared_groups,
    trainable,
)
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
    with pytest.raises(ManifestError, match=r"got 1 in several, c/g \(test and train\)"):
        assign_splits([record("g", fold=0), record("g", fold=2, number=1)])


def test_some_folds_without_others_are_refused() -> None:
    with pytest.raises(ManifestError, match="got 1 without one"):
        assign_splits([record("g", fold=0), record("h")])


def test_groups_are_assigned_whole_60_20_20_in_each_class() -> None:
    assigned = assign_splits(cohort(20) + cohort(10, "multiple_sclerosis"))
    counts = class_counts(assigned).set_index(["label", "split"])["groups"]
    assert [counts["normal", split] for split in SPLITS] == [12, 4, 4]
    assert [counts["multiple_sclerosis", split] for split in SPLITS] == [6, 2, 2]
    check_disjoint(assigned)


@pytest.mark.parametrize(
    ("n_groups", "splits"),
    [
        (1, {"train": 1}),
        (2, {"train": 1, "test": 1}),
        (3, {"train": 1, "validation": 1, "test": 1}),
        (4, {"train": 2, "validation": 1, "test": 1}),
    ],
)
def test_small_class_is_trained_first_then_tested_then_validated(n_groups: int, splits: dict[str, int]) -> None:
    assert groups_of_sides(assign_splits(cohort(n_groups))) == splits


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
    with pytest.raises(ManifestError, match="got 7 in several, c/g0 .*c/g4 .* and 2 more"):
        check_disjoint(records)


def test_records_of_another_use_are_not_trainable() -> None:
    records = [record("a", fold=0), record("b", fold=2), record("d", fold=2, use="gap"), record("e", None)]
    assert [r.group for r in trainable(records)] == ["a", "b", "e"]


def test_class_counts_lists_empty_cells_in_clinical_order() -> None:
    counts = class_counts(assign_splits([record("g", "multiple_sclerosis", 2, i) for i in range(3)]))
    assert counts.columns.tolist() == ["disease", "label", "split", "groups", "slices"]
    assert counts["label"].tolist() == ["normal"] * 3 + ["multiple_sclerosis"] * 3
    assert counts["groups"].tolist() == [0, 0, 0, 1, 0, 0]
    assert counts["slices"].tolist() == [0, 0, 0, 3, 0, 0]
    assert class_counts([]).empty


def test_unlabelled_rows_without_a_fold_train_beside_labelled_rows_with_folds() -> None:
    marked = record("p", "normal", 0, 1, use="localisation")  # a held-out fold of a row that is in no split
    assigned = assign_splits([record("a", fold=0), record("b", fold=1), record("p", None), marked])
    assert [r.split for r in assigned] == ["test", "validation", "train", None]
    with pytest.raises(ManifestError, match="a fold on every labelled record or on none, got 1 without one"):
        assign_splits([record("a", fold=0), record("b"), record("p", None)])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public slices in ../shared/data are not on this machine")
def test_shared_manifest_is_split_without_a_shared_group() -> None:
    assigned = assign_splits(read_manifest(SHARED / "manifest.csv"))
    splits = [{r.group_key for r in assigned if r.split == split} for split in SPLITS]
    assert sum(map(len, splits)) == len(set.union(*splits))
    assert Counter(r.split for r in assigned) == {"train": 8671, "validation": 2007, "test": 2161, None: 1644}
    assert {r.split for r in assigned if r.disease is None} == {"train"}


def images(label: str = "normal", count: int = 100) -> list[Record]:
    """Returns images of groups of ten, each group with a fold of its own."""
    return [record(f"{label}{i // 10}", label, fold=(i // 10) % 5, number=i) for i in range(count)]


def test_published_split_deals_images_of_each_class_whatever_their_groups_and_folds() -> None:
    records = images() + images("multiple_sclerosis", 50)
    assigned = assign_splits(records, protocol="as-published")
    slices = class_counts(assigned).set_index(["label", "split"])["slices"]
    assert [slices["normal", split] for split in SPLITS] == [72, 8, 20]
    assert [slices["multiple_sclerosis", split] for split in SPLITS] == [36, 4, 10]
    assert [r.name for r in assigned] == [r.name for r in records]
    with pytest.raises(ManifestError, match="in several"):
        check_disjoint(assigned)


def test_published_split_depends_on_seed_and_names_alone() -> None:
    records = images()
    expected = {r.name: r.split for r in assign_splits(records, 3, "as-published")}
    shuffled = random.Random(1).sample(records, len(records))
    assert {r.name: r.split for r in assign_splits(shuffled, 3, "as-published")} == expected
    assert {r.name: r.split for r in assign_splits(records, 4, "as-published")} != expected


@pytest.mark.parametrize(("count", "splits"), [(1, {"train"}), (2, {"train", "test"}), (3, set(SPLITS))])
def test_published_split_trains_on_small_classes_first(count: int, splits: set[str]) -> None:
    assert {r.split for r in assign_splits(images(count=count), protocol="as-published")} == splits


def test_published_split_leaves_out_other_uses_and_trains_on_images_without_a_label() -> None:
    others = [record("normal0", None, 0, 900), record("normal0", number=901, use="gap")]
    assert [r.split for r in assign_splits(images() + others, protocol="as-published")[-2:]] == ["train", None]


def test_shared_groups_are_those_that_train_and_test() -> None:
    splits = [("a", "train"), ("a", "test"), ("b", "test"), ("c", "train"), ("d", "validation"), ("d", "test")]
    records = [replace(record(group), split=split) for group, split in splits]
    assert shared_groups(records) == shared_groups(records, "ms") == ["c/a"]
    assert shared_groups(records, "parkinsons") == []
    unlabelled = replace(record("b", None), split="train")
    assert shared_groups([*records, unlabelled], "ms") == ["c/a", "c/b"]


def test_folds_of_the_manifest_are_those_of_its_groups() -> None:
    assert group_folds([record("a", fold=4), record("b", fold=0), record("b", None, 0)]) == {"c/a": 4, "c/b": 0}


def test_group_in_two_training_folds_is_refused_by_name() -> None:
    records = [record("g", fold=2), record("g", fold=3, number=1)]
    check_disjoint(assign_splits(records))
    with pytest.raises(ManifestError, match="Expected every group in one fold, got 1 in several, first c/g"):
        group_folds(records)


def test_assigned_folds_get_their_share_of_each_class_from_the_seed() -> None:
    records = cohort(20) + cohort(7, "multiple_sclerosis")
    folds = group_folds(records, 1)
    assert Counter(folds[f"c/normal{i}"] for i in range(20)) == dict.fromkeys(range(5), 4)
    assert sorted(Counter(folds[f"c/multiple_sclerosis{i}"] for i in range(7)).values()) == [1, 1, 1, 2, 2]
    assert group_folds(random.Random(1).sample(records, len(records)), 1) == folds != group_folds(records, 2)


def test_folds_on_some_groups_only_are_refused() -> None:
    with pytest.raises(ManifestError, match="got 1 without one"):
        group_folds([record("a", fold=0), record("b")])
