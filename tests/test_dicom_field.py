"""DICOM as scanners, archives and anonymisers leave it: read as it was meant, or refused by name."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from sslmri.scans.dicom import read_dicom
from sslmri.scans.group_files import list_scans
from tests.harness.dicom_files import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    as_bytes,
    axial_series,
    dataset,
    dicom,
    encoded,
    enhanced,
    refusal_of,
)
from tests.harness.parsing import parse_scan, parse_series
from tests.nifti_files import make_head
from tests.test_archive import zipped


@pytest.fixture
def voxels() -> np.ndarray:
    """Returns slices that all differ, (12, 64, 72) uint16."""
    return np.random.default_rng(0).integers(0, 4000, (12, 64, 72), dtype=np.uint16)


def contents(files: list[tuple[str, bytes]]) -> list[bytes]:
    return [data for _, data in files]


@pytest.mark.parametrize(
    ("kind", "padding", "tags"),
    [
        ("i2", -2000, {"PixelPaddingValue": -2000}),
        ("u2", 63536, {"PixelPaddingValue": 63536}),
        ("u2", 60000, {"PixelPaddingValue": 65535, "PixelPaddingRangeLimit": 59000}),
        ("u2", 4095, {"PixelPaddingValue": 4095, "RescaleSlope": 2, "RescaleIntercept": -7}),
        ("u2", 63536, {"PixelPaddingValue": 63536, "BitsStored": 13, "HighBit": 12}),
    ],
)
def test_pixel_padding_is_background(voxels, kind, padding, tags):
    pixels = voxels.astype(kind) + 10
    pixels[:, :20] = padding
    scan = parse_series(axial_series(pixels, **tags))
    slope, intercept = tags.get("RescaleSlope", 1), tags.get("RescaleIntercept", 0)
    assert np.array_equal(scan.voxels[:, 20:], (voxels[:, 20:] + 10) * np.float32(slope) + intercept)
    assert (scan.voxels[:, :20] == scan.voxels[:, 20:].min()).all()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_pixel_padding_is_found_in_every_byte_order(voxels, syntax):
    pixels = voxels[0].astype(np.int16) + 10
    pixels[:20] = -2000
    made = dataset(pixels, PixelPaddingValue=-2000)
    made.file_meta.TransferSyntaxUID = UID(syntax)
    if syntax == ExplicitVRBigEndian:
        made.PixelData = pixels.byteswap().tobytes()
    assert (parse_scan(as_bytes(made), "a").voxels[0, :20] == pixels[20:].min()).all()


def test_pixel_padding_of_inverted_pixels_is_background(voxels):
    pixels = voxels[0].copy()
    pixels[:20] = 65535
    scan = parse_scan(dicom(pixels, PixelPaddingValue=65535, PhotometricInterpretation="MONOCHROME1"), "a")
    assert np.array_equal(scan.voxels[0, 20:], pixels[20:].max() - pixels[20:].astype(np.float32))
    assert (scan.voxels[0, :20] == 0).all()


def test_pixel_padding_that_no_pixel_can_hold_changes_nothing(voxels):
    pixels = (voxels[0] // 16).astype(np.uint8)
    assert np.array_equal(parse_scan(dicom(pixels, PixelPaddingValue=63536), "a").voxels[0], pixels)


@pytest.mark.parametrize("is_signed", [False, True])
def test_bits_above_the_stored_ones_are_no_part_of_a_pixel(voxels, is_signed):
    values = voxels[0] if not is_signed else voxels[0].astype(np.int16) - 2000
    overlaid = (values.astype(np.uint16) & 0xFFF) | ((np.arange(72, dtype=np.uint16) % 2) << 12)
    made = dataset(overlaid, BitsStored=12, HighBit=11, PixelRepresentation=int(is_signed))
    assert np.array_equal(parse_scan(as_bytes(made), "a").voxels[0], values)


def test_bits_above_the_stored_ones_are_cleared_in_jpeg_2000(voxels):
    made = dataset(voxels[0] | np.uint16(0x1000))
    made.compress(JPEG2000Lossless, generate_instance_uid=False)
    made.BitsStored, made.HighBit = 12, 11
    assert np.array_equal(parse_scan(as_bytes(made), "a").voxels[0], voxels[0])


def test_pixels_in_the_upper_bits_are_read_by_their_high_bit(voxels):
    shifted = dicom((voxels[0] << 4) | 5, BitsStored=12, HighBit=15)
    assert np.array_equal(parse_scan(shifted, "a").voxels[0], voxels[0])


@pytest.mark.parametrize("excess", [bytes(2), b"\x07\x08", bytes(3 * 144), bytes(10_000) + b"end."])
def test_bytes_behind_the_last_pixel_are_dropped(voxels, excess):
    made = dataset(voxels[0])
    made.PixelData += excess
    if excess.endswith(b"end."):
        assert "header and its pixels disagree" in refusal_of(as_bytes(made))
    else:
        assert np.array_equal(parse_scan(as_bytes(made), "a").voxels[0], voxels[0])


def test_one_padded_slice_of_a_series_is_read_like_the_others(voxels):
    files = axial_series(voxels)
    padded = dataset(voxels[5], ImagePositionPatient=[0, 0, 20], InstanceNumber=6)
    padded.PixelData += bytes(2)
    files[5] = (files[5][0], as_bytes(padded))
    scan = parse_series(files)
    assert np.array_equal(scan.voxels, voxels)
    assert scan.info.warnings == ()


def test_frames_that_are_called_a_mosaic_are_read_as_frames(voxels):
    data = enhanced(voxels, range(12), [1] * 12, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    assert np.array_equal(parse_scan(data, "a").voxels, voxels)


@pytest.mark.parametrize(("directions", "plane"), [(SAGITTAL, "sagittal"), (CORONAL, "coronal")])
def test_slices_of_another_plane_without_positions_are_refused(voxels, directions, plane):
    files = axial_series(voxels, ImagePositionPatient=None, ImageOrientationPatient=list(directions))
    assert f"The slices are {plane}" in refusal_of(*contents(files))


def test_slices_of_unknown_plane_are_refused_and_a_single_one_is_read(voxels):
    files = axial_series(voxels, ImagePositionPatient=None, ImageOrientationPatient=None)
    assert "do not state the orientation" in refusal_of(*contents(files))
    assert "do not state the orientation" in refusal_of(dicom(voxels, ImageOrientationPatient=None))
    assert np.array_equal(parse_scan(files[0][1], "a").voxels[0], voxels[0])


def test_axial_slices_without_positions_are_read_in_the_order_of_their_numbers(voxels):
    files = axial_series(voxels, ImagePositionPatient=None, ImageOrientationPatient=list(AXIAL))
    volume = read_dicom(contents(files[::-1]))
    assert np.array_equal(volume.voxels, voxels)
    assert "of their numbers, left and right unknown" in volume.warnings[0]
    unnumbered = axial_series(voxels, PixelSpacing=None, InstanceNumber=None)
    assert (
        "pixel spacing of all slices: slices are in the order of their files"
        in (parse_series(unnumbered).info.warnings[0])
    )


def test_slices_that_all_state_one_position_are_refused_as_that(voxels):
    assert "All 12 images of the series state one position" in refusal_of(
        *contents(axial_series(voxels, ImagePositionPatient=[0, 0, 0]))
    )


def test_two_stacks_in_one_file_are_refused(voxels):
    heights = [*range(6), *range(7, 13)]
    assert "2 stacks" in refusal_of(enhanced(voxels, heights, [1] * 12, stacks="111111222222"))
    assert parse_scan(enhanced(voxels, range(12), [1] * 12, stacks="1" * 12), "a").voxels.shape == voxels.shape
    assert parse_scan(enhanced(voxels, range(12), [1] * 12, stacks="abcdefghijkl"), "a").voxels.shape == voxels.shape


def test_two_stacks_far_apart_are_refused_though_nothing_names_them(voxels):
    heights = [*range(0, 24, 4), *range(400, 424, 4)]
    assert "2 separate stacks, up to 380 mm apart" in refusal_of(enhanced(voxels, heights, [1] * 12))


def bare(data: bytes) -> bytes:
    """Returns a file without preamble and meta header: from its first tag of group 8 on."""
    match = re.search(rb"\x08\x00\x16\x00(UI|.\x00\x00\x00)|\x00\x08\x00\x16UI", data)
    assert match is not None
    return data[match.start() :]


def test_a_file_without_preamble_is_read(voxels):
    data = dicom(voxels[0])
    implicit, big_endian = (encoded(voxels[0], syntax) for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian))
    for start in (data[132:], bare(data), bare(implicit), bare(big_endian)):
        scan = parse_scan(start, "a")
        assert np.array_equal(scan.voxels[0], voxels[0])
        assert (scan.info.source, scan.info.orientation) == ("DICOM", "SPL")


def test_a_header_without_transfer_syntax_is_read(voxels):
    for data in (dicom(voxels[0]), encoded(voxels[0], ImplicitVRLittleEndian)):
        meta = b"\x02\x00\x02\x00UI\x04\x001.2\x00"
        assert np.array_equal(parse_scan(bytes(128) + b"DICM" + meta + bare(data), "a").voxels[0], voxels[0])


def test_compressed_pixels_without_transfer_syntax_are_refused_by_the_missing_tag(voxels):
    assert "Transfer Syntax UID is missing" in refusal_of(bare(encoded(voxels[0], JPEG2000Lossless)))


def test_gzip_compressed_dicom_is_refused_by_name(voxels):
    assert "gzip-compressed DICOM" in refusal_of(gzip.compress(dicom(voxels[0])))


def own_series(voxels: np.ndarray, step: float = 4.0, **tags: object) -> list[tuple[str, bytes]]:
    """Returns the files of axial slices, each of which names a series of its own."""
    uids = (f"9.{i}" for i in range(len(voxels)))
    return [
        (f"slice {i}", dicom(p, SeriesInstanceUID=uid, InstanceNumber=i, ImagePositionPatient=[0, 0, i * step], **tags))
        for i, (p, uid) in enumerate(zip(voxels, uids, strict=True))
    ]


def test_slices_that_each_name_a_series_are_one_scan(voxels):
    scan = parse_scan(zipped(*own_series(voxels)), "a.zip")
    assert np.array_equal(scan.voxels, voxels)
    assert "Each file names a series of its own: 12 files" in scan.info.warnings[0]


def test_slices_of_several_studies_are_not_put_together(voxels):
    studies = [dicom(p, SeriesInstanceUID=f"9.{i}", StudyInstanceUID=f"8.{i}") for i, p in enumerate(voxels)]
    assert "names a series of its own" in refusal_of(*studies)


LOCALISERS = {
    "by its image type": [{"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}],
    "by its planes": [{"ImageOrientationPatient": list(plane)} for plane in (AXIAL, SAGITTAL, CORONAL)],
    "of another modality": [{"Modality": "CT"}],
}


@pytest.mark.parametrize("kind", LOCALISERS)
def test_a_localiser_beside_one_series_is_left_out(voxels, kind):
    planes = [dicom(voxels[0], SeriesInstanceUID="9.9", **tags) for tags in LOCALISERS[kind]]
    index = dataset(voxels[0])
    del index.PixelData
    index.SOPClassUID = index.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    first = [(f"SE0/IM{i}", data) for i, data in enumerate(planes)]
    scan = parse_scan(zipped(("DICOMDIR", as_bytes(index)), *first, *axial_series(voxels)), "disc.zip")
    assert np.array_equal(scan.voxels, voxels)
    n = 13 + len(planes)
    assert f"{len(planes)} of {n} files are of a localiser or another series" in " ".join(scan.info.warnings)
    assert f"1 of {n} files hold no image" in " ".join(scan.info.warnings)


def test_only_a_localiser_is_refused_as_one(voxels):
    tags = LOCALISERS["by its image type"][0]
    assert "This is a localiser" in refusal_of(*(dicom(p, SeriesInstanceUID=f"9.{p[0, 0]}", **tags) for p in voxels))


def written(folder: Path, files: list[tuple[str, bytes]]) -> list[Path]:
    folder.mkdir()
    for name, data in files:
        (folder / name).write_bytes(data)
    return sorted(folder.iterdir())


def test_a_series_in_several_folders_is_one_scan(voxels, tmp_path):
    files = axial_series(voxels)
    paths = [path for i in range(3) for path in written(tmp_path / str(i), files[i * 4 : i * 4 + 4])]
    assert list_scans(paths) == [tuple(paths)]


def test_the_index_of_a_disc_is_left_out_beside_the_files_that_it_lists(voxels, tmp_path):
    index = tmp_path / "DICOMDIR"
    index.write_bytes(bytes(128) + b"DICM" + bytes(64))
    paths = written(tmp_path / "images", axial_series(voxels))
    assert list_scans([index, *paths]) == [tuple(paths)]
    assert list_scans([index]) == [(index,)]


def test_a_copy_of_a_series_in_another_folder_stays_a_scan_by_itself(voxels, tmp_path):
    one, other = (written(tmp_path / name, axial_series(voxels[:3])) for name in "ab")
    assert list_scans([*one, *other]) == [tuple(one), tuple(other)]


def test_loose_slices_without_a_common_series_are_one_scan(voxels, tmp_path):
    own = written(tmp_path / "own", own_series(voxels))
    unnamed = written(tmp_path / "none", axial_series(voxels, SeriesInstanceUID=None, PatientID="2"))
    lone = written(tmp_path / "lone", [("a", dicom(voxels[0], SeriesInstanceUID="7.7", PatientID="3"))])
    assert list_scans([*own, *unnamed, *lone]) == [tuple(own), tuple(unnamed), tuple(lone)]


@pytest.mark.parametrize(("along_rows", "along_columns"), [(0.0, 3.0), (-3.75, 0.0), (1.5, -2.5)])
def test_the_slices_of_a_tilted_stack_are_put_above_each_other(along_rows, along_columns):
    head = np.pad(make_head()[8:32:3], ((0, 0), (24, 24), (24, 24))).astype(np.uint16)
    files, straight = [], parse_series(axial_series(head))
    for i, page in enumerate(head):
        n_columns, n_rows = (round((i - 4) * by) for by in (along_rows / 1.25, along_columns / 1.5))
        page = np.roll(page, (-n_rows, -n_columns), axis=(0, 1))
        tags = {"ImagePositionPatient": [n_columns * 1.25, n_rows * 1.5, 4 * i], "InstanceNumber": i}
        files.append((str(i), dicom(page, **tags)))
    scan = parse_series(files)
    assert np.array_equal(scan.voxels, straight.voxels)
    assert "The stack is tilted" in scan.info.warnings[0]
    assert straight.info.warnings == ()


def test_slices_far_beside_each_other_are_refused(voxels):
    files = axial_series(voxels)
    away = dicom(voxels[0], ImagePositionPatient=[400, 0, 100], InstanceNumber=20)
    assert "more than half of their size" in refusal_of(*contents(files), away)
