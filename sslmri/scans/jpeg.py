"""What a JPEG file would cost to decode, by its markers: decoders themselves set no limit."""

import re

from sslmri.errors import ScanError

_USUAL_SCANS, _MAX_SCANS = 24, 100  # a progressive image has 6 in greyscale, 10 in colour, 18 in CMYK
_MAX_WORK = 10**9  # pixels times scans beyond the usual number: each scan costs a pass over the image
_MAX_SEGMENTS, _MAX_FILL = 10_000, 1_000  # hundreds are usual, without bytes between them
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")  # none of these pairs occurs within the coded pixels of a scan
_SCAN, _END = 0xDA, 0xD9


def check_segments(data: bytes) -> None:
    """Checks what precedes the first scan of a JPEG file, which Pillow reads piece by piece.

    Raises:
        ScanError: there are too many segments, or too much between them.
    """
    position = 2
    for _ in range(_MAX_SEGMENTS):
        marker = _MARKER.search(data, position, position + _MAX_FILL)
        if not marker:
            raise ScanError("The JPEG file is incomplete. Upload it again.")
        if data[marker.start() + 1] in (_SCAN, _END):
            return
        position = _segment_end(marker)
    raise ScanError(f"The JPEG file has over {_MAX_SEGMENTS:,} segments. Export the image as PNG.")


def check_scans(data: bytes, n_pixels: int) -> None:
    """Checks the number of scans of a JPEG or JPEG-LS file of so many pixels; a tiny file may have thousands.

    Raises:
        ScanError: there are too many.
    """
    position, n_scans = 2, 0
    most = min(_MAX_SCANS, max(_USUAL_SCANS, _MAX_WORK // n_pixels))
    while (marker := _MARKER.search(data, position)) and data[marker.start() + 1] != _END:
        n_scans += data[marker.start() + 1] == _SCAN
        if n_scans > most:
            raise ScanError(f"The JPEG image is coded in over {most} scans. Export it as PNG.")
        position = _segment_end(marker)


def _segment_end(marker: re.Match[bytes]) -> int:
    return marker.end() + int.from_bytes(marker.string[marker.end() : marker.end() + 2], "big")
