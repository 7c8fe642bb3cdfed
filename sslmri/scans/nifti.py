"""NIfTI-1 and NIfTI-2, plain or gzip: voxels turned to axial slices."""

import io
import math
import struct
from dataclasses import replace
from typing import Any

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.gunzip import check_unpacked, open_unpacked
from sslmri.scans.images import MAX_PIXELS
from sslmri.scans.volume import Spacing, Volume, axial_volume, check_size

_HEADER_BYTES = {348: b"n+1", 540: b"n+2"}  # length of the header: magic of a file that holds its voxels too
_GREY_TYPES = {
    2: "u1", 256: "i1", 4: "i2", 512: "u2", 8: "i4", 768: "u4", 1024: "i8", 1280: "u8", 16: "f4", 64: "f8",
}  # fmt: skip
_OTHER_TYPES = {1: "single bits", 32: "complex numbers", 1792: "complex numbers", 2048: "complex numbers",
                128: "colours", 2304: "colours", 1536: "numbers of 128 bits"}  # fmt: skip
_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # units of length: unknown, metre, millimetre, micrometre
_BLOCK = 2**19  # voxels converted at once
_UNKNOWN_POSITION = (
    "The file does not say how its voxels lie in the patient: it is shown as most such files lie, and left and right "
    "are unknown."
)
_TWO_POSITIONS = (
    "The file describes the position of its voxels twice (sform, qform), and the two disagree: left and right may be "
    "exchanged."
)

_Header = Any  # nibabel's Nifti1Header or Nifti2Header


def read_nifti(data: bytes) -> Volume:
    """Returns the volume of a NIfTI file, .nii or .nii.gz; voxels that are no numbers become the lowest number.

    Sizes that the header tells are compared with the bytes there are before anything is allocated, voxels are
    converted as they are unpacked, and gzip data are read up to their checksums.

    Raises:
        ScanError: the content is not NIfTI, damaged, too large, or not grey.
    """
    file = open_unpacked(data)
    header = _read_header(file)
    (*shape, n_volumes), kind, offset = _shape(header), _kind(header), _offset(header)
    n_bytes = offset + math.prod(shape) * n_volumes * kind.itemsize
    check_unpacked(n_bytes, len(data))
    if not data.startswith(b"\x1f\x8b") and n_bytes > len(data):
        raise _broken_off()
    _skip(file, offset - int(header["sizeof_hdr"]))
    voxels = _finite(_read_voxels(file, (shape[0], shape[1], shape[2]), kind, _scaling(header)))
    while file.read(_BLOCK):  # a gzip checksum is compared at the end only
        pass
    volume = _placed(voxels, header)
    if n_volumes == 1:
        return volume
    first = f"The file holds {n_volumes} volumes (time points, maps or directions): only the first was read."
    return replace(volume, warnings=(first, *volume.warnings))


def _read_header(file: io.BufferedIOBase) -> _Header:
    from nibabel.nifti1 import Nifti1Header  # here, as it takes half a second that pictures need not wait for
    from nibabel.nifti2 import Nifti2Header

    start = file.read(4)
    for order in "<>":
        length = struct.unpack(f"{order}i", start)[0] if len(start) == 4 else 0
        if length in _HEADER_BYTES:
            break
    else:
        raise ScanError("Expected a NIfTI file, got content of another kind: export the scan as .nii.gz.")
    block = start + file.read(length - 4)
    if len(block) < length:
        raise _broken_off()
    header = (Nifti1Header if length == 348 else Nifti2Header)(block, order, check=False)
    magic = bytes(header["magic"].item())
    if magic.startswith(b"ni"):
        raise ScanError("Expected a NIfTI file with its voxels, got a header alone: export one .nii file.")
    if magic[:3] != _HEADER_BYTES[length]:
        raise ScanError("Expected a NIfTI file, got an Analyze or a damaged header: export the scan as .nii.gz.")
    return header


def _broken_off() -> ScanError:
    return ScanError("Expected all voxels that the NIfTI header tells of, got a file that breaks off: send it again.")


def _shape(header: _Header) -> tuple[int, int, int, int]:
    """Returns (z, y, x), the order in which the voxels lie in the file, and the number of volumes."""
    n_dimensions, *sizes = (int(size) for size in header["dim"])
    sizes = sizes[:n_dimensions] if 2 <= n_dimensions <= 7 else []
    if not sizes or min(sizes) < 1:
        raise ScanError(
            f"Expected a picture or a volume, got {n_dimensions} dimensions of {sizes}: the header is damaged."
        )
    x, y, z = (*sizes, 1)[:3]
    if x * y * z > MAX_PIXELS:
        check_size((z, y, x))
    return z, y, x, math.prod(sizes[3:])


def _kind(header: _Header) -> np.dtype[Any]:
    """Returns the type of the voxels in the file's byte order."""
    code, bits = int(header["datatype"]), int(header["bitpix"])
    if code not in _GREY_TYPES:
        found = _OTHER_TYPES.get(code, f"the unknown type {code}")
        raise ScanError(f"Expected one grey value a voxel, got {found}: export the magnitude as integers or floats.")
    kind = np.dtype(_GREY_TYPES[code]).newbyteorder(header.endianness)
    if bits != 8 * kind.itemsize:
        raise ScanError(f"Expected {8 * kind.itemsize} bits a voxel, got {bits}: the header is damaged.")
    return kind


def _offset(header: _Header) -> int:
    """Returns where the voxels begin, in bytes; 0 stands for right behind the header."""
    told, length = float(header["vox_offset"]), int(header["sizeof_hdr"])
    offset = int(told) if np.isfinite(told) else -1
    if offset == 0:
        return length + 4
    if offset < length:
        raise ScanError(f"Expected voxels behind the header of {length} bytes, got them at {told:g}: export again.")
    return offset


def _scaling(header: _Header) -> tuple[float, float] | None:
    """Returns (slope, intercept) of the grey values, or None where the file holds them as they are."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not np.isfinite(slope) or slope == 0 or (slope, intercept) == (1.0, 0.0):
        return None
    if not np.isfinite(intercept):
        raise ScanError(f"Expected a number as intercept of the grey values, got {intercept}: export the scan again.")
    return slope, intercept


def _skip(file: io.BufferedIOBase, n_bytes: int) -> None:
    """Reads over header extensions in small steps."""
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
            raise _broken_off()
        values = np.frombuffer(block, kind)
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is no number to it
            part[:] = values if scaling is None else values * np.float64(scaling[0]) + scaling[1]
    return voxels.reshape(shape)


def _finite(voxels: np.ndarray) -> np.ndarray:
    """Returns the voxels, where needed changed in place so that all are numbers."""
    finite = np.isfinite(voxels)
    if finite.all():
        return voxels
    if not finite.any():
        raise ScanError("Expected grey values, got a volume without a single number: export it again.")
    voxels[~finite] = voxels.min(where=finite, initial=np.inf)
    return voxels


def _placed(voxels: np.ndarray, header: _Header) -> Volume:
    """Returns the voxels (z, y, x) as axial slices, by the sform or else the qform of the header."""
    scale = _MM.get(int(header["xyzt_units"]) & 7, 1.0)
    sform, qform = header.get_sform(coded=True)[0], _qform(header)
    affine = qform if sform is None else sform
    if affine is None:
        x, y, z = (float(size) * scale for size in header["pixdim"][1:4])
        return _unplaced(voxels, (z, y, x))
    directions, spacing = _axes(affine)
    warnings = () if sform is None or qform is None or _agree(sform, qform) else (_TWO_POSITIONS,)
    return axial_volume(
        voxels, directions, (spacing[0] * scale, spacing[1] * scale, spacing[2] * scale), None, warnings
    )


def _qform(header: _Header) -> np.ndarray | None:
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1  # the handedness: the standard reads 0 as 1
    try:
        return header.get_qform(coded=True)[0]
    except Exception as error:  # nibabel raises several classes on numbers that are no rotation
        raise ScanError("Expected a rotation in the NIfTI header, got none (qform): export the scan again.") from error


def _axes(affine: np.ndarray) -> tuple[np.ndarray, Spacing]:
    """Returns the unit vectors (3, 3) along z, y and x of the file, and the spacing along them in its units."""
    steps = np.asarray(affine, dtype=np.float64)[:3, 2::-1].T
    with np.errstate(all="ignore"):  # what becomes no number here is refused as no geometry
        spacing = np.linalg.norm(steps, axis=1)
        directions = steps / spacing[:, None]
    return directions, (float(spacing[0]), float(spacing[1]), float(spacing[2]))


def _agree(one: np.ndarray, other: np.ndarray) -> bool:
    """Returns whether each axis grows to the same side of the patient by both affines."""
    return bool((np.einsum("ij,ij->i", _axes(one)[0], _axes(other)[0]) > np.sqrt(0.5)).all())


def _unplaced(voxels: np.ndarray, spacing: Spacing) -> Volume:
    """Returns voxels of unknown position: y grows to anterior by custom, so rows are turned to show it on top."""
    check_size(voxels.shape)
    is_known = all(np.isfinite(size) and size > 0 for size in spacing)
    return Volume(voxels[:, ::-1], spacing if is_known else None, None, None, (_UNKNOWN_POSITION,))
