"""The type of a file by its content, never by its extension, and the order of names that hold numbers."""

import re

IMAGES = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WebP", "JPEG 2000", "ICO")
SOURCES = (*IMAGES, "DICOM", "NIfTI", "MGH", "NRRD", "MetaImage", "MATLAB", "zip")
FORMATS = "DICOM, NIfTI, Analyze, MGH (.mgz), NRRD, MetaImage, an image or a zip file"
TEXT = "a text file"

_MAGIC = (
    (128, b"DICM", "DICOM"),  # first: the 128 bytes before it may be anything
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"II+\x00", "TIFF"),  # BigTIFF
    (0, b"MM\x00+", "TIFF"),
    (0, b"BM", "BMP"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBPVP8", "WebP"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\x00\x00\x01\x00", "ICO"),
    (0, b"\x1f\x8b", "NIfTI"),
    (344, b"n+1\x00", "NIfTI"),
    (344, b"ni1\x00", "NIfTI"),
    (0, b"\x5c\x01\x00\x00", "NIfTI"),  # header length, 348 or 540, in both byte orders
    (0, b"\x00\x00\x01\x5c", "NIfTI"),
    (0, b"\x1c\x02\x00\x00", "NIfTI"),
    (0, b"\x00\x00\x02\x1c", "NIfTI"),
    (0, b"\x00\x00\x00\x01\x00\x00", "MGH"),  # version 1 in big-endian order, then a size below 65,536
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"%PDF", "a PDF file"),
    (0, b"8BPS", "a Photoshop file"),
    (4, b"ftypavi", "an AVIF image"),
    (4, b"ftyphei", "a HEIC image"),
    (4, b"ftyphev", "a HEIC image"),
    (4, b"ftypmif1", "a HEIC image"),
    (4, b"ftypmsf1", "a HEIC image"),
    (4, b"ftyp", "a video"),
    (8, b"AVI ", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"P5\n", "a PGM image"),
    (0, b"P6\n", "a PPM image"),
    (0, b"\ntype", "an AFNI header"),
    (0, b"NRRD000", "NRRD"),
    (0, b"ObjectType", "MetaImage"),
    (0, b"NDims", "MetaImage"),
    (0, b"CDF", "a MINC or netCDF volume"),
    (0, b"MATLAB", "MATLAB"),
    (0, b"\x89HDF\r\n", "an HDF5 file (MINC 2 and others)"),
    (0, b"# === DATA DESCRIPTION FILE", "a Philips PAR header"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"BZh", "a bzip2 file"),
    (0, b"\xfd7zXZ", "an xz file"),
    (257, b"ustar", "a tar archive"),
    (0, b"<", TEXT),
)
_BARE_DICOM = re.compile(rb"(?s)[\x02\x08]\x00.\x00([A-Z]{2}|.[\x00-\x03]\x00\x00)|\x00[\x02\x08]\x00.[A-Z]{2}")
_TEXT_BYTES = 1024
_CONTROL_BYTES = set(range(32)) - {9, 10, 12, 13, 27}


def file_type(data: bytes) -> str:
    """Returns the type of a file by its first 1 KB or more: one of ``SOURCES``, or words such as ``"a PDF file"``."""
    if not data:
        return "an empty file"
    for offset, magic, name in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return name
    if _BARE_DICOM.match(data):  # without preamble: the first tag is of group 2 or 8
        return "DICOM"
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
