"""What a JPEG file says by its markers: its size, and what it would cost to decode, for which decoders set no limit."""

import re
from collections.abc import Iterator

from sslmri.errors import ScanError

_USUAL_SCANS, _MAX_SCANS = 24, 100  # a progressive image has 6 in greyscale, 10 in colour, 18 in CMYK
_MAX_WORK = 10**9  # pixels times scans beyond the usual number: each scan costs a pass over the image
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")  # none of these pairs occurs within the coded pixels of a scan
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_SCAN, _END = 0xDA, 0xD9


def check_scans(data: bytes, n_pixels: int) -> None:
    """Checks the number of scans of a JPEG or JPEG-LS file of so many pixels; a tiny file may have thousands.

    Raises:
        ScanError: there are too many.
    """
    n_scans, most = 0, min(_MAX_SCANS, max(_USUAL_SCANS, _MAX_WORK // n_pixels))
    for marker, _ in _segments(data):
        n_scans += marker == _SCAN
        if n_scans > most:
            raise ScanError(f"The JPEG image is coded in over {most} scans. Export it as PNG.")


def coded_size(frame: bytes) -> tuple[int, int] | None:
    """Returns (rows, columns) of a JPEG or JPEG-LS frame of one component, or None where its header does not say."""
    for marker, at in _segments(frame):
        if marker in _START_OF_FRAME:
            is_grey = frame[at + 7 : at + 8] == b"\1"
            return (_number(frame, at + 3), _number(frame, at + 5)) if is_grey else None
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields the code of each marker behind the first, up to the end, and where its segment begins."""
    at = 2
    while (marker := _MARKER.search(data, at)) and data[marker.start() + 1] != _END:
        at = marker.end()
        yield data[at - 1], at
        at += _number(data, at)


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
