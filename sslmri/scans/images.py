"""PNG, JPEG and TIFF to grey values."""

import contextlib
import ctypes
import io
import logging
import re
import struct
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps, _imaging

from sslmri.errors import ScanError

MAX_PIXELS = 64_000_000  # all pages together; checked against the header before anything is decoded
MAX_PAGES = 1_000
_COLOURED, _MAX_COLOURED = 64, 0.1  # a pixel whose channels differ by more; share of such pixels that notes may take
MIN_SIDE = 8  # smaller pictures hold no anatomy
_WHITE_IS_ZERO = 0  # TIFF PhotometricInterpretation
_PHOTOMETRIC_TAG = 262
_MUTTERER = r"PIL\."
_FILTER = ("ignore", None, Warning, re.compile(_MUTTERER), 0)

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
    _hush()
    if source == "PNG":
        _check_png_chunks(data)
    with _refusing_bombs(), Image.open(io.BytesIO(data), formats=[source]) as image:
        n_pages = _count_pages(image) if source == "TIFF" else 1
        pages = []
        for page in range(n_pages):
            image.seek(page)
            _check_size(image.size, n_pages)
            pages.append(_to_grey(image))
    if len({page.shape for page in pages}) > 1:
        raise ScanError("Expected pages of one size, got a TIFF whose pages differ in size: export one series.")
    return np.stack(pages)


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
    """Returns one page as (H, W) float32."""
    inverted = _is_white_zero_16_bit(image)
    image.load()
    upright = ImageOps.exif_transpose(image) or image
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        values = np.asarray(upright).astype(np.float32)
        return values.max() - values if inverted else values
    if "A" in upright.getbands() or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        black = Image.new("RGBA", upright.size, (0, 0, 0, 255))
        upright = Image.alpha_composite(black, upright)
    if upright.mode not in ("1", "L"):
        _check_colours(np.asarray(upright.convert("RGB")))
    return np.asarray(upright.convert("L")).astype(np.float32)


def _check_colours(pixels: np.ndarray) -> None:
    """Checks that a picture (H, W, 3) is grey, but for coloured notes on it.

    Raises:
        ScanError: much of it is coloured: a photograph, or a map painted over a scan.
    """
    share = float((np.ptp(pixels, axis=2) > _COLOURED).mean())
    if share > _MAX_COLOURED:
        raise ScanError(
            f"Expected a grey picture, got one in colours ({share:.0%} of it): MRI is grey, export the scan."
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
    while position + 12 <= len(data):
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
    raise ScanError("Expected a complete PNG file, got one that breaks off: send it again.")
