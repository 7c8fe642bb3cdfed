"""MGH and MGZ, the volumes of FreeSurfer, to axial slices."""

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.volume import Volume
from sslmri.scans.voxel_data import VolumeHeader, read_volume

_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}


def read_mgh(content: bytes) -> Volume:
    """Returns the volume of an MGH file, decompressed; of several frames the first.

    Raises:
        ScanError: the content is damaged, too large, or not one intensity for each voxel.
    """
    from nibabel.freesurfer.mghformat import DATA_OFFSET, header_dtype  # here, as for NIfTI

    if len(content) < DATA_OFFSET:
        raise ScanError("The MGH file is incomplete. Upload it again.")
    header = np.frombuffer(content, header_dtype, count=1)[0]
    kind = _TYPES.get(int(header["type"]))
    if kind is None:
        raise ScanError("The voxels of this MGH file are of an unknown type. Export the scan as .nii.gz.")
    sizes, delta = header["dims"].tolist(), header["delta"].astype(np.float64)
    with np.errstate(all="ignore"):  # what is not finite is refused as an invalid geometry
        steps = header["Mdc"] * delta[:, None] if header["goodRASFlag"] == 1 else None
    return read_volume(content, DATA_OFFSET, VolumeHeader("MGH", sizes, np.dtype(kind), steps, delta.tolist()))
