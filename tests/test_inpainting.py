"""Lesions painted over: what changes, whose tissue comes in, and which slices get copies."""

from pathlib import Path

import numpy as np
import pytest

from sslmri.cohorts.inpainting import paint_lesions, paint_over
from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store

SIDE = 64


def square(row: int, column: int, side: int = 8) -> np.ndarray:
    region = np.zeros((SIDE, SIDE), dtype=bool)
    region[row : row + side, column : column + side] = True
    return region


def head(seed: int, level: int) -> np.ndarray:
    """Returns a noisy disc on black."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    noise = np.random.default_rng(seed).normal(level, 4, (SIDE, SIDE))
    return np.where(y**2 + x**2 < 28**2, noise, 0).clip(0, 255).astype(np.uint8)


def store_of(slices: list[np.ndarray], labels: list[str], groups: str) -> Store:
    records = [
        Record(Path(str(i)), str(i), "c", "tumours", label, group, None)
        for i, (label, group) in enumerate(zip(labels, groups, strict=True))
    ]
    return Store(np.stack(slices), records, [])


def test_painting_changes_the_region_and_its_edge_alone_and_takes_the_level_around_it():
    slice_, donor, region = head(0, 100), head(1, 60), square(28, 28)
    slice_[region] = 255
    painted = paint_over(slice_, donor, region)
    changed = np.argwhere(painted != slice_)
    assert changed.min() >= 28 - 3 - 6
    assert changed.max() < 36 + 3 + 6
    assert painted[region].mean() == pytest.approx(100, abs=3)
    assert painted[region].std() == pytest.approx(4, abs=1.5)


def test_a_donor_is_the_slice_most_alike_of_another_group_without_a_lesion_in_that_place():
    levels, groups = [100, 101, 102, 110, 160], "abcde"
    slices = [head(seed, level) for seed, level in enumerate(levels)]
    regions: list[np.ndarray | None] = [square(28, 28), square(30, 30), square(10, 30), square(48, 30), None]
    store = store_of(slices, ["glioma", "meningioma", "pituitary", "glioma", "no_tumour"], groups)
    copies = paint_lesions(store, regions)
    assert [record.label for record in copies.records[:2]] == ["no_tumour", "glioma"]
    # for the first: the second has a lesion there, the third is next; the fourth's place is free in both
    np.testing.assert_array_equal(copies.pixels[0], paint_over(slices[0], slices[2], square(28, 28)))
    np.testing.assert_array_equal(copies.pixels[1], paint_over(slices[0], slices[2], square(48, 30)))
    assert [record.path for record in copies.records] == [Path(str(i)) for i in (0, 0, 1, 1, 2, 2, 3, 3)]


def test_no_tissue_comes_from_the_same_group_and_slices_without_a_donor_have_no_copy():
    slices = [head(seed, 100) for seed in range(3)]
    regions: list[np.ndarray | None] = [square(28, 28), square(10, 30), None]
    assert not paint_lesions(store_of(slices, ["glioma", "glioma", "no_tumour"], "aaa"), regions).records
    assert not paint_lesions(store_of(slices, ["glioma", "glioma", "no_tumour"], "aab"), regions).records
    none = paint_lesions(store_of(slices, ["glioma"] * 3, "abc"), [None] * 3)
    assert none.slices.shape == (0, SIDE, SIDE)
