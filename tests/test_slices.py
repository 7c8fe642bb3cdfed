"""The preparation that training, evaluation and the app share."""

import dataclasses
import hashlib

import numpy as np
import pytest
from scipy import ndimage

from sslmri.cohorts.manifest import read_manifest
from sslmri.cohorts.store import open_store
from sslmri.errors import ScanError
from sslmri.scans.scan import Scan
from sslmri.scans.slices import (
    MAX_PREPARED,
    Preparation,
    _fill_holes,
    head_mask,
    prepare_scan,
    slice_indices,
    square_pixels,
    to_slices,
)
from tests.conftest import as_scan
from tests.harness.parsing import parse_scan

PREPARATION = Preparation()


def test_slices_have_the_prepared_shape_and_type(phantom):
    slices = to_slices(as_scan(phantom), PREPARATION)
    assert slices.shape == (1, 128, 128)
    assert slices.dtype == np.uint8


def test_percentiles_inside_the_head_span_the_grey_range(phantom):
    slices = to_slices(as_scan(phantom), PREPARATION)
    assert slices.min() == 0
    assert slices.max() == 255


def test_grey_scale_and_offset_do_not_matter(phantom):
    plain = to_slices(as_scan(phantom), PREPARATION)
    other = to_slices(as_scan(phantom * 3.7 + 55), PREPARATION)
    assert np.abs(plain.astype(int) - other).max() <= 1


def test_the_whole_slice_is_kept(phantom):
    slices = to_slices(as_scan(phantom), PREPARATION)[0]
    height = np.ptp(np.flatnonzero((slices > 20).any(axis=1))) + 1
    assert height == pytest.approx(72 / 96 * 128, abs=3)
    sides = slices[:, :10].max(), slices[:, -10:].max()
    assert sides == (0, 0), "a slice that is higher than wide is padded left and right"


def test_aspect_ratio_is_kept(phantom):
    assert height_to_width(to_slices(as_scan(phantom), PREPARATION)[0]) == pytest.approx(72 / 54, rel=0.05)


def height_to_width(slice_: np.ndarray) -> float:
    mask = slice_ > 20
    return np.ptp(np.flatnonzero(mask.any(axis=1))) / np.ptp(np.flatnonzero(mask.any(axis=0)))


def test_head_mask_fills_holes_and_ignores_specks(phantom):
    image = phantom.copy()
    image[45:55, 35:45] = 0
    image[2, 2] = 900
    mask = head_mask(image)
    assert mask[50, 40]
    assert not mask[2, 2]


@pytest.mark.parametrize("brightness", [0.2, 40.0])  # bytes, and finer values
def test_the_head_of_a_finer_image_is_the_same_head(phantom, brightness):
    grey = np.rint(phantom * brightness) if brightness < 1 else phantom * brightness
    coarse = np.kron(grey, np.ones((4, 4), np.float32))  # 384 x 320
    fine = np.kron(grey, np.ones((8, 8), np.float32))[:-1, :-3]  # 767 x 637: averaged by 2
    expected = head_mask(coarse).repeat(2, axis=0).repeat(2, axis=1)[:-1, :-3]
    assert head_mask(fine).shape == fine.shape
    assert (head_mask(fine) != expected).mean() < 0.003


def test_bytes_and_finer_values_of_one_image_are_prepared_alike(phantom):
    grey = np.rint(phantom * 0.2)
    prepared = to_slices(as_scan(grey), PREPARATION)
    assert np.array_equal(to_slices(as_scan(grey * 3 + 0.5), PREPARATION), prepared)


def test_holes_are_filled_as_by_scipy():
    random = np.random.default_rng(0)
    for density in np.linspace(0.05, 1.0, 200):
        region = random.random((23, 31)) < density
        assert np.array_equal(_fill_holes(region), ndimage.binary_fill_holes(region))


@pytest.mark.parametrize("value", [0.0, 7.0, 255.0])
def test_a_image_of_one_grey_value_is_refused(value):
    with pytest.raises(ScanError, match="The image is blank"):
        to_slices(as_scan(np.full((64, 64), value)), PREPARATION)


def test_middle_slices_of_a_volume_are_taken():
    assert list(slice_indices(10, 0.6)) == [2, 3, 4, 5, 6, 7]
    assert list(slice_indices(1, 0.6)) == [0]


def test_empty_slices_of_a_volume_are_left_out(phantom):
    volume = np.stack([phantom, np.zeros_like(phantom), phantom])
    everything = dataclasses.replace(PREPARATION, slice_fraction=1.0)
    prepared = prepare_scan(as_scan(volume), everything)
    assert prepared.slice_numbers == (1, 3)
    assert prepared.slices.shape == (2, 128, 128)


def head_volume(n_slices: int, spacing: tuple[float, float, float], top_mm: float, phantom: np.ndarray) -> Scan:
    """Returns a volume whose head ends below the last slice and whose neck goes down through the first."""
    heights = (np.arange(n_slices) + 0.5) * spacing[0]
    below = top_mm - heights
    radius = np.where(below < 0, 0, np.where(below < 160, np.sqrt(np.clip(below * (170 - below), 0, None)) / 85, 0.5))
    centre = (np.indices(phantom.shape).T - (41, 50)[::-1]).T
    distance = np.hypot(centre[0] / 36, centre[1] / 27)
    voxels = np.stack([phantom * (distance < size) for size in radius]).astype(np.float32)
    return as_scan(voxels, spacing_mm=spacing, orientation="SPL")


@pytest.mark.parametrize("spacing", [1.0, 1.3, 3.0, 5.0])
def test_a_volume_gives_slices_of_the_middle_of_its_head_at_the_learned_spacing(phantom, spacing):
    n_slices = round(290 / spacing)
    scan = head_volume(n_slices, (spacing, 2.0, 2.0), 250.0, phantom)
    numbers = np.array(prepare_scan(scan, PREPARATION).slice_numbers)
    heights = (numbers - 0.5) * spacing
    assert heights.min() == pytest.approx(250 - 0.8 * 160, abs=12)
    assert heights.max() == pytest.approx(250 - 0.2 * 160, abs=12)
    steps = np.diff(numbers) * spacing
    assert len(set(steps)) == 1
    assert steps[0] == pytest.approx(max(4, spacing), rel=0.26)


def test_a_volume_of_unknown_spacing_gives_its_middle_slices_as_ever(phantom):
    scan = head_volume(60, (3.0, 2.0, 2.0), 170.0, phantom)
    expected = tuple(i + 1 for i in slice_indices(60, 0.6))
    for known in ({}, {"spacing_mm": (3.0, 2.0, 2.0)}):
        assert prepare_scan(as_scan(scan.voxels, **known), PREPARATION).slice_numbers == expected


@pytest.mark.parametrize(("spacing", "orientation"), [(None, None), ((0.1, 2.0, 2.0), "SPL")])
def test_no_volume_gives_more_than_48_slices(phantom, spacing, orientation):
    volume = as_scan(np.stack([phantom] * 200), spacing_mm=spacing, orientation=orientation)
    numbers = prepare_scan(volume, dataclasses.replace(PREPARATION, slice_spacing_mm=0.0)).slice_numbers
    assert len(numbers) == MAX_PREPARED == 48
    assert list(numbers) == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (41, 160)
    assert np.ptp(np.diff(numbers)) <= 1


@pytest.mark.parametrize("spacing", [1e-9, 1e9])
def test_an_absurd_spacing_still_gives_a_slice(phantom, spacing):
    voxels = head_volume(60, (3.0, 2.0, 2.0), 170.0, phantom).voxels
    scan = as_scan(voxels, spacing_mm=(spacing, 2.0, 2.0), orientation="SPL")
    assert 1 <= len(to_slices(scan, PREPARATION)) <= MAX_PREPARED


def test_a_blank_volume_is_refused():
    blank = as_scan(np.zeros((20, 32, 32)), spacing_mm=(3.0, 2.0, 2.0), orientation="SPL")
    with pytest.raises(ScanError, match="The image is blank"):
        prepare_scan(blank, PREPARATION)


def test_pixels_that_are_not_square_are_made_square(phantom):
    low = phantom.reshape(48, 2, 80).mean(axis=1)
    squeezed = as_scan(low, spacing_mm=(5.0, 2.0, 1.0), orientation="SPL")
    assert height_to_width(to_slices(squeezed, PREPARATION)[0]) == pytest.approx(72 / 54, rel=0.05)
    assert height_to_width(to_slices(as_scan(low), PREPARATION)[0]) == pytest.approx(36 / 54, rel=0.05)


def test_square_pixels_take_the_finer_spacing_within_a_limit(phantom):
    assert square_pixels(phantom, (1.0, 1.0, 2.5)).shape == (96, 200)
    assert square_pixels(phantom, (1.0, 1.0, 1e6)).shape == (1, 1024)
    assert square_pixels(phantom, (5.0, 1.0, 1.005)) is phantom
    assert square_pixels(phantom, None) is phantom


DIGESTS = {
    "bytes": "2b135739245819307f25db9613f3dd3c0f440c363c9bcdf3994ea353ff20e6bb",
    "finer": "5b7d66be72e9adffd00dfd14bc4b1c3cdf9c9ff95da7860debc15d1617b4ffb2",
}


@pytest.mark.parametrize("values", DIGESTS)
@pytest.mark.parametrize("spacing", [None, (5.0, 0.9, 0.9)])
def test_a_image_is_prepared_bit_for_bit_as_ever(values, spacing):
    rows, columns = np.mgrid[0:96, 0:80]
    inside = (rows - 50) ** 2 * 27**2 + (columns - 41) ** 2 * 36**2 < 36**2 * 27**2
    picture = np.where(inside, 40 + (rows * 7 + columns * columns) % 200, rows % 3)
    picture = picture if values == "bytes" else picture * 16 + columns
    scan = as_scan(picture, spacing_mm=spacing, orientation=spacing and "SPL")
    assert hashlib.sha256(to_slices(scan, PREPARATION).tobytes()).hexdigest() == DIGESTS[values]


def test_training_and_app_prepare_bit_equal_slices(cohort, tmp_path):
    records = read_manifest(cohort)[:6]
    store = open_store(records, PREPARATION, tmp_path)
    for record, stored in zip(records, store.slices, strict=True):
        scan = parse_scan(record.path.read_bytes(), record.path.name)
        assert np.array_equal(to_slices(scan, PREPARATION)[0], stored)
