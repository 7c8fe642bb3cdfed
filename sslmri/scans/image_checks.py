"""What is checked of an image file before Pillow opens or decodes it."""

import math
import struct
import zlib

from PIL import Image

from sslmri.errors import ScanError
from sslmri.scans.file_type import file_type
from sslmri.scans.jpeg import check_segments
from sslmri.scans.jpeg2000 import check_picture
from sslmri.scans.limits import MAX_VOXELS, check_size

_MAX_CHUNKS = 100_000  # of a PNG: 136 MB in pieces of 1,400 bytes, and usual are 8 KB
_TILE_WIDTH_TAG, _TILE_LENGTH_TAG = 322, 323
_WIDTH_TAG, _LENGTH_TAG, _BITS_TAG, _STRIP_ROWS_TAG = 256, 257, 258, 278
_MAX_PIECE = 2 * MAX_VOXELS  # bytes: libtiff decompresses a strip or a tile whole, besides the page
_MAX_MARGIN = 2**20  # pixels by which a tile of a TIFF may be larger than its page
_UNUSUAL_TIFF = "The TIFF file has unusually large tiles or strips. Export the image as PNG."
_MAX_WEBP_PIXELS = MAX_VOXELS // 2  # the decoder holds two copies of four bytes a pixel, and so does Pillow
_MAX_ICONS = 64  # images of an ICO file that are looked at


def check_file(data: bytes, source: str) -> None:
    """Checks what the decoder of this type would read before it knows the size.

    Raises:
        ScanError: the file is damaged, or would cost too much.
    """
    if source == "PNG":
        _check_png_chunks(data)
    elif source == "JPEG":
        check_segments(data)
    elif source == "JPEG 2000":
        check_picture(data)
    elif source == "WebP":
        width, height = _webp_size(data)
        if width * height > _MAX_WEBP_PIXELS:
            raise ScanError(f"The WebP image is too large: over {_MAX_WEBP_PIXELS // 1_000_000} million pixels.")


def without_icon(data: bytes, source: str) -> tuple[bytes, str]:
    """Returns the largest image of an ICO file where it is a PNG, as that; any other file as it is.

    Raises:
        ScanError: the largest image is too large.
    """
    if source != "ICO":
        return data, source
    count = min(_MAX_ICONS, int.from_bytes(data[4:6], "little"))
    entries = [data[start : start + 16] for start in range(6, 6 + 16 * count, 16)]
    entry = max(entries, key=lambda entry: (entry[0] or 256) * (entry[1] or 256))
    size, offset = struct.unpack_from("<II", entry, 8)
    image = data[offset : offset + size]
    if file_type(image) == "PNG":
        return image, "PNG"
    _, width, height = struct.unpack_from("<Iii", image)
    check_size((1, abs(height) // 2, abs(width)))  # the height counts the mask, too
    return data, source


def _webp_size(data: bytes) -> tuple[int, int]:
    """Returns (width, height) of the canvas."""
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def check_largest_piece(image: Image.Image) -> None:
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
