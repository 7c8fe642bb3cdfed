"""MGH and MGZ, the volumes of FreeSurfer, to axial slices."""

import io

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.volume import Volume, axial_volume, unoriented_volume
from sslmri.scans.voxel_data import VoxelLayout, read_voxels, volume_sizes

_HEADER = np.dtype(
    [("version", ">i4"), ("dims", ">i4", 4), ("type", ">i4"), ("dof", ">i4"), ("is_oriented", ">i2"),
     ("delta", ">f4", 3), ("directions", ">f4", (3, 3)), ("centre", ">f4", 3)]
)  # fmt: skip
_VOXELS_AT = 284  # bytes
_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}
_DAMAGED = "The header of the MGH file is damaged"


def read_mgh(file: io.BufferedIOBase, n_compressed: int) -> Volume:
    """Returns the volume of an MGH file; of several frames the first.

    Args:
        file: its content, decompressed.
        n_compressed: bytes of the uploaded file.

    Raises:
        ScanError: the content is damaged, too large, or not one intensity for each voxel.
    """
    start = file.read(_HEADER.itemsize)
    if len(start) < _HEADER.itemsize:
        raise ScanError("The MGH file is incomplete. Upload it again.")
    header = np.frombuffer(start, _HEADER)[0]
    kind = _TYPES.get(int(header["type"]))
    if kind is None:
        raise ScanError("The voxels of this MGH file are of an unknown type. Export the scan as .nii.gz.")
    shape, n_volumes = volume_sizes([int(size) for size in header["dims"]], _DAMAGED)
    layout = VoxelLayout("MGH", shape, n_volumes, np.dtype(kind))
    voxels = read_voxels(file, n_compressed, _VOXELS_AT - _HEADER.itemsize, layout)
    if header["is_oriented"] != 1:
        z_mm, y_mm, x_mm = map(float, header["delta"][::-1])
        return unoriented_volume(voxels, (z_mm, y_mm, x_mm), layout.warnings)
    with np.errstate(all="ignore"):  # what is not finite is refused as an invalid geometry
        steps = (header["directions"].astype(np.float64) * header["delta"][:, None])[::-1]
        z_mm, y_mm, x_mm = map(float, np.linalg.norm(steps, axis=1))
        directions = steps / [[z_mm], [y_mm], [x_mm]]
    return axial_volume(voxels, directions, (z_mm, y_mm, x_mm), layout.warnings)
