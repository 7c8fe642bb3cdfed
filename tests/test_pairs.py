"""Positive pairs and batches: as published, or of neighbouring slices with few of a person in a batch."""

from pathlib import Path

import numpy as np
import pytest
from torch import Generator

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store
from sslmri.learning.pairs import PairSampler


def pool(sizes: dict[str, int], has_numbers: bool = True) -> Store:
    """Slices of groups of these sizes, in an order that mixes the groups."""
    records = [
        Record(Path("x"), f"{group}-{i}", "c", None, None, group, None, slice_number=i if has_numbers else None)
        for group, size in sizes.items()
        for i in range(size)
    ]
    records = [records[i] for i in np.random.default_rng(0).permutation(len(records))]
    return Store(np.zeros((len(records), 1, 1), np.uint8), records, [])


def epoch(store: Store, neighbours: int, batch_size: int, seed: int = 0) -> list[np.ndarray]:
    return PairSampler(store, neighbours).epoch(batch_size, Generator().manual_seed(seed))


def test_as_published_a_pair_is_one_slice_and_each_slice_comes_once():
    batches = epoch(pool({"a": 20, "b": 12}), 0, 8)
    assert len(batches) == 4
    assert all(np.array_equal(first, second) for first, second in batches)
    assert sorted(np.concatenate([batch[0] for batch in batches])) == list(range(32))


def test_neighbours_are_other_slices_of_the_same_group_and_not_far():
    store = pool({"a": 20, "b": 12})
    batches = epoch(store, 3, 8)
    assert sorted(np.concatenate([batch[0] for batch in batches])) == list(range(32))
    apart = []
    for first, second in np.concatenate(batches, axis=1).T:
        one, other = store.records[first], store.records[second]
        assert one.group == other.group
        apart.append(abs(one.slice_number - other.slice_number))
    assert set(apart) == {1, 2, 3}


def test_a_slice_without_neighbour_or_number_is_its_own_partner():
    for store in (pool(dict.fromkeys("abcdefgh", 1)), pool({"a": 8}, has_numbers=False)):
        assert all(np.array_equal(first, second) for first, second in epoch(store, 3, 4))


def test_with_neighbours_a_batch_has_as_few_of_a_group_as_can_be():
    store = pool({"a": 9, "b": 6, "c": 5} | {f"single-{i}": 1 for i in range(28)})  # 48 slices, 6 batches of 8
    for batch in epoch(store, 2, 8):
        groups = [store.records[row].group for row in batch[0]]
        assert max(groups.count(name) for name in "abc") <= 2
        assert groups.count("b") == 1


def test_the_seed_alone_decides_on_the_batches():
    store = pool({"a": 9, "b": 23})
    for neighbours in (0, 2):
        first, same, other = (epoch(store, neighbours, 8, seed) for seed in (3, 3, 4))
        assert all(np.array_equal(*both) for both in zip(first, same, strict=True))
        assert not all(np.array_equal(*both) for both in zip(first, other, strict=True))


def test_what_fills_no_batch_is_left_out_of_large_groups_as_of_small_ones():
    store = pool({"a": 12} | {f"single-{i}": 1 for i in range(11)})  # 23 slices, 2 batches of 8
    seen = [np.concatenate([batch[0] for batch in epoch(store, 2, 8, seed)]) for seed in range(60)]
    assert all(len(set(rows)) == 16 for rows in seen)
    share = np.mean([store.records[row].group == "a" for rows in seen for row in rows])
    assert share == pytest.approx(12 / 23, abs=0.05)


def test_what_fills_no_batch_is_left_out():
    assert [batch.shape for batch in epoch(pool({"a": 9, "b": 10}), 2, 8)] == [(2, 8), (2, 8)]
