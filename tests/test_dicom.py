"""DICOM: one file, its frames or the files of a series give one volume of the right values in the right place."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from sslmri.scans.dicom import read_dicom
from sslmri.scans.dicom_frames import checked_size, decoded_frames
from sslmri.scans.volume import Volume
from tests.harness.dicom_files import CORONAL, SAGITTAL, axial_series, dicom, encoded, enhanced
from tests.harness.parsing import parse_scan, parse_series

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def voxels() -> np.ndarray:
    """Returns slices that all differ, (12, 64, 72) uint16."""
    return np.random.default_rng(0).integers(0, 4000, (12, 64, 72), dtype=np.uint16)


def read_files(files: Sequence[tuple[str, bytes]]) -> Volume:
    return read_dicom(data for _, data in files)


def test_a_series_in_any_order_becomes_one_axial_volume(voxels):
    files = axial_series(voxels)
    random.Random(1).shuffle(files)
    volume = read_files(files)
    assert np.array_equal(volume.voxels, voxels)
    assert (volume.spacing_mm, volume.orientation, volume.modality) == ((4.0, 1.5, 1.25), "SPL", "MR")
    assert volume.warnings == ()


def test_slices_are_sorted_by_position_and_not_by_number(voxels):
    files = [(name, data) for name, data in axial_series(voxels, step=-4.0)]
    assert np.array_equal(read_files(files).voxels, voxels[::-1])


@pytest.mark.parametrize("directions", [SAGITTAL, CORONAL])
def test_a_series_of_another_plane_becomes_axial(voxels, directions):
    normal = np.cross(directions[:3], directions[3:])
    files = [
        ("", dicom(p, ImageOrientationPatient=list(directions), ImagePositionPatient=list(normal * 4.0 * i)))
        for i, p in enumerate(voxels)
    ]
    volume = read_files(files)
    turned = {SAGITTAL: voxels.transpose(1, 2, 0)[::-1, :, ::-1], CORONAL: voxels.transpose(1, 0, 2)[::-1]}
    assert np.array_equal(volume.voxels, turned[directions])
    assert volume.orientation == "SPL"


def test_left_and_right_follow_the_direction_of_the_rows(voxels):
    mirrored = dicom(voxels[0], ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])
    assert np.array_equal(parse_scan(mirrored, "a").voxels[0], voxels[0][:, ::-1])


def test_a_lone_slice_of_another_plane_keeps_its_own_letters(voxels):
    scan = parse_scan(dicom(voxels[0], ImageOrientationPatient=list(SAGITTAL)), "a")
    assert scan.voxels.shape[0] == 1
    assert scan.info.orientation is not None
    assert scan.info.orientation[0] in "LR"


def test_values_are_rescaled_and_no_window_clips_them(voxels):
    tags = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 50, "WindowWidth": 10}
    assert np.array_equal(parse_scan(dicom(voxels[0], **tags), "a").voxels[0], voxels[0] * np.float32(2) - 100)


def test_each_slice_of_a_series_has_its_own_slope(voxels):
    files = [
        ("", dicom(p, ImagePositionPatient=[0, 0, i], RescaleSlope=i + 1, RescaleIntercept=0))
        for i, p in enumerate(voxels[:3])
    ]
    assert np.array_equal(read_files(files).voxels, voxels[:3] * np.arange(1, 4, dtype=np.float32)[:, None, None])


def test_monochrome_1_is_turned_over(voxels):
    turned = dicom(4095 - voxels[0], PhotometricInterpretation="MONOCHROME1")
    grey = parse_scan(turned, "a").voxels[0]
    assert np.array_equal(grey - grey.min(), voxels[0] - np.float32(voxels[0].min()))


def test_signed_pixels_keep_their_sign(voxels):
    signed = voxels[0].astype(np.int16) - 2000
    assert np.array_equal(parse_scan(dicom(signed), "a").voxels[0], signed)


def test_an_enhanced_file_is_sorted_by_its_functional_groups(voxels):
    scan = parse_scan(enhanced(voxels, heights=range(24, 0, -2), slopes=[0.5] * 12), "a")
    assert np.array_equal(scan.voxels, voxels[::-1] * np.float32(0.5))
    assert (scan.info.spacing_mm, scan.info.orientation) == ((2.0, 1.5, 1.25), "SPL")


def test_a_classic_multi_frame_file_keeps_its_frames_but_knows_no_sides(voxels):
    scan = parse_scan(dicom(voxels), "a")
    assert np.array_equal(scan.voxels, voxels)
    assert (scan.info.spacing_mm, scan.info.orientation) == (None, None)
    assert "left and right unknown" in scan.info.warnings[0]


def test_files_without_a_position_are_sorted_by_their_number(voxels):
    files = axial_series(voxels, ImagePositionPatient=None)
    assert np.array_equal(read_files(files[::-1]).voxels, voxels)


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEG2000Lossless],
)
def test_every_lossless_transfer_syntax_gives_the_same_voxels(voxels, syntax):
    scan = parse_scan(encoded(voxels[0], syntax), "a")
    assert np.array_equal(scan.voxels[0], voxels[0])
    assert scan.info.orientation == "SPL"


def test_a_jpeg_frame_is_read(phantom):
    grey = (phantom / 4).astype(np.uint8)
    assert np.abs(parse_scan(encoded(grey, JPEGBaseline8Bit), "a").voxels[0] - grey).mean() < 3


@pytest.mark.parametrize("start", [b"MZ\x90", b"II*\x00", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"\x7fELF"])
def test_a_preamble_that_looks_like_another_file_changes_nothing(voxels, start):
    data = start + dicom(voxels[0])[len(start) :]
    assert np.array_equal(parse_scan(data, "a").voxels[0], voxels[0])


def test_a_slice_that_came_twice_counts_once(voxels):
    files = axial_series(voxels)
    volume = read_files([*files, files[3]])
    assert np.array_equal(volume.voxels, voxels)
    assert "Left out: 1 duplicate slice." in volume.warnings[0]


def test_a_gap_is_kept_and_named(voxels):
    files = axial_series(voxels)
    volume = read_files(files[:4] + files[6:])
    assert len(volume.voxels) == 10
    assert volume.spacing_mm is not None
    assert volume.spacing_mm[0] == 4.0
    assert "Missing: 2 slices in 1 place;" in volume.warnings[0]


def test_uneven_distances_are_told(voxels):
    files = [("", dicom(p, ImagePositionPatient=[0, 0, 4 * i + i % 2])) for i, p in enumerate(voxels)]
    assert "uneven, 3.0 to 5.0 mm" in read_files(files).warnings[0]


def test_a_corrupt_slice_is_left_out_and_told_by_its_number(voxels):
    files = axial_series(voxels)
    files[6] = (files[6][0], files[6][1][:-100])
    volume = read_files(files)
    assert np.array_equal(volume.voxels, np.delete(voxels, 6, axis=0))
    assert "1 of 12 files cannot be read and were left out: number 7" in volume.warnings[0]
    assert "gap" in volume.warnings[1]


def test_loose_files_give_one_scan_whatever_their_order(voxels):
    files = axial_series(voxels)
    scan, again = parse_series(files), parse_series(files[::-1])
    assert np.array_equal(scan.voxels, voxels)
    assert (scan.info.sha256, scan.info.name) == (again.info.sha256, again.info.name)
    assert (scan.info.source, scan.info.name) == ("DICOM", "slice 0 and 11 more")


def frame_of(name: str) -> np.ndarray:
    """Returns the first frame of one of pydicom's own test files."""
    path = get_testdata_file(name)
    assert isinstance(path, str)
    file = dcmread(path)
    return decoded_frames(file, checked_size(file))[0]


@pytest.mark.parametrize("coding", ["RLE", "jpeg_ls_lossless", "jp2klossless"])
def test_every_lossless_coding_gives_the_same_pixels(coding):
    assert np.array_equal(frame_of(f"MR_small_{coding}.dcm"), frame_of("MR_small.dcm"))


@pytest.mark.parametrize(
    ("name", "highest"), [("JPGExtended.dcm", 264), ("JPEGLSNearLossless_16.dcm", 65535), ("693_J2KI.dcm", 2836)]
)
def test_lossy_codings_of_over_8_bits_are_read(name, highest):
    assert frame_of(name).max() == highest


@pytest.mark.parametrize(
    ("tags", "sequence"),
    [
        ({"SeriesDescription": "AX T1 SE"}, "T1"),
        ({"SeriesDescription": "AX T1 SE", "ContrastBolusAgent": "Gadovist"}, "T1ce"),
        ({"SeriesDescription": "t1_mprage post gd"}, "T1ce"),
        ({"SeriesDescription": "t1_mprage_gd"}, "T1ce"),
        ({"SeriesDescription": "AX T1 C+"}, "T1ce"),
        ({"SeriesDescription": "AX T1 post-op"}, "T1"),
        ({"SeriesDescription": "AX T1 pre Gd"}, None),
        ({"ProtocolName": "T2 TSE tra"}, "T2"),
        ({"SeriesDescription": "T2 FLAIR ax"}, "FLAIR"),
        ({"AcquisitionContrast": "FLUID_ATTENUATED", "SeriesDescription": "T1"}, "FLAIR"),
        ({"SeriesDescription": "T2* GRE"}, None),
        ({"AcquisitionContrast": "T2_STAR"}, None),
        ({"SeriesDescription": "T1 FLAIR"}, None),
        ({"SeriesDescription": "DOE^T1000 brain"}, None),
        ({"ScanningSequence": "SE", "EchoTime": 12, "RepetitionTime": 550}, "T1"),
        ({"ScanningSequence": "SE", "EchoTime": 12, "RepetitionTime": 550, "ContrastBolusAgent": "Gadovist"}, "T1ce"),
        ({"ScanningSequence": ["GR", "IR"], "EchoTime": 3, "RepetitionTime": 2300, "InversionTime": 900}, "T1"),
        ({"ScanningSequence": "SE", "EchoTime": 96, "RepetitionTime": 5500}, "T2"),
        ({"ScanningSequence": ["SE", "IR"], "EchoTime": 120, "RepetitionTime": 9000, "InversionTime": 2500}, "FLAIR"),
        ({"ScanningSequence": "SE", "EchoTime": 20, "RepetitionTime": 3000}, None),  # proton density
        ({"ScanningSequence": "GR", "EchoTime": 5, "RepetitionTime": 25}, None),
        ({"ScanningSequence": "EP", "EchoTime": 90, "RepetitionTime": 5000}, None),
        ({"ScanningSequence": "SE", "EchoTime": 12, "RepetitionTime": 550, "SeriesDescription": "AX T2"}, "T2"),
        ({}, None),
    ],
)
def test_the_sequence_is_known_only_where_the_file_states_it(voxels, tags, sequence):
    assert parse_series(axial_series(voxels, **tags)).info.sequence == sequence
