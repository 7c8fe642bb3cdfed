"""The planes in which a scan can be viewed: where each voxel of their slices lies, pixel size, orientation labels."""

from dataclasses import dataclass

import numpy as np

from sslmri.scans.scan import Scan
from sslmri.scans.volume import AXIAL
from sslmri.screening.messages import orientation_labels

_PLANE_OF = {"S": "axial", "I": "axial", "P": "coronal", "A": "coronal", "L": "sagittal", "R": "sagittal"}


@dataclass(frozen=True)
class Plane:
    """How the slices of a plane lie in the voxels of a scan, one byte each.

    Attributes:
        name: of the plane, empty where it is unknown.
        shape: number of slices, rows and columns.
        start: position of the first voxel among all.
        steps: from one slice, row and column to the next.
        pixel: height and width of a pixel, in mm where they are known.
        labels: letter of the patient's side at the top, right, bottom and left; None where the orientation is unknown.
        size: of a pixel, and what is unknown, for display.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    steps: tuple[int, ...]
    pixel: tuple[float, float]
    labels: tuple[str, str, str, str] | None
    size: str


def planes_of(scan: Scan, voxels: np.ndarray) -> list[Plane]:
    """Returns the planes of a scan, that of its slices first: all three for an axial volume of known spacing.

    The head is up in coronal and sagittal slices. Voxels are those of the scan as uint8, (D, H, W), perhaps with fewer
    rows and columns.
    """
    known, orientation = scan.info.spacing_mm, scan.info.orientation
    of_file = known[1:] if known else (1.0, 1.0)
    mm = tuple(a * b / c for a, b, c in zip(of_file, scan.voxels.shape[1:], voxels.shape[1:], strict=True))
    labels = orientation_labels(orientation)
    size = _size(known[1:] if known else None, labels)
    name = _PLANE_OF[orientation[0]] if orientation else ""
    planes = [_plane(name, voxels, voxels, (mm[0], mm[1]), labels, size)]
    if known and orientation == AXIAL and len(voxels) > 1:
        upright = voxels[::-1]
        for name, axes, row, side in (("coronal", (1, 0, 2), mm[1], "L"), ("sagittal", (2, 0, 1), mm[0], "P")):
            labels = orientation_labels(f"{side}I{side}")
            size = _size((known[0], known[2] if name == "coronal" else known[1]), labels)
            planes.append(_plane(name, voxels, upright.transpose(axes), (known[0], row), labels, size))
    return planes


def _plane(
    name: str,
    voxels: np.ndarray,
    view: np.ndarray,
    pixel: tuple[float, float],
    labels: tuple[str, str, str, str] | None,
    size: str,
) -> Plane:
    start = view.__array_interface__["data"][0] - voxels.__array_interface__["data"][0]
    return Plane(name, view.shape, start, view.strides, pixel, labels, size)


def _size(pixel_mm: tuple[float, float] | None, labels: tuple[str, str, str, str] | None) -> str:
    known = [" x ".join(f"{mm:.2f}" for mm in pixel_mm) + " mm per pixel"] if pixel_mm else []
    unknown = [*([] if pixel_mm else ["pixel size"]), *([] if labels else ["orientation"])]
    return ", ".join([*known, *([f"{' and '.join(unknown)} unknown"] if unknown else [])])
