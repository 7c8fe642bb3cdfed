"""Volumes of any position become axial slices, or one plain sentence."""

from itertools import permutations, product

import numpy as np
import pytest

from sslmri.errors import ScanError
from sslmri.scans.limits import MAX_VOXELS, check_size
from sslmri.scans.volume import axial_volume

SPL = np.array([[0, 0, 1], [0, -1, 0], [-1, 0, 0]], dtype=float)  # right, anterior, superior of each axis
SIZES = (9, 11, 13)
SPACING = (3.0, 1.0, 1.5)


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(0).random(SIZES, dtype=np.float32)


def tilted(degrees: float) -> np.ndarray:
    """Returns the SPL directions turned about the axis from right to left."""
    angle = np.radians(degrees)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    return SPL @ turn.T


def test_a_volume_that_is_axial_already_is_not_changed(voxels):
    volume = axial_volume(voxels, SPL, SPACING, ("as said",))
    assert np.array_equal(volume.voxels, voxels)
    assert (volume.spacing_mm, volume.orientation) == (SPACING, "SPL")
    assert volume.warnings == ("as said",)


def test_all_48_positions_of_a_volume_become_the_same_slices(voxels):
    for order, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
        moved = voxels.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
        directions = SPL[list(order)] * np.array(flips)[:, None]
        volume = axial_volume(moved, directions, tuple(SPACING[axis] for axis in order))
        assert np.array_equal(volume.voxels, voxels)
        assert (volume.spacing_mm, volume.orientation) == (SPACING, "SPL")


def test_reorienting_copies_no_voxels(voxels):
    assert np.shares_memory(axial_volume(voxels.transpose(2, 0, 1), -SPL[[2, 0, 1]], SPACING).voxels, voxels)


def test_a_slightly_oblique_volume_is_reoriented_without_a_warning(voxels):
    volume = axial_volume(voxels, tilted(14), SPACING)
    assert np.array_equal(volume.voxels, voxels)
    assert volume.warnings == ()


@pytest.mark.parametrize("degrees", [16, -30, 44])
def test_an_oblique_volume_carries_its_angle(voxels, degrees):
    volume = axial_volume(voxels, tilted(degrees), SPACING)
    assert np.array_equal(volume.voxels, voxels)
    assert [warning for warning in volume.warnings if f"oblique by {abs(degrees)} degrees" in warning]


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [
        ((1.0, 1.0, 5.0), "sagittal slices 5.0 mm"),
        ((1.0, 4.0, 1.0), "coronal slices 4.0 mm"),
        ((5.0, 0.5, 0.5), None),
        ((1.0, 1.0, 1.5), None),
    ],
)
def test_thick_slices_of_another_plane_carry_a_warning(voxels, spacing, plane):
    warnings = axial_volume(voxels, SPL, spacing).warnings
    assert [plane in warning for warning in warnings] == ([True] if plane else [])


@pytest.mark.parametrize(("axis", "orientation"), [(0, "SPL"), (1, "PIL"), (2, "LIP")])
def test_a_single_slice_keeps_its_plane(voxels, axis, orientation):
    single = voxels.take([4], axis=axis)
    volume = axial_volume(single, SPL, SPACING)
    assert volume.orientation == orientation
    assert volume.voxels.shape == (1, *(size for i, size in enumerate(SIZES) if i != axis))
    expected = single.take(0, axis=axis)
    assert np.array_equal(volume.voxels[0], expected if axis == 0 else expected[::-1])
    assert volume.spacing_mm == (SPACING[axis], *(space for i, space in enumerate(SPACING) if i != axis))


@pytest.mark.parametrize(
    "directions", [np.zeros((3, 3)), np.full((3, 3), np.nan), SPL[[0, 0, 1]], np.full((3, 3), np.inf)]
)
def test_directions_that_span_no_space_are_refused(voxels, directions):
    with pytest.raises(ScanError, match="The orientation in the file header is invalid"):
        axial_volume(voxels, directions, SPACING)


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, float("nan"))])
def test_an_invalid_spacing_is_refused(voxels, spacing):
    with pytest.raises(ScanError, match="voxel spacing in the file header is invalid"):
        axial_volume(voxels, SPL, spacing)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((32767, 32767, 32767), "over 64 million in total"),
        ((1001, 8, 8), "1,001, over 1,000"),
        ((20, 7, 64), "too small: 64 x 7 pixels. At least 8 x 8"),
    ],
)
def test_a_volume_of_a_wrong_size_is_refused(shape, sentence):
    with pytest.raises(ScanError, match=sentence):
        check_size(shape)


def test_the_largest_volume_is_accepted():
    check_size((250, 512, 500))
    assert MAX_VOXELS == 250 * 512 * 500
