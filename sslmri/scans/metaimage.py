"""MetaImage (.mha, or .mhd with a file of voxels), the format of ITK, to axial slices."""

import io

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.gunzip import open_inflated
from sslmri.scans.text_header import fields_of, first_number, header_numbers
from sslmri.scans.volume import Volume, axial_volume, unoriented_volume
from sslmri.scans.voxel_data import VoxelLayout, read_voxels, volume_sizes

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_TO_RAS = (-1, -1, 1)  # ITK counts to the patient's left, posterior and superior
_DAMAGED = "The header of the MetaImage file is damaged"
_UNUSUAL = "The MetaImage file is stored in an unusual way. Save it as one .mha file."


def read_metaimage(data: bytes, voxel_file: bytes | None = None) -> Volume:
    """Returns the volume of a MetaImage file; of several the first.

    Args:
        data: the file, or its header alone.
        voxel_file: the voxels of a header that names a file of them.

    Raises:
        ScanError: the content is damaged, too large, stored in an unusual way, or not one intensity for each voxel.
    """
    fields, length = fields_of(data, "=", end=b"ElementDataFile")
    if fields.get("elementdatafile", "").upper() == "LOCAL":
        stored = data[length:]
    elif voxel_file is None:
        raise ScanError("This is a MetaImage header without voxels. Upload the .mhd and the .raw file together.")
    else:
        stored = voxel_file
    layout = _layout(fields)
    is_compressed, skip = _is_true(fields, "compresseddata"), first_number(fields, "headersize", 0)
    file = open_inflated(stored) if is_compressed else io.BytesIO(stored)
    offset = len(stored) - layout.n_bytes if skip == -1 and not is_compressed else max(0, skip)
    voxels = read_voxels(file, len(stored), offset, layout)
    spacing = _vector(fields, "elementspacing", "elementsize")
    directions = _directions(fields)
    spacing_mm = (spacing[2], spacing[1], spacing[0]) if spacing else None
    if directions is None or spacing_mm is None:
        return unoriented_volume(voxels, spacing_mm, layout.warnings)
    return axial_volume(voxels, directions, spacing_mm, layout.warnings)


def _layout(fields: dict[str, str]) -> VoxelLayout:
    n_channels = first_number(fields, "elementnumberofchannels", 1)
    if n_channels != 1:
        raise ScanError(
            f"Each voxel of this MetaImage file holds {n_channels} values (directions or colours). Export one volume "
            "of them."
        )
    if not _is_true(fields, "binarydata", otherwise=True):
        raise ScanError(_UNUSUAL)
    kind = _TYPES.get(fields.get("elementtype", "").upper())
    if kind is None:
        raise ScanError(f"{_DAMAGED} or its voxels are of an unknown type. Export the scan as .nii.gz.")
    shape, n_volumes = volume_sizes([int(size) for size in header_numbers(fields, "dimsize")], _DAMAGED)
    is_big = _is_true(fields, "binarydatabyteordermsb") or _is_true(fields, "elementbyteordermsb")
    return VoxelLayout("MetaImage", shape, n_volumes, np.dtype(kind).newbyteorder(">" if is_big else "<"))


def _directions(fields: dict[str, str]) -> np.ndarray | None:
    """Returns the directions (3, 3) of z, y and x, or None where the file does not state them in space."""
    name = next((name for name in ("transformmatrix", "rotation", "orientation") if name in fields), None)
    if name is None:
        return None
    numbers = header_numbers(fields, name)
    n_axes = round(len(numbers) ** 0.5)
    if n_axes < 3 or n_axes**2 != len(numbers):
        return None
    directions = np.array(numbers).reshape(n_axes, n_axes)[2::-1, :3] * _TO_RAS
    with np.errstate(all="ignore"):  # what is not finite is refused as an invalid geometry
        return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _vector(fields: dict[str, str], *names: str) -> list[float] | None:
    numbers = header_numbers(fields, *names) if any(name in fields for name in names) else []
    return numbers[:3] if len(numbers) >= 3 else None


def _is_true(fields: dict[str, str], name: str, otherwise: bool = False) -> bool:
    return fields[name].lower() in ("true", "1") if name in fields else otherwise
