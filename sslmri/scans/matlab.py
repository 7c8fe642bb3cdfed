"""MATLAB 7.3 files of the figshare tumour set, one slice each; tumour border and label are not read."""

import io
import math

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.limits import MAX_VOXELS, check_decompressed, check_size
from sslmri.scans.volume import Volume

_OTHER = (
    "This MATLAB file has no readable greyscale image in cjdata.image, or is not of version 7.3. Save the image as "
    "PNG, in MATLAB with imwrite(mat2gray(image), 'slice.png')."
)


def read_matlab(data: bytes) -> Volume:
    """Returns the slice of a file as a volume.

    Links to other files are not followed: the file could name one of this host.

    Raises:
        ScanError: the file holds no such image, or a too large one.
        Exception: whatever h5py raises on damaged data.
    """
    if not data.startswith(b"MATLAB 7.3"):
        raise ScanError(_OTHER)
    import h5py  # here, as other files need not wait for it

    try:
        opened = h5py.File(io.BytesIO(data), "r")
    except OSError:
        raise ScanError(_OTHER) from None
    with opened as file:
        is_inside = all(isinstance(file.get(path, getlink=True), h5py.HardLink) for path in ("cjdata", "cjdata/image"))
        image = file["cjdata/image"] if is_inside else None
        if not isinstance(image, h5py.Dataset) or image.ndim != 2 or image.dtype.kind not in "iuf":
            raise ScanError(_OTHER)
        if image.external or image.is_virtual or math.prod(image.chunks or ()) > MAX_VOXELS:
            raise ScanError(_OTHER)
        check_size((1, *image.shape[::-1]))  # MATLAB stores columns
        check_decompressed(image.nbytes, len(data))
        return Volume(image[()].T[None].astype(np.float32))
