"""What the NIfTI tests share: a synthetic head, in every encoding."""

import gzip

import nibabel
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from sslmri.scans.parse import ScanFiles
from sslmri.scans.slices import Preparation, PreparedScan, prepare_scan
from sslmri.scans.volume import Volume
from sslmri.scans.volume_files import read_volume_file

SPACING = (4.0, 2.0, 2.0)  # slice, row, column


def make_head() -> np.ndarray:
    """Returns an uneven head in axial slices from below, rows to the back, columns to the left: (40, 96, 80) uint8."""
    z, y, x = np.mgrid[0:40, 0:96, 0:80].astype(float)
    inside = ((z - 18) / 17) ** 2 + ((y - 50) / 40) ** 2 + ((x - 41) / 31) ** 2 < 1
    grey = 120 + 60 * np.sin(y / 6) * np.cos(x / 5) + 40 * (x > 45) + 30 * (y < 30) + z / 2
    return np.where(inside, np.clip(np.rint(grey), 1, 255), 0).astype(np.uint8)


def image_of(
    voxels: np.ndarray,
    codes: str = "RAS",
    kind: str = "<i2",
    spacing: tuple[float, ...] = SPACING,
    two: bool = False,
) -> nibabel.Nifti1Image:
    """Returns slices (D, H, W), from below, to the back, to the left, as nibabel's image with axes along the codes."""
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    make, header = (nibabel.Nifti2Image, nibabel.Nifti2Header) if two else (nibabel.Nifti1Image, nibabel.Nifti1Header)
    stored = voxels.T.astype(kind)
    image = make(stored, affine, header(endianness=">" if kind[0] == ">" else "<"))
    image.set_data_dtype(np.dtype(kind).newbyteorder("="))
    return image.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt(codes)))


def nifti(voxels: np.ndarray, codes: str = "RAS", kind: str = "<i2", **options) -> bytes:
    return image_of(voxels, codes, kind, **options).to_bytes()


def read_nifti(data: bytes) -> Volume:
    return read_volume_file("NIfTI", [data])


def prepared(data: bytes) -> PreparedScan:
    scan = ScanFiles("head.nii", "NIfTI", "0" * 64, ()).scan(read_nifti(data))
    return prepare_scan(scan, Preparation())


def packed(data: bytes) -> bytes:
    return gzip.compress(data, 1)


def changed(data: bytes, **fields: object) -> bytes:
    """Returns NIfTI-1 bytes with other numbers in their header."""
    header = nibabel.Nifti1Header(data[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + data[348:]
