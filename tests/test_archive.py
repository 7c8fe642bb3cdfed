"""Zip files: one series, images or one NIfTI, read in memory; everything else one plain sentence."""

import gzip
import io
import struct
import zipfile
from unittest.mock import Mock

import nibabel
import numpy as np
import pytest
from PIL import Image

from sslmri.errors import ScanError
from sslmri.scans.archive import read_archive
from tests.conftest import SHARED, needs_shared
from tests.harness.dicom_files import axial_series
from tests.harness.parsing import parse_scan

NOISE = np.random.default_rng(0)


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Returns a zip file of (name, content) entries."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def picture(grey: int, side: int = 16) -> bytes:
    """Returns a PNG of one intensity."""
    file = io.BytesIO()
    Image.new("L", (side, side), grey).save(file, "PNG")
    return file.getvalue()


def greys(data: bytes) -> list[int]:
    """Returns the intensity of each slice of an archive of such images."""
    return [int(slice_[0, 0]) for slice_ in read_archive(data).voxels]


def nifti(shape: tuple[int, int, int] = (20, 20, 20)) -> bytes:
    image = nibabel.Nifti1Image(NOISE.integers(0, 900, shape, dtype=np.int16), np.diag([2, 2, 2, 1]))
    return image.to_bytes()


def refusal_of(data: bytes) -> str:
    """Returns the one sentence by which a zip file is refused."""
    with pytest.raises(ScanError) as error:
        parse_scan(data, "scan.zip")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def voxels() -> np.ndarray:
    return NOISE.integers(0, 4000, (12, 64, 72), dtype=np.uint16)


def test_a_zipped_series_is_an_axial_volume(voxels):
    scan = parse_scan(zipped(*axial_series(voxels)[::-1], ("study/README.md", b"plain words")), "scan.zip")
    assert np.array_equal(scan.voxels, voxels)
    assert (scan.info.orientation, scan.info.modality, scan.info.source, scan.info.warnings) == ("SPL", "MR", "zip", ())


def test_what_is_not_dicom_in_a_zipped_series_is_told_by_number(voxels):
    data = zipped(*axial_series(voxels), ("slice 2 Jane Doe.pdf", b"%PDF-1.7" + bytes(50)))
    (warning,) = read_archive(data).warnings
    assert "1 of 13 files cannot be read and were left out: number 4" in warning
    assert "Jane" not in warning


def test_a_damaged_entry_of_a_zipped_series_is_left_out(voxels):
    files = axial_series(voxels)
    data = zipped(*files, method=zipfile.ZIP_STORED)
    at = data.index(voxels[5].tobytes())
    broken = data[: at + 50] + bytes([data[at + 50] ^ 1]) + data[at + 51 :]
    volume = read_archive(broken)
    assert np.array_equal(volume.voxels, np.delete(voxels, 5, axis=0))
    assert "number 6 in" in volume.warnings[0]


def test_every_flipped_bit_of_a_zipped_slice_is_refused(voxels):
    data = zipped(*axial_series(voxels[:1]))
    directory = data.index(b"PK\x01\x02")
    unnoticed = 0
    for position in range(60, directory, 101):
        changed = bytearray(data)
        changed[position] ^= 0x08
        try:
            unnoticed += not np.array_equal(parse_scan(bytes(changed), "a").voxels[0], voxels[0])
        except ScanError:
            continue
    assert unnoticed == 0


def test_images_come_in_the_natural_order_of_their_names():
    names = {"a/slice10.png": 30, "a/slice9.png": 20, "a/slice1.png": 10, "a/slice11.png": 40}
    assert greys(zipped(*((name, picture(grey)) for name, grey in names.items()))) == [10, 20, 30, 40]


def test_hidden_files_and_folders_are_passed_over():
    data = zipped(("__MACOSX/._a.png", b"\0\5\x16"), (".DS_Store", b"\0\0\1"), ("a/", b""), ("a/x.png", picture(7)))
    volume = read_archive(data)
    assert (volume.voxels.max(), len(volume.voxels), volume.warnings) == (7, 1, ())


def test_images_of_another_size_or_damaged_are_told_by_number():
    data = zipped(
        ("1.png", picture(1)),
        ("2.png", picture(2, side=20)),
        ("3.png", picture(3)[:-20]),
        ("4.png", picture(4)),
    )
    volume = read_archive(data)
    assert greys(data) == [1, 4]
    assert "number 3" in volume.warnings[0]
    assert "have another size and were left out: number 2" in volume.warnings[1]


def test_one_nifti_in_a_zip_file_is_read():
    content = nifti()
    scan = parse_scan(zipped(("brain.nii", content), ("sidecar.json", b"{}")), "scan.zip")
    assert np.array_equal(scan.voxels, parse_scan(content, "brain.nii").voxels)
    assert scan.info.warnings == ()


def test_names_are_never_used_as_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = zipped(("../../out.png", picture(1)), ("/tmp/out.png", picture(2)), ("in.png", picture(3)))
    volume = read_archive(data)
    assert volume.voxels.max() == 3
    assert "2 of 3 files" in volume.warnings[0]
    assert not list(tmp_path.iterdir())


def encrypted() -> bytes:
    data = bytearray(zipped(("a.png", picture(1))))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    return bytes(data)


def many_entries(count: int) -> bytes:
    return zipped(*((f"{i}.png", b"") for i in range(count)), method=zipfile.ZIP_STORED)


REFUSED = {
    "empty": (zipped(), "The zip file is empty."),
    "no directory": (b"PK\x03\x04" + bytes(40), "incomplete or damaged"),
    "text": (zipped(("a.txt", b"words")), "holds a text file and no scan"),
    "nested": (zipped(("a.zip", zipped(("a.png", picture(1))))), "another zip file"),
    "encrypted": (encrypted(), "password-protected"),
    "entries": (many_entries(1001), "over 1,000 files"),
    "endless entries": (many_entries(2100), "over 1,000 files"),
    "bomb": (zipped(("a.png", bytes(40 * 2**20))), "200 times"),
    "bzip2": (zipped(("a.png", picture(1)), method=zipfile.ZIP_BZIP2), "unusual compression"),
    "packed images": (zipped(("a.png.gz", gzip.compress(picture(1)))), "a gzip-compressed file (PNG) and no scan"),
    "two volumes": (zipped(("a.nii", nifti()), ("b.nii", nifti())), "holds 2 NIfTI files"),
    "damaged images": (zipped(("a.png", picture(1)[:-9])), "All images in the zip file are damaged"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_zip_file_without_a_scan_gets_one_sentence(case):
    data, sentence = REFUSED[case]
    assert sentence in refusal_of(data)


def test_two_zipped_series_are_refused_with_their_counts(voxels):
    other = [(f"other {i}", data) for i, (_, data) in enumerate(axial_series(voxels[:4], SeriesInstanceUID="9.9"))]
    assert "2 series, of 12 and 4 slices" in refusal_of(zipped(*axial_series(voxels), *other))


def test_a_directory_that_promises_too_much_is_refused_before_unpacking(monkeypatch):
    data = bytearray(zipped(("a.png", picture(1))))
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 600 * 2**20)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("was unpacked"))
    assert "over 512 MB" in refusal_of(bytes(data))


def test_an_entry_larger_than_its_directory_says_is_damaged():
    data = bytearray(zipped(("a.png", picture(1))))
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 60)
    assert "a damaged file" in refusal_of(bytes(data))


def test_images_over_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr("sslmri.scans.archive.MAX_VOXELS", 3 * 16 * 16)
    assert "Upload fewer" in refusal_of(zipped(*((f"{i}.png", picture(i)) for i in range(4))))
    assert len(read_archive(zipped(*((f"{i}.png", picture(i)) for i in range(3)))).voxels) == 3


def test_pages_of_all_images_count_together(monkeypatch):
    monkeypatch.setattr("sslmri.scans.archive.MAX_SLICES", 5)
    file = io.BytesIO()
    page = Image.new("L", (16, 16), 3)
    page.save(file, "TIFF", save_all=True, append_images=[page, page])
    assert "Upload fewer" in refusal_of(zipped(("1.tif", file.getvalue()), ("2.tif", file.getvalue())))


def test_too_little_memory_for_one_image_is_not_told_as_a_damaged_one(monkeypatch):
    monkeypatch.setattr("sslmri.scans.archive.read_image", Mock(side_effect=MemoryError))
    with pytest.raises(MemoryError):
        parse_scan(zipped(("1.png", picture(1))), "scan.zip")


@needs_shared("uploads")
def test_a_real_series_is_48_axial_slices():
    scan = parse_scan((SHARED / "uploads" / "t1_axial_series.zip").read_bytes(), "t1.zip")
    assert scan.voxels.shape == (48, 384, 274)
    assert scan.info.spacing_mm == pytest.approx((5.333, 0.667, 0.7), abs=1e-3)
    assert (scan.info.orientation, scan.info.modality, scan.info.warnings) == ("SPL", "MR", ())
