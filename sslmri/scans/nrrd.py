"""NRRD, in one file or as a header and a file of voxels, to axial slices."""

import io
import re
from typing import Any

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.gunzip import open_gunzipped
from sslmri.scans.text_header import fields_of, first_number, header_numbers
from sslmri.scans.volume import Volume, axial_volume, unoriented_volume
from sslmri.scans.voxel_data import VoxelLayout, read_voxels, volume_sizes

_TYPES = {
    "signed char": "i1", "int8": "i1", "int8_t": "i1", "uchar": "u1", "unsigned char": "u1", "uint8": "u1",
    "uint8_t": "u1", "short": "i2", "short int": "i2", "signed short": "i2", "signed short int": "i2", "int16": "i2",
    "int16_t": "i2", "ushort": "u2", "unsigned short": "u2", "unsigned short int": "u2", "uint16": "u2",
    "uint16_t": "u2", "int": "i4", "signed int": "i4", "int32": "i4", "int32_t": "i4", "uint": "u4",
    "unsigned int": "u4", "uint32": "u4", "uint32_t": "u4", "longlong": "i8", "long long": "i8", "int64": "i8",
    "int64_t": "i8", "ulonglong": "u8", "unsigned long long": "u8", "uint64": "u8", "uint64_t": "u8", "float": "f4",
    "double": "f8",
}  # fmt: skip
_TO_RAS = {"right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1), "left-anterior-superior": (-1, 1, 1),
           "las": (-1, 1, 1), "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1)}  # fmt: skip
_VECTOR = re.compile(r"none|\(([^()]*)\)")
_DAMAGED = "The header of the NRRD file is damaged"
_UNUSUAL = "The NRRD file is stored in an unusual way. Save it as one .nrrd file, compressed with gzip or not at all."


def read_nrrd(data: bytes, voxel_file: bytes | None = None) -> Volume:
    """Returns the volume of an NRRD file; of several the first.

    Args:
        data: the file, or its header alone.
        voxel_file: the voxels of a header that names a file of them.

    Raises:
        ScanError: the content is damaged, too large, stored in an unusual way, or not one intensity for each voxel.
    """
    fields, length = fields_of(data, ":", end=b"")
    if "data file" in fields or "datafile" in fields:
        if voxel_file is None:
            raise ScanError("This is an NRRD header without voxels. Upload the .nhdr and the .raw file together.")
        stored = voxel_file
    else:
        stored = data[length:]
    layout, directions, spacing = _layout(fields)
    file, offset = _opened(fields, stored, layout)
    voxels = read_voxels(file, len(stored), offset, layout)
    if directions is None:
        return unoriented_volume(voxels, spacing, layout.warnings)
    return axial_volume(voxels, directions, spacing, layout.warnings)


def _opened(fields: dict[str, str], stored: bytes, layout: VoxelLayout) -> tuple[io.BufferedIOBase, int]:
    """Returns a file of the voxels and where in it they begin."""
    encoding, skip = fields.get("encoding", "raw").lower(), first_number(fields, "byte skip", 0)
    if encoding not in ("raw", "gzip", "gz") or first_number(fields, "line skip", 0):
        raise ScanError(_UNUSUAL)
    if encoding == "raw":
        return io.BytesIO(stored), len(stored) - layout.n_bytes if skip == -1 else skip
    if not stored.startswith(b"\x1f\x8b"):
        raise ScanError("The NRRD file is damaged: its voxels are not gzip data. Upload it again.")
    return open_gunzipped(stored), max(0, skip)


def _layout(fields: dict[str, str]) -> tuple[VoxelLayout, np.ndarray | None, tuple[float, float, float]]:
    """Returns how the voxels lie, the directions (3, 3) of z, y and x or None, and the spacing along them."""
    sizes = [int(size) for size in header_numbers(fields, "sizes")]
    vectors = [_numbers(match) for match in _VECTOR.finditer(fields.get("space directions", ""))]
    if None in vectors[:3] and sizes:
        raise ScanError(
            f"Each voxel of this NRRD file holds {sizes[0]} values (directions or colours). Export one volume of them."
        )
    kind = _TYPES.get(fields.get("type", "").lower())
    if kind is None:
        raise ScanError(f"{_DAMAGED} or its voxels are of an unknown type. Export the scan as .nii.gz.")
    is_big = fields.get("endian", "").lower() == "big"
    shape, n_volumes = volume_sizes(sizes, _DAMAGED)
    layout = VoxelLayout("NRRD", shape, n_volumes, np.dtype(kind).newbyteorder(">" if is_big else "<"))
    signs = _TO_RAS.get(fields.get("space", "").lower().removesuffix("-time"))
    axes = [vector for vector in vectors[:3] if vector is not None and len(vector) == 3]
    if signs is None or len(axes) != 3:
        spacings = header_numbers(fields, "spacings")[:3] if "spacings" in fields else []
        return layout, None, _reversed(spacings if len(spacings) == 3 else [float("nan")] * 3)
    with np.errstate(all="ignore"):  # what is not finite is refused as an invalid geometry
        steps = np.array(axes[::-1]) * signs
        lengths = np.linalg.norm(steps, axis=1)
        return layout, steps / lengths[:, None], _reversed(list(lengths[::-1]))


def _reversed(spacings: list[Any]) -> tuple[float, float, float]:
    x, y, z = map(float, spacings)
    return z, y, x


def _numbers(match: re.Match[str]) -> list[float] | None:
    return None if match[1] is None else header_numbers({"space directions": match[1].replace(",", " ")})
