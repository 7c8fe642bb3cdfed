"""PNG, JPEG and TIFF to grey values."""

import contextlib
import ctypes
import io
import logging
import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageChops, PngImagePlugin, _imaging

from sslmri.errors import ScanError
from sslmri.scans.jpeg import check_scans, check_segments

MAX_PIXELS = 64_000_000  # all pages together; checked against the header before anything is decoded
MAX_PAGES = 1_000
_COLOURED, _MAX_COLOURED = 64, 0.1  # a pixel whose channels differ by more; share of such pixels that notes may take
MIN_SIDE = 8  # smaller pictures hold no anatomy
_WHITE_IS_ZERO = 0  # TIFF PhotometricInterpretation
_BAND_PIXELS = 2**20  # converted at once
_MAX_CHUNKS = 100_000  # of a PNG: 64 MB in pieces of 640 bytes, and usual are 8 KB
_ORIENTATION_TAG, _PHOTOMETRIC_TAG, _TILE_WIDTH_TAG, _TILE_LENGTH_TAG = 274, 262, 322, 323
_WIDTH_TAG, _LENGTH_TAG, _BITS_TAG, _STRIP_ROWS_TAG = 256, 257, 258, 278
_MAX_PIECE = 2 * MAX_PIXELS  # bytes: libtiff unpacks a strip or a tile whole, beside the page
_MAX_MARGIN = 2**20  # pixels by which a tile of a TIFF may be larger than its page
_Turn = Callable[[np.ndarray], np.ndarray]
_TURNS: dict[int, _Turn] = {  # EXIF 2.3, table 6: by where the first row and column of a page belong
    2: lambda page: page[:, ::-1],
    3: lambda page: page[::-1, ::-1],
    4: lambda page: page[::-1],
    5: lambda page: page.T,
    6: lambda page: page.T[:, ::-1],
    7: lambda page: page.T[::-1, ::-1],
    8: lambda page: page.T[::-1],
}
_MUTTERER = r"PIL\."
_FILTER = ("ignore", None, Warning, re.compile(_MUTTERER), 0)

PngImagePlugin.MAX_TEXT_MEMORY = 4 * 2**20  # bytes of all texts of a PNG, unpacked: nobody reads them here
logging.getLogger("PIL").addHandler(logging.NullHandler())  # nobody asked for its log: it must not reach the terminal
with contextlib.suppress(AttributeError, OSError):  # a build of Pillow that does not show its libtiff
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)  # libtiff itself prints; Pillow raises all the same


def read_image(data: bytes, source: str) -> np.ndarray:
    """Returns the pages of a picture as grey values: (D, H, W) float32, upright by its EXIF orientation.

    Coloured notes become luminance (ITU-R 601), transparent pixels black; 16-bit and float values keep their range.

    Args:
        data: the file's bytes.
        source: ``"PNG"``, ``"JPEG"`` or ``"TIFF"``; no other decoder of Pillow is tried.

    Raises:
        ScanError: the picture is too large, too small, coloured, or its pages differ in size.
        Exception: whatever the decoder raises on damaged data.
    """
    _check_parts(data, source)
    pages = _pages(data, source)
    if len({page.shape for page in pages}) > 1:
        raise ScanError("Expected pages of one size, got a TIFF whose pages differ in size: export one series.")
    if len(pages) == 1:
        return np.ascontiguousarray(pages[0][None], np.float32)
    stacked = np.empty((len(pages), *pages[0].shape), np.float32)
    for number in reversed(range(len(pages))):
        stacked[number] = pages.pop()
    return stacked


def _pages(data: bytes, source: str) -> list[np.ndarray]:
    """Returns the pages as grey values, each (H, W) of the narrowest type; what they were decoded from is freed."""
    with _refusing_bombs(), Image.open(io.BytesIO(data), formats=[source]) as image:
        n_pages = _count_pages(image) if source == "TIFF" else 1
        pages = []
        for page in range(n_pages):
            image.seek(page)
            _check_size(image.size, n_pages)
            if source == "JPEG":
                check_scans(data, math.prod(image.size))
            pages.append(_to_grey(image))
    return pages


def declared_size(data: bytes, source: str) -> tuple[int, int]:
    """Returns how many pages and pixels a picture has by its headers; nothing is decoded.

    Raises:
        ScanError: a page alone is too large or too small, or they are too many.
        Exception: whatever the decoder raises on damaged data.
    """
    _check_parts(data, source)
    with _refusing_bombs(), Image.open(io.BytesIO(data), formats=[source]) as image:
        n_pages, n_pixels = _count_pages(image) if source == "TIFF" else 1, 0
        for page in range(n_pages):
            image.seek(page)
            n_pixels += math.prod(image.size)
    return n_pages, n_pixels


def _check_parts(data: bytes, source: str) -> None:
    """Checks what a decoder would stumble over before it knows the size of the picture."""
    _hush()
    if source == "PNG":
        _check_png_chunks(data)
    if source == "JPEG":
        check_segments(data)


def _hush() -> None:
    """Keeps Pillow's warnings about damaged tags off the terminal: they are no message to a user.

    Set at every reading and not once: whatever catches warnings elsewhere drops a filter set meanwhile when it ends.
    """
    if _FILTER not in warnings.filters:
        warnings.filterwarnings("ignore", module=_MUTTERER)


@contextlib.contextmanager
def _refusing_bombs() -> Iterator[None]:
    """Says in our words what Pillow, which looks at the size first, says of pictures far too large."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise _too_large("more") from error


def _too_large(found: str) -> ScanError:
    return ScanError(
        f"Expected at most {MAX_PIXELS // 1_000_000} million pixels, got {found}: export it at its own resolution."
    )


def _check_size(size: tuple[int, int], n_pages: int) -> None:
    width, height = size
    if width * height * n_pages > MAX_PIXELS:
        raise _too_large(f"{width} x {height} x {n_pages}")
    if min(width, height) < MIN_SIDE:
        raise ScanError(f"Expected at least {MIN_SIDE} x {MIN_SIDE} pixels, got {width} x {height}.")


def _count_pages(image: Image.Image) -> int:
    """Returns the number of pages, following no more than the limit."""
    _check_size(image.size, 1)
    for page in range(MAX_PAGES):
        try:
            image.seek(page + 1)
        except EOFError:
            return page + 1
    raise ScanError(f"Expected at most {MAX_PAGES} pages, got more.")


def _to_grey(image: Image.Image) -> np.ndarray:
    """Returns one page, upright, as (H, W) in uint8 or in the type of its 16-bit or float values.

    Raises:
        ScanError: much of it is coloured: a photograph, or a map painted over a scan.
    """
    inverted = _is_white_zero_16_bit(image)
    _check_unpacked_at_once(image)
    image.load()
    one_pixel = image.crop((0, 0, 1, 1))
    grey, n_coloured = np.empty(image.size[::-1], np.asarray(one_pixel).dtype if _is_wide(image) else np.uint8), 0
    for rows in _bands(image.size):  # as each step makes a copy of what it is given
        grey[rows], coloured = _band_to_grey(image.crop((0, rows.start, image.width, rows.stop)))
        n_coloured += coloured
    share = n_coloured / grey.size
    if share > _MAX_COLOURED:
        raise ScanError(
            f"Expected a grey picture, got one in colours ({share:.0%} of it): MRI is grey, export the scan."
        )
    turn = _TURNS.get(image.getexif().get(_ORIENTATION_TAG, 1))
    upright = turn(grey) if turn else grey
    return upright.max() - upright if inverted else upright


def _is_wide(image: Image.Image) -> bool:
    """Returns whether a picture has grey values of over 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _bands(size: tuple[int, int]) -> Iterator[slice]:
    width, height = size
    step = max(1, _BAND_PIXELS // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _band_to_grey(band: Image.Image) -> tuple[np.ndarray, int]:
    """Returns some rows of a picture as grey values, (h, W), and how many of their pixels are coloured."""
    if _is_wide(band):
        return np.asarray(band), 0
    if "A" in band.getbands() or "transparency" in band.info:
        band = band.convert("RGBA")
        band = Image.alpha_composite(Image.new("RGBA", band.size, (0, 0, 0, 255)), band)
    n_coloured = 0 if band.mode in ("1", "L") else _count_coloured(band.convert("RGB"))
    return np.asarray(band.convert("L")), n_coloured


def _count_coloured(picture: Image.Image) -> int:
    """Returns how many pixels of an RGB picture are not grey."""
    red, green, blue = picture.split()
    highest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    lowest = ImageChops.darker(ImageChops.darker(red, green), blue)
    return sum(ImageChops.subtract(highest, lowest).histogram()[_COLOURED + 1 :])


def _check_unpacked_at_once(image: Image.Image) -> None:
    """Checks what a TIFF has unpacked in one piece: a tile far larger than its page, or a strip of very many bytes."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return
    tile = int(tags.get(_TILE_WIDTH_TAG, 0)) * int(tags.get(_TILE_LENGTH_TAG, 0))
    if tile > math.prod(image.size) + _MAX_MARGIN:
        raise ScanError(f"Expected tiles as large as their page, got {tile:,} pixels: export it as PNG.")
    width, height = int(tags[_WIDTH_TAG]), int(tags[_LENGTH_TAG])  # as stored: Pillow's size is turned already
    strip = width * min(height, int(tags.get(_STRIP_ROWS_TAG, height)))
    n_bytes = (tile or strip) * sum(map(int, tags.get(_BITS_TAG, (1,)))) // 8
    if n_bytes > _MAX_PIECE:
        raise ScanError(
            f"Expected a TIFF in pieces of at most {_MAX_PIECE // 1_000_000} MB, got one of {n_bytes // 1_000_000} MB: "
            "export it as PNG."
        )


def _is_white_zero_16_bit(image: Image.Image) -> bool:
    """Pillow turns 8-bit white-is-zero TIFF pages over by itself, but not those of 16 bits."""
    tags = getattr(image, "tag_v2", None)
    return tags is not None and image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO


def _check_png_chunks(data: bytes) -> None:
    """Checks the CRC of every chunk up to IEND: Pillow's decoder stops once its rows are full and never sees some.

    Raises:
        ScanError: a chunk breaks off or its checksum differs.
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
            raise ScanError("Expected intact PNG data, got a wrong checksum: the file is damaged, send it again.")
        if kind == b"IEND":
            return
        position = end + 4
    else:
        raise ScanError(f"Expected a PNG of at most {_MAX_CHUNKS:,} chunks, got more: save it again.")
    raise ScanError("Expected a complete PNG file, got one that breaks off: send it again.")
