"""What a JPEG file would cost to decode, told by its marks: Pillow and its decoder look at nothing of the kind."""

import re

from sslmri.errors import ScanError

_MANY_SCANS, _MAX_SCANS = 24, 100  # a progressive picture has 6 when grey, 10 in colours, 18 in four inks
_MAX_WORK = 10**9  # pixels of all scans beyond the usual number: each scan costs a pass over the picture
_MAX_SEGMENTS, _MAX_FILL = 10_000, 1_000  # hundreds are usual, and no bytes between them
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")  # none of these two bytes stand within the packed pixels of a scan
_SCAN, _END = 0xDA, 0xD9


def check_segments(data: bytes) -> None:
    """Checks what stands before the first scan of a JPEG file, which Pillow reads piece by piece.

    Raises:
        ScanError: there are too many segments, or too much between them.
    """
    at = 2
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, at, at + _MAX_FILL)
        if not found:
            raise ScanError("Expected a complete JPEG file, got one without a picture: send it again.")
        if data[found.start() + 1] in (_SCAN, _END):
            return
        at = _behind(found)
    raise ScanError(f"Expected a JPEG of at most {_MAX_SEGMENTS:,} segments, got more: export it as PNG.")


def check_scans(data: bytes, n_pixels: int) -> None:
    """Checks the scans of a JPEG or JPEG-LS file of so many pixels; a tiny file may have thousands.

    Raises:
        ScanError: there are too many.
    """
    at, n_scans = 2, 0
    most = min(_MAX_SCANS, max(_MANY_SCANS, _MAX_WORK // n_pixels))
    while (found := _MARKER.search(data, at)) and data[found.start() + 1] != _END:
        n_scans += data[found.start() + 1] == _SCAN
        if n_scans > most:
            raise ScanError(f"Expected a JPEG of at most {most} scans, got more: export it as PNG.")
        at = _behind(found)


def _behind(found: re.Match[bytes]) -> int:
    """Returns where the segment of a marker ends."""
    return found.end() + int.from_bytes(found.string[found.end() : found.end() + 2], "big")
