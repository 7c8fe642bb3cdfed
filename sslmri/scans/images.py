"""PNG, JPEG and TIFF to greyscale intensities."""

import contextlib
import ctypes
import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageChops, PngImagePlugin, _imaging

from sslmri.errors import ScanError
from sslmri.scans.jpeg import check_scans, check_segments
from sslmri.scans.limits import MAX_SLICES, MAX_VOXELS, check_size
from sslmri.scans.suppress_warnings import suppress_warnings

_COLOUR_DIFFERENCE = 64  # by more the channels of a coloured pixel differ
_MAX_COLOURED = 0.1  # fraction of the pixels that coloured annotations may take
_WHITE_IS_ZERO = 0  # TIFF PhotometricInterpretation
_BAND_PIXELS = 2**20  # converted at once
_MAX_CHUNKS = 100_000  # of a PNG: 64 MB in pieces of 640 bytes, and usual are 8 KB
_ORIENTATION_TAG, _PHOTOMETRIC_TAG, _TILE_WIDTH_TAG, _TILE_LENGTH_TAG = 274, 262, 322, 323
_WIDTH_TAG, _LENGTH_TAG, _BITS_TAG, _STRIP_ROWS_TAG = 256, 257, 258, 278
_MAX_PIECE = 2 * MAX_VOXELS  # bytes: libtiff decompresses a strip or a tile whole, besides the page
_MAX_MARGIN = 2**20  # pixels by which a tile of a TIFF may be larger than its page
_UNUSUAL_TIFF = "The TIFF file has unusually large tiles or strips. Export the image as PNG."
_ROTATIONS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF 2.3, table 6: where row and column 0 belong
    2: lambda page: page[:, ::-1],
    3: lambda page: page[::-1, ::-1],
    4: lambda page: page[::-1],
    5: lambda page: page.T,
    6: lambda page: page.T[:, ::-1],
    7: lambda page: page.T[::-1, ::-1],
    8: lambda page: page.T[::-1],
}

PngImagePlugin.MAX_TEXT_MEMORY = 4 * 2**20  # bytes of all texts of a PNG, decompressed: they are not read here
with contextlib.suppress(AttributeError, OSError):  # a build of Pillow that does not expose its libtiff
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)  # libtiff prints errors that Pillow raises all the same


def read_image(data: bytes, source: str) -> np.ndarray:
    """Returns the pages of an image as greyscale intensities: (D, H, W) float32, upright by their EXIF orientation.

    Coloured annotations become luminance (ITU-R 601), transparent pixels black; 16-bit and float values keep their
    range.

    Args:
        data: the file's bytes.
        source: ``"PNG"``, ``"JPEG"`` or ``"TIFF"``; no other decoder of Pillow is tried.

    Raises:
        ScanError: the image is too large, too small, coloured, or its pages differ in size.
        Exception: whatever the decoder raises on damaged data.
    """
    with _opened(data, source) as image:
        pages = []
        for size in _seek_pages(image, source):
            if source == "JPEG":
                check_scans(data, math.prod(size))
            pages.append(_to_greyscale(image))
    del image  # with the decoded pixels of its last page
    if len({page.shape for page in pages}) > 1:
        raise ScanError("The pages of the TIFF file differ in size. Export one series.")
    if len(pages) == 1:
        return np.ascontiguousarray(pages[0][None], np.float32)
    stacked = np.empty((len(pages), *pages[0].shape), np.float32)
    for number in reversed(range(len(pages))):
        stacked[number] = pages.pop()
    return stacked


def declared_size(data: bytes, source: str) -> tuple[int, int]:
    """Returns how many pages and pixels an image has by its headers; nothing is decoded.

    Raises:
        ScanError: a page alone is too large or too small, or they are too many.
        Exception: whatever the decoder raises on damaged data.
    """
    with _opened(data, source) as image:
        sizes = list(_seek_pages(image, source))
    return len(sizes), sum(map(math.prod, sizes))


@contextlib.contextmanager
def _opened(data: bytes, source: str) -> Iterator[Image.Image]:
    """Opens an image once what its decoder would read before it knows the size was checked."""
    suppress_warnings()
    if source == "PNG":
        _check_png_chunks(data)
    if source == "JPEG":
        check_segments(data)
    try:
        with Image.open(io.BytesIO(data), formats=[source]) as image:
            yield image
    except Image.DecompressionBombError as error:  # Pillow's own check of images far too large
        raise ScanError(f"The image is too large: over {MAX_VOXELS // 1_000_000} million pixels.") from error


def _seek_pages(image: Image.Image, source: str) -> Iterator[tuple[int, int]]:
    """Yields the (width, height) of each page once the image is at it.

    Raises:
        ScanError: a page is too large or too small, or all together are.
    """
    n_pages = _count_pages(image) if source == "TIFF" else 1
    for page in range(n_pages):
        image.seek(page)
        check_size((n_pages, image.height, image.width))
        yield image.size


def _count_pages(image: Image.Image) -> int:
    """Returns the number of pages, following no more than the limit."""
    check_size((1, image.height, image.width))
    for page in range(MAX_SLICES):
        try:
            image.seek(page + 1)
        except EOFError:
            return page + 1
    raise ScanError(f"The TIFF file has over {MAX_SLICES:,} pages. Export fewer.")


def _to_greyscale(image: Image.Image) -> np.ndarray:
    """Returns one page, upright, as (H, W) in uint8 or in the type of its 16-bit or float values.

    Raises:
        ScanError: much of it is coloured: a photograph, or a map painted over a scan.
    """
    is_inverted = _is_white_zero_16_bit(image)
    _check_largest_piece(image)
    image.load()
    dtype = np.asarray(image.crop((0, 0, 1, 1))).dtype if _is_deep(image) else np.uint8
    grey, n_coloured = np.empty(image.size[::-1], dtype), 0
    for rows in _bands(image.size):  # as each step copies what it is given
        grey[rows], n_coloured_here = _band_to_greyscale(image.crop((0, rows.start, image.width, rows.stop)))
        n_coloured += n_coloured_here
    if n_coloured > _MAX_COLOURED * grey.size:
        raise ScanError("This is a colour image. Export the MRI in greyscale.")
    rotate = _ROTATIONS.get(image.getexif().get(_ORIENTATION_TAG, 1))
    upright = rotate(grey) if rotate else grey
    return upright.max() - upright if is_inverted else upright


def _is_deep(image: Image.Image) -> bool:
    """Returns whether an image has intensities of over 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _bands(size: tuple[int, int]) -> Iterator[slice]:
    width, height = size
    step = max(1, _BAND_PIXELS // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _band_to_greyscale(band: Image.Image) -> tuple[np.ndarray, int]:
    """Returns some rows of an image as intensities, (h, W), and how many of their pixels are coloured."""
    if _is_deep(band):
        return np.asarray(band), 0
    if "A" in band.getbands() or "transparency" in band.info:
        band = band.convert("RGBA")
        band = Image.alpha_composite(Image.new("RGBA", band.size, (0, 0, 0, 255)), band)
    n_coloured = 0 if band.mode in ("1", "L") else _count_coloured(band.convert("RGB"))
    return np.asarray(band.convert("L")), n_coloured


def _count_coloured(image: Image.Image) -> int:
    """Returns how many pixels of an RGB image are not grey."""
    red, green, blue = image.split()
    highest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    lowest = ImageChops.darker(ImageChops.darker(red, green), blue)
    return sum(ImageChops.subtract(highest, lowest).histogram()[_COLOUR_DIFFERENCE + 1 :])


def _check_largest_piece(image: Image.Image) -> None:
    """Checks what of a TIFF is decompressed at once: a tile far larger than its page, or a strip of very many bytes."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return
    tile = int(tags.get(_TILE_WIDTH_TAG, 0)) * int(tags.get(_TILE_LENGTH_TAG, 0))
    width, height = int(tags[_WIDTH_TAG]), int(tags[_LENGTH_TAG])  # as stored: Pillow's size is rotated already
    strip = width * min(height, int(tags.get(_STRIP_ROWS_TAG, height)))
    n_bytes = (tile or strip) * sum(map(int, tags.get(_BITS_TAG, (1,)))) // 8
    if tile > math.prod(image.size) + _MAX_MARGIN or n_bytes > _MAX_PIECE:
        raise ScanError(_UNUSUAL_TIFF)


def _is_white_zero_16_bit(image: Image.Image) -> bool:
    """Returns whether high values are dark: Pillow inverts 8-bit white-is-zero TIFF pages, but not those of 16 bits."""
    tags = getattr(image, "tag_v2", None)
    return tags is not None and image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO


def _check_png_chunks(data: bytes) -> None:
    """Checks the CRC of every chunk up to IEND: Pillow's decoder stops once its rows are full and never sees some.

    Raises:
        ScanError: a chunk is incomplete or its checksum differs.
    """
    position = 8
    for _ in range(_MAX_CHUNKS):
        if position + 12 > len(data):
            break
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 8 + length
        kind = data[position + 4 : position + 8]
        if end + 4 > len(data):
            break
        if zlib.crc32(memoryview(data)[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise ScanError("The PNG file is damaged. Upload it again.")
        if kind == b"IEND":
            return
        position = end + 4
    else:
        raise ScanError(f"The PNG file has over {_MAX_CHUNKS:,} chunks. Save it again.")
    raise ScanError("The PNG file is incomplete. Upload it again.")
