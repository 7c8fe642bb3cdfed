"""A zip file of several DICOM series gives one scan for each of them, named by number."""

from pathlib import Path

import numpy as np
import pytest

from sslmri.dashboard.screening.uploads import FileUpload, join_series, without_others
from sslmri.scans import count_scans, read_scan
from sslmri.scans.group_files import ZippedSeries, list_scans
from sslmri.scans.prepare import prepare_files
from sslmri.scans.slices import Preparation, PreparedScan
from tests.harness.dicom_files import CORONAL, SAGITTAL, axial_series, dicom
from tests.nifti_files import make_head, nifti
from tests.test_archive import zipped


@pytest.fixture
def export() -> bytes:
    """Returns a zip file as discs hold them: two series, a localiser, an index, a text."""
    head = make_head()[8:32:2].astype(np.uint16)
    files = [("DICOMDIR", bytes(128) + b"DICM" + bytes(64)), ("README", b"words")]
    files += [(f"S2/{name}", data) for name, data in axial_series(head, SeriesInstanceUID="1.2")]
    files += [(f"S3/{name}", data) for name, data in axial_series(head[2:-2] * 3, SeriesInstanceUID="1.3")]
    planes = zip((CORONAL, SAGITTAL), head, strict=False)
    localiser = [dicom(page, ImageOrientationPatient=list(plane), SeriesInstanceUID="1.1") for plane, page in planes]
    return zipped(*files, *((f"S1/{number}", data) for number, data in enumerate(localiser)))


def test_each_series_is_a_scan_with_a_hash_of_its_own(export):
    assert count_scans(export) == 2
    one, other = (read_scan(export, "folder/disc.zip", number) for number in (1, 2))
    assert (one.info.n_slices, other.info.n_slices) == (12, 8)
    assert np.array_equal(other.voxels, one.voxels[2:-2] * 3)
    assert (one.info.name, other.info.name) == ("disc.zip, series 1", "disc.zip, series 2")
    assert one.info.sha256 != other.info.sha256
    assert one.info.orientation == other.info.orientation == "SPL"
    assert one.info.warnings == other.info.warnings == ()


def test_the_command_line_and_the_pages_take_each_series_as_a_scan(export, tmp_path: Path):
    path = tmp_path / "disc.zip"
    path.write_bytes(export)
    scans = list_scans([path])
    assert scans == [ZippedSeries(path, 1), ZippedSeries(path, 2)]
    prepared = [prepare_files(scan, Preparation()) for scan in scans]
    assert all(isinstance(scan, PreparedScan) for scan in prepared)
    uploads = join_series([FileUpload("disc.zip", export), FileUpload("other.txt", b"words")])
    names = ["disc.zip, series 1 of 2", "disc.zip, series 2 of 2", "other.txt"]
    assert [upload.name for upload in uploads] == names
    assert [upload.read().info.sha256 for upload in uploads[:2]] == [scan.info.sha256 for scan in prepared]
    assert len({upload.sha256 for upload in uploads}) == 3


def test_one_series_or_slices_that_each_name_one_are_one_scan():
    head = make_head()[8:32:2].astype(np.uint16)
    own = [(name, dicom(page, SeriesInstanceUID=f"1.{i}", ImagePositionPatient=[0, 0, 4 * i]))
           for i, ((name, _), page) in enumerate(zip(axial_series(head), head, strict=True))]  # fmt: skip
    for data in (zipped(*axial_series(head)), zipped(*own), zipped(("a", b"b")), b"PK\x03\x04", b"", b"words"):
        assert count_scans(data) == 1


def test_a_damaged_archive_is_counted_as_one_scan(export):
    chance = np.random.default_rng(0)
    for _ in range(10):
        damaged = bytearray(export)
        for place in chance.integers(0, len(damaged), 20):
            damaged[place] = chance.integers(256)
        assert count_scans(bytes(damaged)) in (1, 2)


def test_what_of_a_folder_is_no_scan_is_left_out(head):
    header, voxels = FileUpload("disc/scan.mhd", b"ObjectType = Image"), FileUpload("disc/scan.raw", b"words")
    names = ("disc/autorun.inf", "disc/.hidden", "disc/viewer.exe")
    others = [FileUpload(name, data) for name, data in zip(names, (b"[a]", nifti(head), b"MZ\x90\0"), strict=True)]
    files = [*others, header, voxels, FileUpload("disc/a.nii", nifti(head))]
    assert [file.name for file in without_others(files)] == ["disc/scan.mhd", "disc/scan.raw", "disc/a.nii"]
