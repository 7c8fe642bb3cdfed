"""Every kind of image file gives the intensities it holds, 16-bit colours too; others are named or refused."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from sslmri.errors import ScanError
from sslmri.scans.limits import MAX_VOXELS
from tests.harness.parsing import parse_scan
from tests.test_reading import encoded, png_of_size


@pytest.fixture(scope="module")
def deep() -> np.ndarray:
    """Returns an image of 12 of 16 bits, (48, 40) uint16."""
    return np.random.default_rng(0).integers(0, 4096, (48, 40)).astype(np.uint16)


@pytest.fixture(scope="module")
def grey(deep) -> np.ndarray:
    return (deep >> 4).astype(np.uint8)


def coded(pixels: np.ndarray, suffix: str, *options: int) -> bytes:
    """Returns an image file of 16 bits a channel; channels are in the order of OpenCV, blue first."""
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


def grey_alpha(values: np.ndarray) -> bytes:
    """Returns a PNG of 16-bit values and alpha: one of RGBA, whose four bytes a pixel are taken for two of 16 bits."""
    opaque = np.full_like(values, 65535)
    pixels = np.stack([values, opaque], axis=2).astype(">u2").view(np.uint8)
    data = bytearray(encoded(Image.fromarray(pixels, "RGBA"), "PNG"))
    data[24:26] = 16, 4  # bits and colour type of the header
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    return bytes(data)


def deep_encodings(deep: np.ndarray) -> dict[str, bytes]:
    colours = np.dstack([deep] * 3)
    opaque = np.dstack([deep] * 3 + [np.full_like(deep, 65535)])
    return {
        "PNG": coded(deep, ".png"),
        "PNG RGB": coded(colours, ".png"),
        "PNG RGBA": coded(opaque, ".png"),
        "PNG grey and alpha": grey_alpha(deep),
        "TIFF RGB": coded(colours, ".tif", cv2.IMWRITE_TIFF_COMPRESSION, 1),
        "TIFF RGB, LZW": coded(colours, ".tif", cv2.IMWRITE_TIFF_COMPRESSION, 5),
        "TIFF RGBA": coded(opaque, ".tif", cv2.IMWRITE_TIFF_COMPRESSION, 1),
        "BigTIFF": encoded(Image.fromarray(deep), "TIFF", big_tiff=True),
    }


def test_all_16_bits_of_every_kind_of_image_count(deep):
    for name, data in deep_encodings(deep).items():
        assert np.array_equal(parse_scan(data, name).voxels[0], deep), name


def test_16_bit_colours_become_luminance_over_black():
    pixels = np.random.default_rng(0).integers(900, 1024, (16, 12, 4)).astype(np.uint16)
    pixels[..., 3] = 65535
    pixels[:8, :, 3] = 0
    voxels = parse_scan(coded(pixels, ".png"), "a.png").voxels[0]
    assert not voxels[:8].any()
    assert np.allclose(voxels[8:], pixels[8:, :, :3] @ [0.114, 0.587, 0.299], atol=0.51)


def test_16_bit_colours_are_refused_however_few_of_the_bits_they_use(deep):
    with pytest.raises(ScanError, match="colour image"):
        parse_scan(coded(np.dstack([deep, deep // 3, deep // 5]), ".png"), "a.png")


def test_16_bit_colours_are_turned_as_their_exif_says(deep):
    plain = coded(np.dstack([deep] * 3), ".png")
    exif = Image.Exif()
    exif[0x0112] = 6
    body = exif.tobytes()[6:]
    chunk = b"eXIf" + body
    chunk = struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    assert np.array_equal(parse_scan(plain[:33] + chunk + plain[33:], "a.png").voxels[0], deep.T[:, ::-1])


@pytest.mark.parametrize(
    ("kind", "source", "options"),
    [
        ("BMP", "BMP", {}),
        ("GIF", "GIF", {}),
        ("WEBP", "WebP", {"lossless": True}),
        ("JPEG2000", "JPEG 2000", {}),
        ("JPEG2000", "JPEG 2000", {"no_jp2": True}),
        ("ICO", "ICO", {"sizes": [(40, 48)]}),
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_other_kinds_of_image_hold_the_same_intensities(grey, kind, source, options, mode):
    scan = parse_scan(encoded(Image.fromarray(grey).convert(mode), kind, **options), "a.png")
    assert scan.info.source == source
    assert np.array_equal(scan.voxels[0], grey)


def test_an_icon_of_a_bitmap_is_read(grey):
    data = encoded(Image.fromarray(grey).convert("RGBA"), "ICO", sizes=[(40, 48)], bitmap_format="bmp")
    assert np.array_equal(parse_scan(data, "a.ico").voxels[0], grey)


def test_a_lossy_webp_is_nearly_the_image(phantom):
    pixels = np.rint(phantom / phantom.max() * 255).astype(np.uint8)
    voxels = parse_scan(encoded(Image.fromarray(pixels), "WEBP", quality=90), "a.webp").voxels[0]
    assert np.corrcoef(voxels.ravel(), pixels.ravel())[0, 1] > 0.99


def test_a_jpeg_2000_of_16_bits_keeps_them(deep):
    voxels = parse_scan(encoded(Image.fromarray(deep), "JPEG2000"), "a.jp2").voxels[0]
    assert np.array_equal(voxels, deep)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_frames_are_slices(grey, kind):
    frames = [Image.fromarray(grey), Image.fromarray(grey // 2), Image.fromarray(grey // 3)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert np.array_equal(parse_scan(data, "a").voxels, np.stack([grey, grey // 2, grey // 3]))


def webp_of_size(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + bytes(4) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size + bytes(20)


def jpeg_2000_of_size(width: int, height: int, bits: int = 8, components: int = 1) -> bytes:
    data = bytearray(encoded(Image.new("L", (16, 16)), "JPEG2000", no_jp2=True))
    struct.pack_into(">II", data, 8, width, height)
    struct.pack_into(">II", data, 24, width, height)
    struct.pack_into(">HB", data, 40, components, bits - 1)
    return bytes(data)


def icon_of(image: bytes) -> bytes:
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 8, len(image), 22) + image


REFUSED = {
    "webp": (webp_of_size(16_000, 16_000), "over 64 million"),
    "jpeg 2000": (jpeg_2000_of_size(9000, 9000), "too large: over 64 million"),
    "colours of 16 bits": (jpeg_2000_of_size(16, 16, 16, 3), "colours of over 8 bits"),
    "jpeg 2000 without an image": (b"\xff\x4f\xff\x51", "JPEG 2000 file is incomplete"),
    "bitmap": (b"BM" + struct.pack("<IIIIiiHHI", 0, 0, 54, 40, 60_000, 60_000, 1, 8, 0) + bytes(40), "64 million"),
    "gif": (b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + bytes(3) + b"," + bytes(40), "64 million"),
    "icon of a bitmap": (icon_of(struct.pack("<IiiHHI", 40, 30_000, 60_000, 1, 8, 0) + bytes(40)), "64 million"),
    "icon of an image": (icon_of(png_of_size(13_000, 13_000)), "over 64 million"),
    "icon without an image": (b"\x00\x00\x01\x00\x01\x00" + bytes(20), "ICO file is incomplete"),
    "HEIC": (b"\0\0\0\x18ftypheic" + bytes(40), "a HEIC image"),
    "HEIC sequence": (b"\0\0\0\x18ftypmif1" + bytes(40), "a HEIC image"),
    "AVIF": (b"\0\0\0\x1cftypavif" + bytes(40), "an AVIF image"),
    "JPEG XL": (b"\xff\x0a" + bytes(40), "a JPEG XL image"),
    "PGM": (b"P5\n8 8\n255\n" + bytes(64), "a PGM image"),
    "AVI": (b"RIFF\x00\x10\x00\x00AVI LIST" + bytes(40), "a video"),
    "AFNI": (b"\ntype  = string-attribute\nname  = HISTORY_NOTE\n", "an AFNI header"),
    "MATLAB 5": (b"MATLAB 5.0 MAT-file", "MATLAB file has no readable greyscale image"),
    "MATLAB 7.3": (b"MATLAB 7.3 MAT-file", "Save the image as PNG"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file"),
    "MINC": (b"CDF\x01" + bytes(40), "a MINC or netCDF volume"),
    "PAR": (b"# === DATA DESCRIPTION FILE ===", "a Philips PAR header"),
    "RAR": (b"Rar!\x1a\x07\x01\x00", "a RAR archive"),
    "7-Zip": (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    "tar": (bytes(257) + b"ustar\x0000", "a tar archive"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_too_large_or_of_another_kind_is_named(case):
    data, sentence = REFUSED[case]
    with pytest.raises(ScanError, match=sentence) as error:
        parse_scan(data, "upload.png")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["BMP", "GIF", "WEBP", "JPEG2000", "ICO"])
def test_damaged_images_are_read_or_refused(grey, kind):
    data = encoded(Image.fromarray(grey), kind)
    chance = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data[: chance.integers(1, len(data) + 1)])
        damaged[chance.integers(len(damaged))] = chance.integers(256)
        try:
            voxels = parse_scan(bytes(damaged), "a").voxels
        except ScanError:
            continue
        assert voxels.size <= MAX_VOXELS
