"""The preparation that training, evaluation and the app share."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from sslmri.cohorts.manifest import read_manifest
from sslmri.cohorts.store import open_store
from sslmri.errors import ScanError
from sslmri.scans.reading import read_scan
from sslmri.scans.slices import (
    Preparation,
    _as_bytes,
    _filled,
    _percentiles,
    head_mask,
    numbered_slices,
    slice_indices,
    to_slices,
)
from tests.conftest import as_scan

PREPARATION = Preparation()
CROPPED = Preparation(crop_to_head=True)


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


def test_a_crop_to_the_head_forgets_the_framing(phantom):
    plain = to_slices(as_scan(phantom), CROPPED)
    padded = to_slices(as_scan(np.pad(phantom, ((10, 50), (31, 7)))), CROPPED)
    assert np.abs(plain.astype(int) - padded).mean() < 1


def test_without_a_crop_the_whole_slice_is_kept(phantom):
    slices = to_slices(as_scan(phantom), PREPARATION)[0]
    height = np.ptp(np.flatnonzero((slices > 20).any(axis=1))) + 1
    assert height == pytest.approx(72 / 96 * 128, abs=3)
    sides = slices[:, :10].max(), slices[:, -10:].max()
    assert sides == (0, 0), "a slice that is higher than wide is padded left and right"


@pytest.mark.parametrize("preparation", [PREPARATION, CROPPED])
def test_aspect_ratio_is_kept(phantom, preparation):
    slices = to_slices(as_scan(phantom), preparation)[0]
    mask = slices > 20
    height, width = np.ptp(np.flatnonzero(mask.any(axis=1))), np.ptp(np.flatnonzero(mask.any(axis=0)))
    assert height / width == pytest.approx(72 / 54, rel=0.05)


def test_head_mask_fills_holes_and_ignores_specks(phantom):
    image = phantom.copy()
    image[45:55, 35:45] = 0
    image[2, 2] = 900
    mask = head_mask(image)
    assert mask[50, 40]
    assert not mask[2, 2]


@pytest.mark.parametrize("brightness", [0.2, 40.0])  # bytes, and finer values
def test_the_head_of_a_finer_picture_is_the_same_head(phantom, brightness):
    grey = np.rint(phantom * brightness) if brightness < 1 else phantom * brightness
    coarse = np.kron(grey, np.ones((4, 4), np.float32))  # 384 x 320
    fine = np.kron(grey, np.ones((8, 8), np.float32))[:-1, :-3]  # 767 x 637: averaged by 2
    expected = head_mask(coarse).repeat(2, axis=0).repeat(2, axis=1)[:-1, :-3]
    assert head_mask(fine).shape == fine.shape
    assert (head_mask(fine) != expected).mean() < 0.003


def test_bytes_and_finer_values_of_one_picture_are_prepared_alike(phantom):
    grey = np.rint(phantom * 0.2)
    prepared = to_slices(as_scan(grey), PREPARATION)
    assert np.array_equal(to_slices(as_scan(grey * 3 + 0.5), PREPARATION), prepared)


def test_counted_percentiles_equal_sorted_ones_bit_for_bit():
    random = np.random.default_rng(0)
    for size in range(1, 300):
        for scale in (1.0, 1.3, -1.0):
            values = (random.integers(0, 256, size) * scale).astype(np.float32)
            for wanted in ((0.5, 99.5), (1.0, 99.5), (0.0, 100.0), (37.0, 50.0)):
                assert np.array_equal(_percentiles(_as_bytes(values), wanted), np.percentile(values, wanted))


def test_holes_are_filled_as_by_scipy():
    random = np.random.default_rng(0)
    for density in np.linspace(0.05, 1.0, 200):
        region = random.random((23, 31)) < density
        assert np.array_equal(_filled(region), ndimage.binary_fill_holes(region))


@pytest.mark.parametrize("value", [0.0, 7.0, 255.0])
def test_a_picture_of_one_grey_value_is_refused(value):
    with pytest.raises(ScanError, match="every pixel is alike"):
        to_slices(as_scan(np.full((64, 64), value)), PREPARATION)


def test_middle_slices_of_a_volume_are_taken():
    assert list(slice_indices(10, 0.6)) == [2, 3, 4, 5, 6, 7]
    assert list(slice_indices(1, 0.6)) == [0]


def test_empty_slices_of_a_volume_are_left_out(phantom):
    volume = np.stack([phantom, np.zeros_like(phantom), phantom])
    everything = dataclasses.replace(PREPARATION, slice_fraction=1.0)
    slices, numbers = numbered_slices(as_scan(volume), everything)
    assert numbers == (1, 3)
    assert np.array_equal(slices, to_slices(as_scan(volume), everything))
    assert len(slices) == 2


def test_training_and_app_prepare_bit_equal_slices(cohort, tmp_path):
    records = read_manifest(cohort)[:6]
    store = open_store(records, PREPARATION, tmp_path, workers=1)
    for record, stored in zip(records, store.slices, strict=True):
        scan = read_scan(record.path.read_bytes(), record.path.name)
        assert np.array_equal(to_slices(scan, PREPARATION)[0], stored)
