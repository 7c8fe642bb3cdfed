"""What bytes are by their content, an extension never believed; and the order of names that hold numbers."""

import re

PICTURES = ("PNG", "JPEG", "TIFF")
SOURCES = (*PICTURES, "DICOM", "NIfTI", "zip")
TEXT = "a text file"

_KINDS = (
    (128, b"DICM", "DICOM"),  # first: what stands before it may be the start of anything
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"\x1f\x8b", "NIfTI"),
    (344, b"n+1\x00", "NIfTI"),
    (344, b"ni1\x00", "NIfTI"),
    (0, b"\x5c\x01\x00\x00", "NIfTI"),  # 348 or 540, the length of the header, in both byte orders
    (0, b"\x00\x00\x01\x5c", "NIfTI"),
    (0, b"\x1c\x02\x00\x00", "NIfTI"),
    (0, b"\x00\x00\x02\x1c", "NIfTI"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"%PDF", "a PDF file"),
    (0, b"BM", "a BMP picture"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"<", TEXT),
)
_TEXT_BYTES = 1024
_CONTROLS = set(range(32)) - {9, 10, 12, 13, 27}


def kind_of(data: bytes) -> str:
    """Returns what a file is by its first 1 KB or more: one of ``SOURCES``, or words such as ``"a PDF file"``."""
    if not data:
        return "an empty file"
    for at, magic, kind in _KINDS:
        if data[at : at + len(magic)] == magic:
            return kind
    return TEXT if _is_text(data[:_TEXT_BYTES]) else "a file of another kind"


def _is_text(start: bytes) -> bool:
    if _CONTROLS.intersection(start):
        return False
    try:
        start[: max(1, len(start) - 3)].decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def natural_order(name: str) -> list[tuple[int, str]]:
    """Returns a key that sorts "slice 9" before "slice 10"."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]{1,18})", name)]
