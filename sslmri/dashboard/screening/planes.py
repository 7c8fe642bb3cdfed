"""A scan cut in the three planes: the picture, how large its pixels are, and which side of the patient is where."""

from dataclasses import dataclass

import numpy as np

from sslmri.scans.scan import Scan
from sslmri.scans.volume import AXIAL

_OPPOSITE = dict(zip("SIPALR", "ISAPRL", strict=True))
_PLANE_OF = {"S": "axial", "I": "axial", "P": "coronal", "A": "coronal", "L": "sagittal", "R": "sagittal"}
_AXIS_OF = {"axial": 0, "coronal": 1, "sagittal": 2}


@dataclass(frozen=True)
class OrientationLabels:
    """The letters of the patient's side at each edge of a picture: A, P, L, R, S or I."""

    top: str
    right: str
    bottom: str
    left: str


@dataclass(frozen=True)
class ReformattedSlice:
    """One slice of a scan in any plane.

    Attributes:
        image: (H, W) grey values of the file.
        pixel_mm: height and width of a pixel, or None where the file does not say.
        marks: None where the orientation is unknown.
    """

    image: np.ndarray
    pixel_mm: tuple[float, float] | None
    marks: OrientationLabels | None


def own_plane(scan: Scan) -> str | None:
    """Returns the plane of the slices of the file, or None where it is unknown."""
    return _PLANE_OF[scan.orientation[0]] if scan.orientation else None


def planes_of(scan: Scan) -> tuple[str, ...]:
    """Returns the planes in which a scan can be cut besides its own: those of an axial volume of known spacing."""
    is_volume = len(scan.voxels) > 1 and scan.spacing_mm is not None and scan.orientation == AXIAL
    return tuple(_AXIS_OF) if is_volume else ()


def n_cuts(scan: Scan, plane: str) -> int:
    """Returns how many slices an axial volume has in a plane."""
    return scan.voxels.shape[_AXIS_OF[plane]]


def own_cut(scan: Scan, index: int) -> ReformattedSlice:
    """Returns a slice of the file."""
    pixel_mm = scan.spacing_mm[1:] if scan.spacing_mm else None
    marks = _marks(scan.orientation[1], scan.orientation[2]) if scan.orientation else None
    return ReformattedSlice(scan.voxels[index], pixel_mm, marks)


def cut(scan: Scan, plane: str, index: int) -> ReformattedSlice:
    """Returns a slice of an axial volume of known spacing, with the patient's head up or anterior up."""
    if plane == "axial" or scan.spacing_mm is None:
        return own_cut(scan, index)
    slice_mm, row_mm, column_mm = scan.spacing_mm
    if plane == "coronal":
        return ReformattedSlice(scan.voxels[::-1, index, :], (slice_mm, column_mm), _marks("I", "L"))
    return ReformattedSlice(scan.voxels[::-1, :, index], (slice_mm, row_mm), _marks("I", "P"))


def _marks(rows: str, columns: str) -> OrientationLabels:
    """Returns the marks of a picture whose rows and columns grow in these directions."""
    return OrientationLabels(top=_OPPOSITE[rows], right=columns, bottom=rows, left=_OPPOSITE[columns])
