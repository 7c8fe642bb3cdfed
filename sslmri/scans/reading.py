"""The door: bytes of unknown content in, a Scan or one plain sentence out. The content decides, never the extension."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.file_type import PICTURES, SOURCES, kind_of, natural_order
from sslmri.scans.images import read_image
from sslmri.scans.scan import Scan
from sslmri.scans.volume import Volume

MAX_BYTES = 64 * 2**20  # the upload limit of the dashboard, for one file
MAX_SERIES_BYTES = 512 * 2**20  # for the files of one series together
READS = "PNG, JPEG, TIFF, DICOM or NIfTI file, or a zip file of one series"


@dataclass(frozen=True)
class Origin:
    """What is known of an upload before anything in it is decoded: its name, its kind and the hash of its bytes."""

    name: str
    source: str
    sha256: str


def read_scan(data: bytes, name: str) -> Scan:
    """Returns the scan that a file holds.

    Args:
        data: the whole content of the file.
        name: the file's name; its folders are dropped, its extension is not believed.

    Raises:
        ScanError: one sentence naming the file, what was expected and what was found.
        MemoryError: there is too little memory to read it.
    """
    origin = origin_of_file(data, name)
    return scan_of(read_file(data, name), origin)


def read_series(files: Sequence[tuple[str, bytes]]) -> Scan:
    """Returns the scan that several DICOM files hold together, whatever their order.

    Args:
        files: name and whole content of one or more; the scan's name is that of the first, and how many more.

    Raises:
        ScanError: one sentence naming the files by the first of them, what was expected and what was found.
        MemoryError: there is too little memory to read them.
    """
    origin = origin_of_series(files)
    return scan_of(read_files(files), origin)


def origin_of_file(data: bytes, name: str) -> Origin:
    """Returns what is known of a file undecoded.

    Raises:
        ScanError: it is too large, or of a kind that is not read.
    """
    name, source = bare_name(name), kind_of(data)
    if len(data) > MAX_BYTES:
        raise ScanError(
            f"{name}: Expected at most {MAX_BYTES >> 20} MB, got {len(data) >> 20} MB: send a smaller file."
        )
    if source not in SOURCES:
        raise ScanError(f"{name}: Expected a {READS}, got {source}: export the scan in one of these.")
    return Origin(name, source, hashlib.sha256(data).hexdigest())


def origin_of_series(files: Sequence[tuple[str, bytes]]) -> Origin:
    """Returns what is known of the files of a series undecoded.

    Raises:
        ScanError: they are too large together.
    """
    name, n_bytes = _series_name(_in_order(files)), sum(len(data) for _, data in files)
    if n_bytes > MAX_SERIES_BYTES:
        raise ScanError(f"{name}: Expected at most {MAX_SERIES_BYTES >> 20} MB, got {n_bytes >> 20} MB: send fewer.")
    hashes = sorted(hashlib.sha256(data).hexdigest() for _, data in files)
    return Origin(name, "DICOM", hashlib.sha256("".join(hashes).encode()).hexdigest())


def read_file(data: bytes, name: str) -> Volume:
    """Returns the volume, of finite voxels, in a file whose origin was found; raises as ``read_scan``."""
    source = kind_of(data)
    return _guarded(lambda: _volume(data, source), source, bare_name(name))


def read_files(files: Sequence[tuple[str, bytes]]) -> Volume:
    """Returns the volume, of finite voxels, of a series whose origin was found; raises as ``read_series``."""
    from sslmri.scans.dicom import read_dicom

    files = _in_order(files)
    return _guarded(lambda: read_dicom(files), "DICOM", _series_name(files))


def scan_of(volume: Volume, origin: Origin) -> Scan:
    """Returns a volume of finite voxels as the scan that it is."""
    return Scan(
        voxels=volume.voxels,
        spacing_mm=volume.spacing_mm,
        orientation=volume.orientation,
        modality=volume.modality,
        source=origin.source,
        name=origin.name,
        sha256=origin.sha256,
        warnings=volume.warnings,
    )


def series_key(data: bytes) -> str | None:
    """Returns a hash that all DICOM files of one series share and no other file has, or None for any other file."""
    if kind_of(data) != "DICOM":
        return None
    from sslmri.scans.dicom import series_key as dicom_series_key

    return dicom_series_key(data)


def _volume(data: bytes, source: str) -> Volume:
    """Returns what the reader of this kind of file makes of it; a reader's libraries are loaded when it is needed."""
    if source in PICTURES:
        return Volume(read_image(data, source), None, None, None)
    if source == "DICOM":
        from sslmri.scans.dicom import read_dicom

        return read_dicom([("", data)])
    if source == "NIfTI":
        from sslmri.scans.nifti import read_nifti

        return read_nifti(data)
    from sslmri.scans.archive import read_archive

    return read_archive(data)


def _in_order(files: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return sorted(files, key=lambda file: natural_order(file[0]))


def _series_name(files: Sequence[tuple[str, bytes]]) -> str:
    return bare_name(files[0][0]) + (f" and {len(files) - 1} more" if len(files) > 1 else "")


def _guarded(read: Callable[[], Volume], source: str, name: str) -> Volume:
    """Returns what a reader returns, its voxels finite; whatever it raises of the file becomes one sentence."""
    try:
        volume = read()
        return replace(volume, voxels=_finite(volume.voxels))
    except ScanError as error:
        raise ScanError(f"{name}: {error}") from None
    except MemoryError:  # which says nothing of the file: the machine, or the sandbox, has too little for it
        raise
    except Exception:  # decoders of untrusted bytes raise any class, and their texts quote tags: none is passed on
        raise ScanError(f"{name}: Expected a complete {source} file, got one that breaks off or is damaged.") from None


def bare_name(name: str) -> str:
    """Returns a file's name without folders."""
    return PurePosixPath(name.replace("\\", "/")).name or "unnamed file"


def _finite(voxels: np.ndarray) -> np.ndarray:
    """Returns voxels (D, H, W) as float32; values that are no numbers become the lowest number of the scan."""
    voxels = voxels.astype(np.float32, copy=False)
    finite = np.isfinite(voxels)
    if finite.all():
        return voxels
    if not finite.any():
        raise ScanError("Expected grey values, got a picture without a single number: export it again.")
    return np.where(finite, voxels, voxels[finite].min())
