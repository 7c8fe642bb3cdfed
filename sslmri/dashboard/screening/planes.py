"""Slices of a scan in the three planes: image, pixel size, and orientation labels."""

from dataclasses import dataclass

import numpy as np

from sslmri.scans.scan import Scan
from sslmri.scans.volume import AXIAL
from sslmri.screening.messages import OPPOSITE

_PLANE_OF = {"S": "axial", "I": "axial", "P": "coronal", "A": "coronal", "L": "sagittal", "R": "sagittal"}
_AXIS_OF = {"axial": 0, "coronal": 1, "sagittal": 2}


@dataclass(frozen=True)
class OrientationLabels:
    """The letter of the patient's side at each edge of an image: A, P, L, R, S or I."""

    top: str
    right: str
    bottom: str
    left: str


@dataclass(frozen=True)
class ReformattedSlice:
    """One slice of a scan in any plane.

    Attributes:
        image: (H, W) intensities of the file.
        pixel_mm: height and width of a pixel, or None where the file does not say.
        labels: None where the orientation is unknown.
    """

    image: np.ndarray
    pixel_mm: tuple[float, float] | None
    labels: OrientationLabels | None


def plane_of(scan: Scan) -> str | None:
    """Returns the plane of the slices of the file, or None where it is unknown."""
    return _PLANE_OF[scan.info.orientation[0]] if scan.info.orientation else None


def planes_of(scan: Scan) -> tuple[str, ...]:
    """Returns the planes in which a scan can be shown: all three for an axial volume of known spacing, else none."""
    is_volume = len(scan.voxels) > 1 and scan.info.spacing_mm is not None and scan.info.orientation == AXIAL
    return tuple(_AXIS_OF) if is_volume else ()


def n_slices_in(scan: Scan, plane: str) -> int:
    """Returns how many slices an axial volume has in a plane."""
    return scan.voxels.shape[_AXIS_OF[plane]]


def file_slice(scan: Scan, index: int) -> ReformattedSlice:
    """Returns a slice of the file."""
    pixel_mm = scan.info.spacing_mm[1:] if scan.info.spacing_mm else None
    labels = _labels(scan.info.orientation[1], scan.info.orientation[2]) if scan.info.orientation else None
    return ReformattedSlice(scan.voxels[index], pixel_mm, labels)


def reformat(scan: Scan, plane: str, index: int) -> ReformattedSlice:
    """Returns a slice of an axial volume of known spacing, with the patient's head up or anterior up."""
    if plane == "axial" or scan.info.spacing_mm is None:
        return file_slice(scan, index)
    slice_mm, row_mm, column_mm = scan.info.spacing_mm
    if plane == "coronal":
        return ReformattedSlice(scan.voxels[::-1, index, :], (slice_mm, column_mm), _labels("I", "L"))
    return ReformattedSlice(scan.voxels[::-1, :, index], (slice_mm, row_mm), _labels("I", "P"))


def _labels(rows: str, columns: str) -> OrientationLabels:
    """Returns the labels of an image whose rows and columns grow in these directions."""
    return OrientationLabels(top=OPPOSITE[rows], right=columns, bottom=rows, left=OPPOSITE[columns])
