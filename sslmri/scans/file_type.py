"""The type of a file by its content, never by its extension, and the order of names that hold numbers."""

import re

IMAGES = ("PNG", "JPEG", "TIFF")
SOURCES = (*IMAGES, "DICOM", "NIfTI", "zip")
TEXT = "a text file"

_MAGIC = (
    (128, b"DICM", "DICOM"),  # first: the 128 bytes before it may be anything
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"\x1f\x8b", "NIfTI"),
    (344, b"n+1\x00", "NIfTI"),
    (344, b"ni1\x00", "NIfTI"),
    (0, b"\x5c\x01\x00\x00", "NIfTI"),  # header length, 348 or 540, in both byte orders
    (0, b"\x00\x00\x01\x5c", "NIfTI"),
    (0, b"\x1c\x02\x00\x00", "NIfTI"),
    (0, b"\x00\x00\x02\x1c", "NIfTI"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"GIF8", "a GIF image"),
    (0, b"%PDF", "a PDF file"),
    (0, b"BM", "a BMP image"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"<", TEXT),
)
_TEXT_BYTES = 1024
_CONTROL_BYTES = set(range(32)) - {9, 10, 12, 13, 27}


def file_type(data: bytes) -> str:
    """Returns the type of a file by its first 1 KB or more: one of ``SOURCES``, or words such as ``"a PDF file"``."""
    if not data:
        return "an empty file"
    for offset, magic, name in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return name
    return TEXT if _is_text(data[:_TEXT_BYTES]) else "a file of unknown type"


def _is_text(start: bytes) -> bool:
    if _CONTROL_BYTES.intersection(start):
        return False
    try:
        start[: max(1, len(start) - 3)].decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def natural_order(name: str) -> list[tuple[int, str]]:
    """Returns a key that sorts "slice 9" before "slice 10"."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]{1,18})", name)]
