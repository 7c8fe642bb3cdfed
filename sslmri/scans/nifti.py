"""NIfTI-1 and NIfTI-2, and pairs of a header and an image file, NIfTI or Analyze, to axial slices."""

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.file_type import file_type
from sslmri.scans.volume import Volume, directions_of, is_geometry
from sslmri.scans.voxel_data import FIELD_MM, VolumeHeader, read_volume

_HEADER_BYTES = {348: b"n+1", 540: b"n+2"}  # length of the header: magic of a file that holds its voxels too
_INTENSITY_TYPES = {
    2: "u1", 256: "i1", 4: "i2", 512: "u2", 8: "i4", 768: "u4", 1024: "i8", 1280: "u8", 16: "f4", 64: "f8",
}  # fmt: skip
_OTHER_TYPES = {1: "single bits", 32: "complex numbers", 1792: "complex numbers", 2048: "complex numbers",
                128: "colours", 2304: "colours", 1536: "128-bit numbers"}  # fmt: skip
_MAPS = {*range(2, 25), 1002}  # intents: a statistic, and labels
_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # units of length: unknown, metre, millimetre, micrometre
_TWO_ORIENTATIONS = (
    "The two orientations in the file header (sform and qform) disagree: left and right may be exchanged."
)
_OTHER_UNITS = "The unit of length in the file header gives a field of view that no head has: millimetres are assumed."
_ROUNDED = 1.01  # sum of squares of a quaternion up to which it is a rotation written with few digits
_UPLOAD_PAIR = "Upload the .hdr and the .img file together, or export the scan as .nii.gz."
_INCOMPLETE = "The NIfTI file is incomplete. Upload it again."
_DAMAGED = "The header of the NIfTI file is damaged"

_Header = Any  # nibabel's Nifti1Header or Nifti2Header


def read_nifti(content: bytes) -> Volume:
    """Returns the volume of a NIfTI file, decompressed.

    Raises:
        ScanError: the content is not NIfTI, damaged, too large, or not one intensity for each voxel.
    """
    header = _read_header(content)
    magic = bytes(header["magic"].item())[:3]
    if magic in (b"ni1", b"ni2"):
        raise ScanError(f"This NIfTI file holds a header without voxels. {_UPLOAD_PAIR}")
    if magic != _HEADER_BYTES[int(header["sizeof_hdr"])]:
        raise ScanError(f"This is an Analyze header, or a damaged NIfTI file. {_UPLOAD_PAIR}")
    return _read_volume(content, header, _offset(header, int(header["sizeof_hdr"])))


def read_pair(header_file: bytes, voxel_file: bytes) -> Volume:
    """Returns the volume of a NIfTI or Analyze header (.hdr) and the file of its voxels (.img), decompressed.

    Raises:
        ScanError: as for ``read_nifti``.
    """
    header = _read_header(header_file)
    if not bytes(header["magic"].item()).startswith(b"n"):
        # what NIfTI added to the header of Analyze 7.5, which has other fields there and no orientation
        for name in ("qform_code", "sform_code", "xyzt_units", "scl_slope", "scl_inter", "intent_code"):
            header[name] = 0
    return _read_volume(voxel_file, header, _offset(header, 0))


def _read_volume(content: bytes, header: _Header, offset: int) -> Volume:
    if int(header["intent_code"]) in _MAPS:
        raise ScanError("This NIfTI file is a map of statistics or labels by its header. Upload the scan itself.")
    sizes, (steps, warnings) = _sizes(header), _steps(header)
    spacing = [abs(float(size)) for size in header["pixdim"][1:4]] if steps is None else directions_of(steps)[1]
    unit, other_unit = _unit(header, [size * count for size, count in zip(spacing, sizes, strict=False)])
    return read_volume(
        content,
        offset,
        VolumeHeader(
            source="NIfTI",
            sizes=sizes,
            kind=_kind(header),
            steps=None if steps is None else steps * unit,
            spacing_mm=[size * unit for size in spacing],
            scaling=_scaling(header),
            warnings=(*other_unit, *warnings),
        ),
    )


def _read_header(content: bytes) -> _Header:
    from nibabel.nifti1 import Nifti1Header  # here, as it takes half a second that images need not wait for
    from nibabel.nifti2 import Nifti2Header

    for order in "<>":
        length = struct.unpack_from(f"{order}i", content)[0] if len(content) >= 4 else 0
        if length in _HEADER_BYTES:
            break
    else:
        found = file_type(content)
        but = f" but {found}" if found.startswith(("a ", "an ")) else ""
        raise ScanError(f"This is not a NIfTI file{but}. Export the scan as .nii.gz.")
    if len(content) < length:
        raise ScanError(_INCOMPLETE)
    return (Nifti1Header if length == 348 else Nifti2Header)(content[:length], order, check=False)


def _sizes(header: _Header) -> list[int]:
    """Returns the sizes along x, y, z and further dimensions, none where their number is invalid."""
    n_dimensions, *sizes = (int(size) for size in header["dim"])
    sizes = sizes[:n_dimensions] if 2 <= n_dimensions <= 7 else []
    return [*sizes[:3], *(size or 1 for size in sizes[3:])]  # some programs leave dimensions blank that are not used


def _kind(header: _Header) -> np.dtype[Any]:
    """Returns the type of the voxels in the file's byte order."""
    code, bits = int(header["datatype"]), int(header["bitpix"])
    if code not in _INTENSITY_TYPES:
        found = _OTHER_TYPES.get(code, f"an unknown type ({code})")
        raise ScanError(f"The voxels of this file are {found}. Export magnitude images as integers or floats.")
    kind = np.dtype(_INTENSITY_TYPES[code]).newbyteorder(header.endianness)
    if bits not in (0, 8 * kind.itemsize):
        raise ScanError(f"{_DAMAGED}: type and size of the voxels disagree.")
    return kind


def _offset(header: _Header, length: int) -> int:
    """Returns where the voxels begin, in bytes, behind a header of this length in their file or none.

    0 stands for directly after the header.
    """
    declared = float(header["vox_offset"])
    offset = int(declared) if np.isfinite(declared) else -1
    if offset == 0:
        return length + 4 if length else 0
    if offset < length:
        raise ScanError(f"{_DAMAGED}: the voxels would begin inside it.")
    return offset


def _scaling(header: _Header) -> tuple[float, float] | None:
    """Returns (slope, intercept) of the intensities, or None where they are stored unscaled."""
    from nibabel.spatialimages import HeaderDataError

    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError:
        raise ScanError(f"{_DAMAGED}: the intercept of the intensities is invalid.") from None
    return None if (slope, intercept) in ((None, None), (1.0, 0.0)) else (slope, intercept)


def _steps(header: _Header) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Returns the steps (3, 3) along x, y and z, by the sform or else the qform, None where the header has neither.

    They are in the unit of the header. A warning says where the two disagree.
    """
    sform = header.get_sform(coded=True)[0]
    qform = _qform(header, is_needed=sform is None or not is_geometry(sform[:3, :3].T))
    stated = [affine[:3, :3].T for affine in (sform, qform) if affine is not None]
    usable = [steps for steps in stated if is_geometry(steps)]
    cosines = np.einsum("ij,ij->i", *(directions_of(steps)[0] for steps in usable)) if len(usable) == 2 else np.ones(3)
    warnings = () if (cosines > np.sqrt(0.5)).all() else (_TWO_ORIENTATIONS,)
    return next(iter(usable or stated), None), warnings


def _qform(header: _Header, is_needed: bool) -> np.ndarray | None:
    """Returns the affine of the qform, None where it has none, or an invalid one that is not needed."""
    header["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1  # the handedness: the standard reads 0 as 1
    header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    names = ("quatern_b", "quatern_c", "quatern_d")
    square = sum(float(header[name]) ** 2 for name in names)
    if 1 < square < _ROUNDED:
        for name in names:
            header[name] /= math.sqrt(square)
    try:
        return header.get_qform(coded=True)[0]
    except Exception as error:  # nibabel raises several classes on numbers that are no rotation
        if not is_needed:
            return None
        raise ScanError(f"{_DAMAGED}: the rotation (qform) is invalid.") from error


def _unit(header: _Header, sides: Sequence[float]) -> tuple[float, tuple[str, ...]]:
    """Returns the unit of length of the header in mm, and a warning where only millimetres can be meant.

    The sides are those of the field of view, in that unit.
    """
    unit, field = _MM.get(int(header["xyzt_units"]) & 7, 1.0), max(sides, default=0.0)
    if unit != 1 and not FIELD_MM[0] < field * unit < FIELD_MM[1] and FIELD_MM[0] < field < FIELD_MM[1]:
        return 1.0, (_OTHER_UNITS,)
    return unit, ()
