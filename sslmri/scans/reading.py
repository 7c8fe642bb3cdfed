"""The door: bytes of unknown content in, a Scan or one plain sentence out. The content decides, never the extension."""

import hashlib
from collections.abc import Callable
from pathlib import PurePosixPath

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.images import read_image
from sslmri.scans.scan import Scan

MAX_BYTES = 64 * 2**20  # the upload limit of the dashboard
READS = "PNG, JPEG or TIFF picture"

_Reader = Callable[[bytes], np.ndarray]
_READERS: tuple[tuple[bytes, str, _Reader], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG", lambda data: read_image(data, "PNG")),
    (b"\xff\xd8\xff", "JPEG", lambda data: read_image(data, "JPEG")),
    (b"II*\x00", "TIFF", lambda data: read_image(data, "TIFF")),
    (b"MM\x00*", "TIFF", lambda data: read_image(data, "TIFF")),
)
# DICOM, NIfTI and zip readers take their place in the table above; until then they are refused by their own name.
_KNOWN_BUT_UNREAD = (
    (128, b"DICM", "a DICOM file"),
    (344, b"n+1\x00", "a NIfTI file"),
    (344, b"ni1\x00", "a NIfTI header"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"PK\x03\x04", "a zip file"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"%PDF", "a PDF file"),
    (0, b"BM", "a BMP picture"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"<", "a text file"),
)


def read_scan(data: bytes, name: str) -> Scan:
    """Returns the scan that a file holds.

    Args:
        data: the whole content of the file.
        name: the file's name; its folders are dropped, its extension is not believed.

    Raises:
        ScanError: one sentence naming the file, what was expected and what was found.
    """
    name = PurePosixPath(name.replace("\\", "/")).name or "unnamed file"
    source, reader = _reader_of(data, name)
    try:
        voxels = reader(data)
    except ScanError as error:
        raise ScanError(f"{name}: {error}") from error
    except Exception as error:  # decoders of untrusted bytes raise any class; the user gets one sentence for all
        raise ScanError(f"{name}: Expected a complete {source} file, got one that breaks off or is damaged.") from error
    return Scan(
        voxels=_finite(voxels, name),
        spacing_mm=None,
        orientation=None,
        modality=None,
        source=source,
        name=name,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _reader_of(data: bytes, name: str) -> tuple[str, _Reader]:
    if len(data) > MAX_BYTES:
        raise ScanError(
            f"{name}: Expected at most {MAX_BYTES >> 20} MB, got {len(data) >> 20} MB: send a smaller file."
        )
    for magic, source, reader in _READERS:
        if data.startswith(magic):
            return source, reader
    found = "an empty file" if not data else "a file of another kind"
    found = next((kind for at, magic, kind in _KNOWN_BUT_UNREAD if data[at : at + len(magic)] == magic), found)
    raise ScanError(f"{name}: Expected a {READS}, got {found}: export the slice as PNG.")


def _finite(voxels: np.ndarray, name: str) -> np.ndarray:
    """Returns voxels (D, H, W) as float32; values that are no numbers become the lowest number of the scan."""
    voxels = voxels.astype(np.float32, copy=False)
    finite = np.isfinite(voxels)
    if finite.all():
        return voxels
    if not finite.any():
        raise ScanError(f"{name}: Expected grey values, got a picture without a single number: export it again.")
    return np.where(finite, voxels, voxels[finite].min())
