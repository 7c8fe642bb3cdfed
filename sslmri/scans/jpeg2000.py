"""The size of a JPEG 2000 frame and what it would cost to decode: decoders set up all its parts before reading one."""

from sslmri.errors import ScanError
from sslmri.scans.limits import MAX_VOXELS

_UNUSUAL = "The JPEG 2000 coding of this file is unusual and not supported. Export the scan uncompressed."
_CODESTREAM = b"\xff\x4f\xff\x51"
_CODING, _COMPONENT_CODING, _TILE_PART, _TILE_DATA = 0xFF52, 0xFF53, 0xFF90, 0xFF93
_MAX_SEGMENTS = 100_000
_MAX_TILES, _FREE_TILES, _TILE_PIXELS = 4096, 16, 1024  # at most; allowed in any frame; pixels of each otherwise
_MAX_PARTS = 65_536  # code blocks or precincts, 400 bytes each; 64 million pixels usually have 16,000


def coded_size(frame: bytes) -> tuple[int, int] | None:
    """Returns (rows, columns) of a frame of one component, or None where its header does not say.

    Raises:
        ScanError: it is divided into too many parts.
    """
    at = frame.find(_CODESTREAM, 0, 1024) + 2
    if at < 2 or len(frame) < at + 40 or _number(frame, at + 38, 2) != 1:
        return None
    return _checked_size(frame, at)


def check_picture(data: bytes) -> None:
    """Checks a file of one or several components.

    Raises:
        ScanError: it is incomplete, too large, divided into too many parts, or has colours of over 8 bits.
    """
    at = data.find(_CODESTREAM) + 2
    if at < 2 or len(data) < at + 41:
        raise ScanError("The JPEG 2000 file is incomplete. Upload it again.")
    rows, columns = _checked_size(data, at)
    n_components = _number(data, at + 38, 2)
    if n_components * rows * columns > MAX_VOXELS:
        raise ScanError(f"The image is too large: over {MAX_VOXELS // 1_000_000} million pixels.")
    if n_components > 1 and data[at + 40] & 127 > 7:  # Pillow would keep the upper 8 bits
        raise ScanError("This is a JPEG 2000 file with colours of over 8 bits. Export the image in greyscale.")


def _checked_size(frame: bytes, at: int) -> tuple[int, int]:
    """Returns (rows, columns) by the header at this position."""
    columns, rows, left, top, *tile = (_number(frame, at + offset, 4) for offset in range(6, 38, 4))
    size = rows - top, columns - left
    n_tiles = _count(rows - tile[3], tile[1]) * _count(columns - tile[2], tile[0])
    _check(n_tiles, min(_MAX_TILES, max(_FREE_TILES, size[0] * size[1] // _TILE_PIXELS)))
    _check_codings(frame, at, size)
    return size


def _check_codings(frame: bytes, at: int, size: tuple[int, int]) -> None:
    """Checks the coding styles in the main header and in those of all tile parts."""
    end = len(frame)
    for _ in range(_MAX_SEGMENTS):
        kind, length = _number(frame, at, 2), _number(frame, at + 2, 2)
        if kind == _TILE_PART:
            end = at + (_number(frame, at + 6, 4) or len(frame))
        if kind == _CODING:
            _check_coding(frame[at : at + 2 + length], size)
        if kind == _COMPONENT_CODING:
            raise ScanError(_UNUSUAL)
        at = max(end, at + 2) if kind == _TILE_DATA else at + 2 + length
        if at + 4 > len(frame):
            return
    raise ScanError(_UNUSUAL)


def _check_coding(segment: bytes, size: tuple[int, int]) -> None:
    n_levels, block = segment[9], (segment[10] & 15) + (segment[11] & 15) + 4
    _check(size[0] * size[1] >> block, _MAX_PARTS)
    if segment[4] & 1:  # sizes of precincts, of the lowest resolution first
        parts = [
            _count(size[0], 1 << (exponents >> 4) + n_levels - level)
            * _count(size[1], 1 << (exponents & 15) + n_levels - level)
            for level, exponents in enumerate(segment[14:])
        ]
        _check(sum(parts), _MAX_PARTS)


def _check(count: int, most: int) -> None:
    if count > most:
        raise ScanError(_UNUSUAL)


def _count(length: int, part: int) -> int:
    return -(-length // part)


def _number(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "big")
