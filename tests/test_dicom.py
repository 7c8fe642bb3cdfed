"""DICOM: one file, its frames or the files of a series give one volume of the right values in the right place."""

import random
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from sslmri.scans.dicom import read_dicom
from sslmri.scans.reading import read_scan, read_series
from tests.harness.dicom_files import CORONAL, SAGITTAL, axial_series, dicom, encoded, enhanced

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def voxels() -> np.ndarray:
    """Returns slices that all differ, (12, 64, 72) uint16."""
    return np.random.default_rng(0).integers(0, 4000, (12, 64, 72), dtype=np.uint16)


def test_a_series_in_any_order_becomes_one_axial_volume(voxels):
    files = axial_series(voxels)
    random.Random(1).shuffle(files)
    volume = read_dicom(files)
    assert np.array_equal(volume.voxels, voxels)
    assert (volume.spacing_mm, volume.orientation, volume.modality) == ((4.0, 1.5, 1.25), "SPL", "MR")
    assert volume.warnings == ()


def test_slices_are_sorted_by_position_and_not_by_number(voxels):
    files = [(name, data) for name, data in axial_series(voxels, step=-4.0)]
    assert np.array_equal(read_dicom(files).voxels, voxels[::-1])


@pytest.mark.parametrize("directions", [SAGITTAL, CORONAL])
def test_a_series_of_another_plane_becomes_axial(voxels, directions):
    normal = np.cross(directions[:3], directions[3:])
    files = [
        ("", dicom(p, ImageOrientationPatient=list(directions), ImagePositionPatient=list(normal * 4.0 * i)))
        for i, p in enumerate(voxels)
    ]
    volume = read_dicom(files)
    turned = {SAGITTAL: voxels.transpose(1, 2, 0)[::-1, :, ::-1], CORONAL: voxels.transpose(1, 0, 2)[::-1]}
    assert np.array_equal(volume.voxels, turned[directions])
    assert volume.orientation == "SPL"


def test_left_and_right_follow_the_direction_of_the_rows(voxels):
    mirrored = dicom(voxels[0], ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])
    assert np.array_equal(read_scan(mirrored, "a").voxels[0], voxels[0][:, ::-1])


def test_a_lone_slice_of_another_plane_keeps_its_own_letters(voxels):
    scan = read_scan(dicom(voxels[0], ImageOrientationPatient=list(SAGITTAL)), "a")
    assert scan.voxels.shape[0] == 1
    assert scan.orientation is not None
    assert scan.orientation[0] in "LR"


def test_values_are_rescaled_and_no_window_clips_them(voxels):
    tags = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 50, "WindowWidth": 10}
    assert np.array_equal(read_scan(dicom(voxels[0], **tags), "a").voxels[0], voxels[0] * np.float32(2) - 100)


def test_each_slice_of_a_series_has_its_own_slope(voxels):
    files = [
        ("", dicom(p, ImagePositionPatient=[0, 0, i], RescaleSlope=i + 1, RescaleIntercept=0))
        for i, p in enumerate(voxels[:3])
    ]
    assert np.array_equal(read_dicom(files).voxels, voxels[:3] * np.arange(1, 4, dtype=np.float32)[:, None, None])


def test_monochrome_1_is_turned_over(voxels):
    turned = dicom(4095 - voxels[0], PhotometricInterpretation="MONOCHROME1")
    grey = read_scan(turned, "a").voxels[0]
    assert np.array_equal(grey - grey.min(), voxels[0] - np.float32(voxels[0].min()))


def test_signed_pixels_keep_their_sign(voxels):
    signed = voxels[0].astype(np.int16) - 2000
    assert np.array_equal(read_scan(dicom(signed), "a").voxels[0], signed)


def test_an_enhanced_file_is_sorted_by_its_functional_groups(voxels):
    scan = read_scan(enhanced(voxels, heights=range(24, 0, -2), slopes=[0.5] * 12), "a")
    assert np.array_equal(scan.voxels, voxels[::-1] * np.float32(0.5))
    assert (scan.spacing_mm, scan.orientation) == ((2.0, 1.5, 1.25), "SPL")


def test_a_classic_multi_frame_file_keeps_its_frames_but_knows_no_sides(voxels):
    scan = read_scan(dicom(voxels), "a")
    assert np.array_equal(scan.voxels, voxels)
    assert (scan.spacing_mm, scan.orientation) == (None, None)
    assert "sides unknown" in scan.warnings[0]


def test_files_without_a_position_are_sorted_by_their_number(voxels):
    files = axial_series(voxels, ImagePositionPatient=None)
    assert np.array_equal(read_dicom(files[::-1]).voxels, voxels)


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEG2000Lossless],
)
def test_every_lossless_transfer_syntax_gives_the_same_voxels(voxels, syntax):
    scan = read_scan(encoded(voxels[0], syntax), "a")
    assert np.array_equal(scan.voxels[0], voxels[0])
    assert scan.orientation == "SPL"


def test_a_jpeg_frame_is_read(phantom):
    grey = (phantom / 4).astype(np.uint8)
    assert np.abs(read_scan(encoded(grey, JPEGBaseline8Bit), "a").voxels[0] - grey).mean() < 3


@pytest.mark.parametrize("start", [b"MZ\x90", b"II*\x00", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"\x7fELF"])
def test_a_preamble_that_looks_like_another_file_changes_nothing(voxels, start):
    data = start + dicom(voxels[0])[len(start) :]
    assert np.array_equal(read_scan(data, "a").voxels[0], voxels[0])


def test_a_slice_that_came_twice_counts_once(voxels):
    files = axial_series(voxels)
    volume = read_dicom([*files, files[3]])
    assert np.array_equal(volume.voxels, voxels)
    assert "count once: 1 left out" in volume.warnings[0]


def test_a_gap_is_kept_and_named(voxels):
    files = axial_series(voxels)
    volume = read_dicom(files[:4] + files[6:])
    assert len(volume.voxels) == 10
    assert volume.spacing_mm is not None
    assert volume.spacing_mm[0] == 4.0
    assert "a gap of 12.0 mm after slice 4, counted from below: 2 slices are missing" in volume.warnings[0]


def test_uneven_distances_are_told(voxels):
    files = [("", dicom(p, ImagePositionPatient=[0, 0, 4 * i + i % 2])) for i, p in enumerate(voxels)]
    assert "unevenly, 3.0 to 5.0 mm apart" in read_dicom(files).warnings[0]


def test_a_corrupt_slice_is_left_out_and_told_by_its_number(voxels):
    files = axial_series(voxels)
    files[6] = (files[6][0], files[6][1][:-100])
    volume = read_dicom(files)
    assert np.array_equal(volume.voxels, np.delete(voxels, 6, axis=0))
    assert "1 of 12 files cannot be read, left out: number 7" in volume.warnings[0]
    assert "gap" in volume.warnings[1]


def test_loose_files_give_one_scan_whatever_their_order(voxels):
    files = axial_series(voxels)
    scan, again = read_series(files), read_series(files[::-1])
    assert np.array_equal(scan.voxels, voxels)
    assert (scan.sha256, scan.name) == (again.sha256, again.name)
    assert (scan.source, scan.name) == ("DICOM", "slice 0 and 11 more")
