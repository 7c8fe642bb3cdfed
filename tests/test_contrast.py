"""The contrast of an aligned brain: white matter is brighter than grey matter in T1 and in no other sequence."""

import numpy as np
import pytest

from sslmri.scans.atlas.contrast import T1_FROM, measure_contrast
from sslmri.scans.atlas.register import moved
from sslmri.scans.atlas.slab import GRID, SHAPE, load_template

ROWS = np.linspace(-1, 1, SHAPE[1])


def brain(fluid: float, grey: float, white: float) -> np.ndarray:
    """Returns the average brain in the slab with these intensities of its tissues, and a little noise."""
    points = moved(GRID, np.indices(SHAPE[::-1], np.float32).reshape(3, -1))
    inside, *shares = (load_template(kind).at(points).reshape(SHAPE[::-1]).T for kind in ("t1", "gm", "wm"))
    shares = [share / 255 for share in shares]
    values = fluid + (grey - fluid) * shares[0] + (white - fluid) * shares[1]
    noise = np.random.default_rng(0).normal(0, 4, values.shape)
    return np.where(inside > 0, (values + noise).clip(1), 0).astype(np.float32)


def test_only_in_t1_is_white_matter_brighter():
    assert measure_contrast(brain(30, 70, 100)) > 0.95
    for tissues in ((20, 115, 100), (200, 120, 80)):  # FLAIR, T2
        assert measure_contrast(brain(*tissues)) < 0.6 < T1_FROM


@pytest.mark.parametrize(("white", "is_t1"), [(100, True), (65, False)])
def test_a_bias_field_does_not_decide(white, is_t1):
    field = np.exp(0.7 * ROWS)[:, None] * np.exp(0.5 * ROWS**2)  # 4 times brighter in front, 1.6 times at the sides
    assert (measure_contrast(brain(20, 80, white) * field.astype(np.float32)) >= T1_FROM) == is_t1


def test_slices_without_tissue_have_no_contrast():
    assert measure_contrast(np.zeros(SHAPE, np.float32)) == 0.5
    assert measure_contrast(np.eye(128, dtype=np.float32)[None].repeat(32, 0)) == 0.5
