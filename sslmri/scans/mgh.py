"""MGH and MGZ, the volumes of FreeSurfer, to axial slices."""

import io

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.volume import Volume
from sslmri.scans.voxel_data import VolumeHeader, read_volume

_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}


def read_mgh(file: io.BufferedIOBase, n_compressed: int) -> Volume:
    """Returns the volume of an MGH file; of several frames the first.

    Args:
        file: its content, decompressed.
        n_compressed: bytes of the uploaded file.

    Raises:
        ScanError: the content is damaged, too large, or not one intensity for each voxel.
    """
    from nibabel.freesurfer.mghformat import DATA_OFFSET, header_dtype  # here, as for NIfTI

    start = file.read(DATA_OFFSET)
    if len(start) < DATA_OFFSET:
        raise ScanError("The MGH file is incomplete. Upload it again.")
    header = np.frombuffer(start, header_dtype, count=1)[0]
    kind = _TYPES.get(int(header["type"]))
    if kind is None:
        raise ScanError("The voxels of this MGH file are of an unknown type. Export the scan as .nii.gz.")
    sizes, delta = header["dims"].tolist(), header["delta"].astype(np.float64)
    with np.errstate(all="ignore"):  # what is not finite is refused as an invalid geometry
        steps = header["Mdc"] * delta[:, None] if header["goodRASFlag"] == 1 else None
    return read_volume(file, n_compressed, 0, VolumeHeader("MGH", sizes, np.dtype(kind), steps, delta.tolist()))
