"""A sample holds as many slices of each group as there are, whatever the order of the records."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.sampling import sample_classes, sample_groups
from sslmri.cohorts.store import Store


def slices(label: str | None = "normal", **sizes: int) -> list[Record]:
    """Returns so many records of each group."""
    disease = label and "ms"
    return [
        Record(Path("x"), f"{group}{i:03d}", "c", disease, label, group, None)
        for group, size in sizes.items()
        for i in range(size)
    ]


def store_of(records: list[Record]) -> Store:
    """Returns a store whose slice is filled with its position."""
    return Store(np.arange(len(records), dtype=np.uint8)[:, None, None], records, [])


def test_small_groups_leave_their_part_to_the_others() -> None:
    records = slices(a=50, b=3, c=20)
    rows = sample_groups(records, 23)
    assert Counter(records[row].group for row in rows) == {"a": 10, "b": 3, "c": 10}
    assert rows == sorted(set(rows))


@pytest.mark.parametrize("count", [0, 1, 20, 49, 80])
def test_sample_is_as_large_as_asked_for_or_whole(count: int) -> None:
    records = slices(a=30, b=3, c=17)
    assert len(set(sample_groups(records, count))) == min(count, 50)


def test_more_groups_than_places_are_sampled_over_all_sizes() -> None:
    records = slices(**{f"g{group:02}": 1 + group % 3 for group in range(48)})
    groups = [records[row].group for row in sample_groups(records, 12)]
    assert len(set(groups)) == 12
    assert {1 + int(group[1:]) % 3 for group in groups} != {1}


def test_each_class_is_sampled_for_itself_and_slices_without_a_label_are_not() -> None:
    records = slices(a=40) + slices("multiple_sclerosis", b=4, c=40) + slices(None, d=9)
    kept = [records[row] for row in sample_classes(records, 10)]
    assert Counter((r.label, r.group) for r in kept) == {
        ("normal", "a"): 10,
        ("multiple_sclerosis", "b"): 4,
        ("multiple_sclerosis", "c"): 6,
    }


def test_slices_of_a_store_are_chosen_by_disease_and_split() -> None:
    records = [replace(r, split=split) for split in ("train", "test") for r in slices(a=2) + slices(None, b=1)]
    store = store_of([*records, *slices("multiple_sclerosis", c=1)])
    assert store.indices() == list(range(7))
    assert store.indices(split="train") == [0, 1, 2]
    assert store.indices(disease="ms", split="test") == store.indices(disease={"ms", "tumours"}, split="test") == [3, 4]
    assert store.labelled.truth.tolist() == [0, 0, 0, 0, 1]
    assert store.where(split="test").labelled.groups.tolist() == ["c/a"] * 2
    assert store.labelled.evenly_per_class(1).truth.tolist() == [0, 1]
    assert len(store.evenly(3).records) == 3
