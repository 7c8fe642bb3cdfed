"""The size and the depth of a JPEG 2000 image by its header."""

from sslmri.errors import ScanError

_CODESTREAM = b"\xff\x4f\xff\x51"


def coded_size(frame: bytes) -> tuple[int, int] | None:
    """Returns (rows, columns) of a frame of one component, or None where its header does not say."""
    at = frame.find(_CODESTREAM, 0, 1024) + 2
    if at < 2 or len(frame) < at + 40 or _number(frame, at + 38, 2) != 1:
        return None
    columns, rows, left, top = (_number(frame, at + offset, 4) for offset in range(6, 22, 4))
    return rows - top, columns - left


def check_depth(data: bytes) -> None:
    """Checks that a file has no colours of over 8 bits, of which Pillow would keep the upper 8.

    Raises:
        ScanError: it has, or it is incomplete.
    """
    at = data.find(_CODESTREAM) + 2
    if at < 2 or len(data) < at + 41:
        raise ScanError("The JPEG 2000 file is incomplete. Upload it again.")
    if _number(data, at + 38, 2) > 1 and data[at + 40] & 127 > 7:
        raise ScanError("This is a JPEG 2000 file with colours of over 8 bits. Export the image in greyscale.")


def _number(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "big")
