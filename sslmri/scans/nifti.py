"""NIfTI-1 and NIfTI-2, plain or gzip, to axial slices."""

import io
import math
import struct
from dataclasses import replace
from typing import Any

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.gunzip import open_gunzipped
from sslmri.scans.limits import MAX_VOXELS, check_decompressed, check_size
from sslmri.scans.scan import Spacing
from sslmri.scans.volume import Volume, axial_volume

_HEADER_BYTES = {348: b"n+1", 540: b"n+2"}  # length of the header: magic of a file that holds its voxels too
_INTENSITY_TYPES = {
    2: "u1", 256: "i1", 4: "i2", 512: "u2", 8: "i4", 768: "u4", 1024: "i8", 1280: "u8", 16: "f4", 64: "f8",
}  # fmt: skip
_OTHER_TYPES = {1: "single bits", 32: "complex numbers", 1792: "complex numbers", 2048: "complex numbers",
                128: "colours", 2304: "colours", 1536: "128-bit numbers"}  # fmt: skip
_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # units of length: unknown, metre, millimetre, micrometre
_BLOCK = 2**19  # voxels converted at once
_UNKNOWN_ORIENTATION = (
    "The file does not state the orientation of the patient: it is displayed as is customary, and left and right are "
    "unknown."
)
_TWO_ORIENTATIONS = (
    "The two orientations in the file header (sform and qform) disagree: left and right may be exchanged."
)
_INCOMPLETE = "The NIfTI file is incomplete. Upload it again."
_DAMAGED = "The header of the NIfTI file is damaged"

_Header = Any  # nibabel's Nifti1Header or Nifti2Header


def read_nifti(data: bytes) -> Volume:
    """Returns the volume of a NIfTI file, .nii or .nii.gz.

    Sizes in the header are compared with the bytes of the file before anything is allocated, voxels are converted as
    they are decompressed, and gzip data are read up to their checksums.

    Raises:
        ScanError: the content is not NIfTI, damaged, too large, or not one intensity for each voxel.
    """
    file = open_gunzipped(data)
    header = _read_header(file)
    (*shape, n_volumes), kind, offset = _shape(header), _kind(header), _offset(header)
    n_bytes = offset + math.prod(shape) * n_volumes * kind.itemsize
    check_decompressed(n_bytes, len(data))
    if not data.startswith(b"\x1f\x8b") and n_bytes > len(data):
        raise ScanError(_INCOMPLETE)
    _skip(file, offset - int(header["sizeof_hdr"]))
    voxels = _read_voxels(file, (shape[0], shape[1], shape[2]), kind, _scaling(header))
    while file.read(_BLOCK):  # a gzip checksum is compared at the end only
        pass
    volume = _oriented(voxels, header)
    if n_volumes == 1:
        return volume
    first = f"The file holds {n_volumes} volumes (time points, maps or directions): only the first was read."
    return replace(volume, warnings=(first, *volume.warnings))


def _read_header(file: io.BufferedIOBase) -> _Header:
    from nibabel.nifti1 import Nifti1Header  # here, as it takes half a second that images need not wait for
    from nibabel.nifti2 import Nifti2Header

    start = file.read(4)
    for order in "<>":
        length = struct.unpack(f"{order}i", start)[0] if len(start) == 4 else 0
        if length in _HEADER_BYTES:
            break
    else:
        raise ScanError("This is not a NIfTI file. Export the scan as .nii.gz.")
    block = start + file.read(length - 4)
    if len(block) < length:
        raise ScanError(_INCOMPLETE)
    header = (Nifti1Header if length == 348 else Nifti2Header)(block, order, check=False)
    magic = bytes(header["magic"].item())
    if magic.startswith(b"ni"):
        raise ScanError("This NIfTI file holds a header without voxels. Export one .nii file.")
    if magic[:3] != _HEADER_BYTES[length]:
        raise ScanError("This is an Analyze file or its header is damaged. Export the scan as .nii.gz.")
    return header


def _shape(header: _Header) -> tuple[int, int, int, int]:
    """Returns (z, y, x), the order in which the voxels lie in the file, and the number of volumes."""
    n_dimensions, *sizes = (int(size) for size in header["dim"])
    sizes = sizes[:n_dimensions] if 2 <= n_dimensions <= 7 else []
    if not sizes or min(sizes) < 1:
        raise ScanError(f"{_DAMAGED}: it has no valid dimensions.")
    x, y, z = (*sizes, 1)[:3]
    if x * y * z > MAX_VOXELS:
        check_size((z, y, x))
    return z, y, x, math.prod(sizes[3:])


def _kind(header: _Header) -> np.dtype[Any]:
    """Returns the type of the voxels in the file's byte order."""
    code, bits = int(header["datatype"]), int(header["bitpix"])
    if code not in _INTENSITY_TYPES:
        found = _OTHER_TYPES.get(code, f"an unknown type ({code})")
        raise ScanError(f"The voxels of this file are {found}. Export magnitude images as integers or floats.")
    kind = np.dtype(_INTENSITY_TYPES[code]).newbyteorder(header.endianness)
    if bits != 8 * kind.itemsize:
        raise ScanError(f"{_DAMAGED}: type and size of the voxels disagree.")
    return kind


def _offset(header: _Header) -> int:
    """Returns where the voxels begin, in bytes; 0 stands for directly after the header."""
    declared, length = float(header["vox_offset"]), int(header["sizeof_hdr"])
    offset = int(declared) if np.isfinite(declared) else -1
    if offset == 0:
        return length + 4
    if offset < length:
        raise ScanError(f"{_DAMAGED}: the voxels would begin inside it.")
    return offset


def _scaling(header: _Header) -> tuple[float, float] | None:
    """Returns (slope, intercept) of the intensities, or None where they are stored unscaled."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not np.isfinite(slope) or slope == 0 or (slope, intercept) == (1.0, 0.0):
        return None
    if not np.isfinite(intercept):
        raise ScanError(f"{_DAMAGED}: the intercept of the intensities is invalid.")
    return slope, intercept


def _skip(file: io.BufferedIOBase, n_bytes: int) -> None:
    """Skips header extensions in small steps."""
    while n_bytes > 0 and (block := file.read(min(n_bytes, _BLOCK))):
        n_bytes -= len(block)


def _read_voxels(
    file: io.BufferedIOBase, shape: tuple[int, int, int], kind: np.dtype[Any], scaling: tuple[float, float] | None
) -> np.ndarray:
    """Returns the voxels (z, y, x) as float32, converted as they are read: memory is taken only for what arrives."""
    voxels = np.empty(shape[0] * shape[1] * shape[2], np.float32)
    for start in range(0, voxels.size, _BLOCK):
        part = voxels[start : start + _BLOCK]
        block = file.read(part.size * kind.itemsize)
        if len(block) < part.size * kind.itemsize:
            raise ScanError(_INCOMPLETE)
        values = np.frombuffer(block, kind)
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is replaced later
            part[:] = values if scaling is None else values * np.float64(scaling[0]) + scaling[1]
    return voxels.reshape(shape)


def _oriented(voxels: np.ndarray, header: _Header) -> Volume:
    """Returns the voxels (z, y, x) as axial slices, by the sform or else the qform of the header."""
    scale = _MM.get(int(header["xyzt_units"]) & 7, 1.0)
    sform, qform = header.get_sform(coded=True)[0], _qform(header)
    affine = qform if sform is None else sform
    if affine is None:
        x, y, z = (float(size) * scale for size in header["pixdim"][1:4])
        return _unoriented(voxels, (z, y, x))
    directions, spacing = _axes(affine)
    warnings = () if sform is None or qform is None or _agree(sform, qform) else (_TWO_ORIENTATIONS,)
    return axial_volume(voxels, directions, (spacing[0] * scale, spacing[1] * scale, spacing[2] * scale), warnings)


def _qform(header: _Header) -> np.ndarray | None:
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1  # the handedness: the standard reads 0 as 1
    try:
        return header.get_qform(coded=True)[0]
    except Exception as error:  # nibabel raises several classes on numbers that are no rotation
        raise ScanError(f"{_DAMAGED}: the rotation (qform) is invalid.") from error


def _axes(affine: np.ndarray) -> tuple[np.ndarray, Spacing]:
    """Returns the unit vectors (3, 3) along z, y and x of the file, and the spacing along them in its units."""
    steps = np.asarray(affine, dtype=np.float64)[:3, 2::-1].T
    with np.errstate(all="ignore"):  # what is not finite here is refused as an invalid geometry
        spacing = np.linalg.norm(steps, axis=1)
        directions = steps / spacing[:, None]
    return directions, (float(spacing[0]), float(spacing[1]), float(spacing[2]))


def _agree(one: np.ndarray, other: np.ndarray) -> bool:
    """Returns whether each axis grows to the same side of the patient by both affines."""
    return bool((np.einsum("ij,ij->i", _axes(one)[0], _axes(other)[0]) > np.sqrt(0.5)).all())


def _unoriented(voxels: np.ndarray, spacing: Spacing) -> Volume:
    """Returns voxels of unknown orientation: y grows to anterior by custom, so rows are flipped to show it on top."""
    check_size(voxels.shape)
    is_known = all(np.isfinite(size) and size > 0 for size in spacing)
    return Volume(voxels[:, ::-1], spacing if is_known else None, warnings=(_UNKNOWN_ORIENTATION,))
