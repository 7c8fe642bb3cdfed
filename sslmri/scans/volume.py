"""What a reader of volumes returns, and how any volume of known orientation becomes axial slices."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.limits import check_size
from sslmri.scans.scan import Spacing

AXIAL = "SPL"
_SINGLE_SLICE = {"S": AXIAL, "A": "PIL", "R": "LIP"}  # customary display of a slice across each axis of the patient
_OBLIQUE_DEGREES = 15.0
_MIN_DETERMINANT = 0.1  # below it the three directions lie almost in one plane
_COARSE_MM = 2.0
_COARSE_RATIO = 2.0


@dataclass(frozen=True)
class Volume:
    """Voxels as a reader of files found them, with what the file says of them.

    Attributes:
        voxels: (D, H, W) float32, in the units of the file; may be a reoriented view of what was read.
        spacing_mm, orientation, modality, sequence, decade, warnings: as in ``ScanInfo``.
        source: ``"MGH"`` where that was found in gzip data, else None.
        origins: of each DICOM slice as it was acquired, in order of position: the number of its file, and of the frame
            in it, both from 1 on.
        axes: which axis of these slices as acquired (slice, row, column) became which of the voxels, and its sign, as
            nibabel's orientations; None where slices were moved or their positions are unknown.
    """

    __pydantic_config__: ClassVar = {"arbitrary_types_allowed": True}  # of what checks it after it was sent

    voxels: np.ndarray
    spacing_mm: Spacing | None = None
    orientation: str | None = None
    modality: str | None = None
    sequence: str | None = None
    decade: int | None = None
    warnings: tuple[str, ...] = ()
    source: str | None = None
    origins: tuple[tuple[int, int], ...] = ()
    axes: tuple[tuple[float, float], ...] | None = None


def axial_volume(
    voxels: np.ndarray, directions: np.ndarray, spacing_mm: Spacing, warnings: tuple[str, ...] = ()
) -> Volume:
    """Returns a volume as axial slices from inferior to superior, rows to posterior, columns to the left.

    Axes are swapped and flipped to the closest of these directions; nothing is interpolated or copied. A single slice
    of another plane stays one slice, displayed as is customary in its plane.

    Args:
        voxels: (D, H, W) float32.
        directions: (3, 3), row i the unit vector along which axis i of the voxels grows, in mm to the right,
            anterior and superior of the patient.
        spacing_mm: between voxels along each axis.
        warnings: sentences that the volume already carries; those about its orientation are added.

    Raises:
        ScanError: directions or spacings are no geometry, or the slices are too small or too many.
    """
    from nibabel import orientations  # here, as it takes half a second that images need not wait for

    directions = np.asarray(directions, dtype=np.float64)
    if fault := _fault_of(directions, spacing_mm):
        raise ScanError(fault)
    affine = np.eye(4)
    affine[:3, :3] = directions.T
    axes = orientations.io_orientation(affine)  # (3, 2): closest axis of the patient (0 R, 1 A, 2 S), and its sign
    is_single = 1 in voxels.shape
    target = _SINGLE_SLICE["RAS"[int(axes[voxels.shape.index(1), 0])]] if is_single else AXIAL
    move = orientations.ornt_transform(axes, orientations.axcodes2ornt(target))
    oriented = orientations.apply_orientation(voxels, move)
    check_size(oriented.shape)
    slice_mm, row_mm, column_mm = (spacing_mm[i] for i in np.argsort(move[:, 0]))
    warnings += _oblique_warning(np.abs(directions[range(3), axes[:, 0].astype(int)]))
    if not is_single:
        warnings += _coarse_warning(row_mm, column_mm)
    move_of_axis = tuple((float(axis), float(sign)) for axis, sign in move)
    return Volume(oriented, (slice_mm, row_mm, column_mm), target, warnings=warnings, axes=move_of_axis)


def directions_of(steps: np.ndarray) -> tuple[np.ndarray, Spacing]:
    """Returns the unit vectors (3, 3) of the steps along three axes, and their lengths."""
    with np.errstate(all="ignore"):  # what is not finite here is refused as an invalid geometry
        lengths = np.linalg.norm(steps, axis=1)
        directions = steps / lengths[:, None]
    first, second, third = map(float, lengths)
    return directions, (first, second, third)


def is_geometry(steps: np.ndarray) -> bool:
    """Returns whether steps (3, 3) along three axes span a volume."""
    return not _fault_of(*directions_of(steps))


def _fault_of(directions: np.ndarray, spacing_mm: Spacing) -> str | None:
    if not (np.isfinite(directions).all() and abs(np.linalg.det(directions)) > _MIN_DETERMINANT):
        return "The orientation in the file header is invalid. Export the scan again."
    if not all(np.isfinite(spacing) and spacing > 0 for spacing in spacing_mm):
        spacings = " x ".join(f"{spacing:g}" for spacing in spacing_mm)
        return f"The voxel spacing in the file header is invalid ({spacings} mm). Export the scan again."
    return None


def _oblique_warning(cosines: np.ndarray) -> tuple[str, ...]:
    """Returns a warning where an axis is far from the axis of the patient that it stands for."""
    degrees = float(np.degrees(np.arccos(min(1.0, *cosines))))
    if degrees <= _OBLIQUE_DEGREES:
        return ()
    return (f"The scan is oblique by {degrees:.0f} degrees: its slices are shown as the closest standard plane.",)


def _coarse_warning(row_mm: float, column_mm: float) -> tuple[str, ...]:
    """Returns a warning where pixels of a slice are so long that the scan was acquired in another plane."""
    longer = max(row_mm, column_mm)
    if longer < _COARSE_MM or longer < _COARSE_RATIO * min(row_mm, column_mm):
        return ()
    plane = "coronal" if row_mm > column_mm else "sagittal"
    return (
        f"The scan was acquired in {plane} slices {longer:.1f} mm apart: its axial slices are interpolated and coarse.",
    )
