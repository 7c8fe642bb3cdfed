"""Reading: every encoding of an image gives the same scan, everything else one plain sentence."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image, ImageOps

from sslmri.errors import ScanError
from sslmri.scans.limits import MAX_BYTES, MAX_VOXELS
from sslmri.scans.slices import Preparation, to_slices
from tests.harness.dicom_files import dicom
from tests.harness.parsing import parse_scan

ROOT = Path(__file__).resolve().parents[1]


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def grey(phantom) -> np.ndarray:
    return np.rint(phantom / phantom.max() * 255).astype(np.uint8)


def encodings(grey: np.ndarray) -> dict[str, bytes]:
    plain = Image.fromarray(grey)
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    alpha = Image.merge("LA", (plain, Image.new("L", plain.size, 255)))
    turned = plain.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "png": encoded(plain, "PNG"),
        "png 16 bit": encoded(wide, "PNG"),
        "png palette": encoded(plain.convert("P"), "PNG"),
        "png rgb": encoded(plain.convert("RGB"), "PNG"),
        "png alpha": encoded(alpha, "PNG"),
        "png orientation": encoded(turned, "PNG", exif=exif),
        "tiff": encoded(plain, "TIFF"),
        "tiff 16 bit": encoded(wide, "TIFF"),
        "tiff 16 bit big-endian": encoded(Image.fromarray(np.asarray(wide).astype(">u2")), "TIFF"),
        "tiff float": encoded(Image.fromarray(grey.astype(np.float32) / 255), "TIFF"),
        "tiff lzw": encoded(plain, "TIFF", compression="tiff_lzw"),
        "tiff white is zero, 16 bit": white_is_zero(grey),
        "jpeg": encoded(plain, "JPEG", quality=98),
        "jpeg cmyk": encoded(plain.convert("RGB").convert("CMYK"), "JPEG", quality=98),
    }


def white_is_zero(grey: np.ndarray) -> bytes:
    inverted = Image.fromarray((65535 - grey.astype(np.uint16) * 257).astype(np.uint16))
    return encoded(inverted, "TIFF", tiffinfo={262: 0})


def test_every_encoding_gives_the_same_slice(grey):
    slices = {
        name: to_slices(parse_scan(data, name), Preparation())[0].astype(int) for name, data in encodings(grey).items()
    }
    for name, slice_ in slices.items():
        assert np.abs(slice_ - slices["png"]).mean() < (1.5 if "jpeg" in name else 0.6), name


def dicom_encodings(grey: np.ndarray) -> dict[str, bytes]:
    stored = grey.astype(np.uint16) * 16
    square = {"PixelSpacing": [2, 2]}
    rescaled = {"RescaleSlope": 0.25, "RescaleIntercept": -100, "WindowCenter": 300, "WindowWidth": 90}
    return {
        "monochrome 2, rescaled and windowed": dicom(stored, **square, **rescaled),
        "monochrome 1": dicom(4080 - stored, **square, PhotometricInterpretation="MONOCHROME1"),
        "signed, negative": dicom(stored.astype(np.int16) - 2000, **square),
    }


def test_a_slice_as_dicom_is_prepared_as_its_png_is(grey):
    png = to_slices(parse_scan(encodings(grey)["png"], "png"), Preparation())[0].astype(int)
    for name, data in dicom_encodings(grey).items():
        slice_ = to_slices(parse_scan(data, name), Preparation())[0]
        assert np.abs(slice_ - png).max() <= 1, name
    for name in ("tiff 16 bit", "png 16 bit", "jpeg"):
        slice_ = to_slices(parse_scan(encodings(grey)[name], name), Preparation())[0]
        assert np.abs(slice_ - png).max() <= (12 if name == "jpeg" else 1), name


def test_the_content_decides_and_not_the_extension(grey):
    assert parse_scan(encoded(Image.fromarray(grey), "TIFF"), "slice.png").info.source == "TIFF"


def test_pages_of_a_tiff_are_a_volume(grey):
    pages = [Image.fromarray(grey), Image.fromarray(grey // 2), Image.fromarray(grey // 3)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert np.array_equal(parse_scan(data, "volume.tif").voxels, np.stack([grey, grey // 2, grey // 3]))


def test_folders_are_dropped_from_the_name(grey):
    data = encoded(Image.fromarray(grey), "PNG")
    assert parse_scan(data, "../../etc/scan.png").info.name == "scan.png"
    assert parse_scan(data, "C:\\patients\\scan.png").info.name == "scan.png"


def test_a_transparent_pixel_is_black():
    picture = Image.new("RGBA", (16, 16), (255, 255, 255, 0))
    picture.putpixel((3, 3), (255, 255, 255, 255))
    voxels = parse_scan(encoded(picture, "PNG"), "a.png").voxels[0]
    assert voxels[3, 3] == 255
    assert voxels.sum() == 255


def test_a_image_in_colours_is_refused_in_one_sentence() -> None:
    photograph = Image.effect_noise((64, 64), 60).convert("L").convert("RGB")
    photograph.paste((200, 90, 20), (0, 0, 64, 20))
    with pytest.raises(ScanError, match="^photo.png: This is a colour image. Export the MRI in greyscale.$"):
        parse_scan(encoded(photograph, "PNG"), "photo.png")


def test_coloured_notes_on_a_grey_image_are_taken() -> None:
    noted = Image.effect_noise((64, 64), 60).convert("L").convert("RGB")
    noted.paste((200, 90, 20), (0, 0, 64, 5))
    assert parse_scan(encoded(noted, "PNG"), "noted.png").voxels.shape == (1, 64, 64)


def test_values_that_are_no_numbers_become_the_lowest(grey):
    values = grey.astype(np.float32)
    values[0, 0] = np.nan
    voxels = parse_scan(encoded(Image.fromarray(values), "TIFF"), "a.tif").voxels
    assert np.isfinite(voxels).all()


def png_of_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def lying_tile(side: int) -> bytes:
    """Returns a TIFF of 64 x 64 pixels in one tile of that side, which packs to next to nothing."""
    packed = zlib.compress(bytes(side * side), 9)
    return tiff(packed, (256, 64), (257, 64), (258, 8), (322, side), (323, side), (324, 8), (325, len(packed)))


def tiff(packed: bytes, *own: tuple[int, int]) -> bytes:
    """Returns a grey TIFF of one packed part with these tags."""
    tags = sorted((*own, (259, 8), (262, 1), (277, 1)))
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + directory + bytes(4)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "1", "L", "CMYK", "I", "F", "I;16"])
def test_a_image_converted_in_bands_is_the_one_converted_at_once(monkeypatch, grey, mode):
    data = encoded(Image.fromarray(grey).convert(mode), "TIFF")
    whole = parse_scan(data, "a").voxels
    monkeypatch.setattr("sslmri.scans.images._BAND_PIXELS", 1000)
    assert np.array_equal(parse_scan(data, "a").voxels, whole)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize(("mode", "kind"), [("L", "PNG"), ("I;16", "PNG"), ("L", "TIFF"), ("F", "TIFF"), ("L", "JPEG")])
def test_a_page_is_turned_as_pillow_turns_it(orientation: int, mode: str, kind: str) -> None:
    page = Image.fromarray(np.arange(9 * 12, dtype=np.uint8).reshape(9, 12)).convert("I").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(page, kind, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(parse_scan(data, "a").voxels[0], expected)


def test_a_tile_somewhat_larger_than_its_page_is_read():
    assert parse_scan(lying_tile(256), "a.tif").voxels.shape == (1, 64, 64)


def test_a_progressive_jpeg_is_read(grey):
    progressive = encoded(Image.fromarray(grey), "JPEG", progressive=True)
    assert parse_scan(progressive, "a.jpg").voxels.shape == (1, *grey.shape)


def test_too_little_memory_is_not_told_as_a_damaged_file(grey, monkeypatch):
    monkeypatch.setattr("sslmri.scans.images._to_greyscale", Mock(side_effect=MemoryError))
    with pytest.raises(MemoryError):
        parse_scan(encodings(grey)["png"], "a.png")


REFUSED = {
    "empty": (b"", "an empty file"),
    "text": (b"<html><script>alert(1)</script>", "a text file"),
    "noise": (bytes(range(256)), "a file of unknown type"),
    "gif": (b"GIF89a" + bytes(40), "GIF file is incomplete or damaged"),
    "pdf": (b"%PDF-1.7", "a PDF file"),
    "dicom": (bytes(128) + b"DICM" + bytes(64), "This DICOM file holds no image"),
    "nifti": (bytes(344) + b"n+1\x00" + bytes(64), "not a NIfTI file"),
    "zip": (b"PK\x03\x04" + bytes(40), "zip file is incomplete"),
    "huge": (png_of_size(13_000, 13_000), "over 64 million pixels"),
    "too huge for Pillow": (png_of_size(60_000, 60_000), "over 64 million pixels"),
    "tiny": (png_of_size(2, 2), "At least 8 x 8"),
    "too many bytes": (b"\x89PNG\r\n\x1a\n" + bytes(MAX_BYTES), "over 136 MB"),
    "a tile far larger than its page": (lying_tile(1040), "unusually large tiles"),
    "endless fill": (b"\xff\xd8" + b"\xff" * 2000, "JPEG file is incomplete"),
    "endless chunks": (b"\x89PNG\r\n\x1a\n" + png_of_size(16, 16)[33:-12] * 100_001, "PNG file is incomplete"),
    "no numbers": (encoded(Image.fromarray(np.full((16, 16), np.nan, np.float32)), "TIFF"), "no valid intensities"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_no_image_is_refused_in_plain_words(case):
    data, sentence = REFUSED[case]
    with pytest.raises(ScanError, match=sentence) as error:
        parse_scan(data, "upload.png")
    assert "\n" not in str(error.value)
    assert error.value.source == "upload.png"
    assert "upload.png" not in error.value.reason


def test_the_size_limit_is_below_the_bomb():
    assert MAX_VOXELS < 13_000 * 13_000


@pytest.mark.parametrize("name", ["png", "png 16 bit", "tiff", "jpeg"])
def test_a_truncated_file_is_refused(grey, name):
    data = encodings(grey)[name]
    with pytest.raises(ScanError):
        parse_scan(data[: len(data) // 2], "cut")


def test_every_flipped_byte_of_a_png_is_refused(grey):
    data = encodings(grey)["png"]
    for position in range(8, len(data), 37):
        changed = bytearray(data)
        changed[position] ^= 0x10
        with pytest.raises(ScanError):
            parse_scan(bytes(changed), "changed.png")


def test_damaged_files_print_nothing(grey, tmp_path):
    for name, data in encodings(grey).items():
        kinds = {
            "cut": data[: len(data) * 3 // 4],
            "flipped": bytes(b ^ (i % 29 == 8) * 0x41 for i, b in enumerate(data)),
        }
        for kind, damaged in kinds.items():
            (tmp_path / f"{name} {kind}").write_bytes(damaged)
    code = (
        "import contextlib, pathlib, sys\n"
        "from sslmri.errors import ScanError\n"
        "from sslmri.scans import read_scan\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir():\n"
        "    with contextlib.suppress(ScanError):\n"
        "        read_scan(path.read_bytes(), path.name)\n"
    )
    command = [sys.executable, "-W", "always", "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
