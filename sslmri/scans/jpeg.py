"""The size of a JPEG image by its markers."""

import re

_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")  # none of these pairs occurs within the coded pixels of a scan
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def coded_size(frame: bytes) -> tuple[int, int] | None:
    """Returns (rows, columns) of a JPEG or JPEG-LS frame of one component, or None where its header does not say."""
    at = 2
    while marker := _MARKER.search(frame, at):
        at = marker.end()
        if frame[at - 1] in _START_OF_FRAME:
            is_grey = frame[at + 7 : at + 8] == b"\1"
            return (_number(frame, at + 3), _number(frame, at + 5)) if is_grey else None
        at += _number(frame, at)
    return None


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
