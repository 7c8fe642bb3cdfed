"""What a reader of volumes returns, and how any volume of known directions becomes axial slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.images import MAX_PAGES, MAX_PIXELS, MIN_SIDE

AXIAL = "SPL"
_ALONE = {"S": AXIAL, "P": "PIL", "L": "LIP"}  # how a lone slice of each plane is customarily shown
_LETTERS = ("LR", "PA", "IS")  # of the R, A and S axes: where negative numbers lie, and positive ones
_OBLIQUE_DEGREES = 15.0
_MIN_DETERMINANT = 0.1  # below it the three directions lie almost in one plane
_COARSE_MM = 2.0
_COARSE_RATIO = 2.0

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Volume:
    """Voxels as a reader of files found them, with what the file says of them.

    Attributes:
        voxels: (D, H, W) float32, in the units of the file; may be a turned view of what was read.
        spacing_mm: (slice, row, column) spacing, or None where the file does not say.
        orientation: the directions in which slice, row and column index grow, or None where the file does not say.
        modality: ``"MR"``, ``"CT"`` ..., or None where the file does not say.
        warnings: plain sentences that the reader must see.
    """

    voxels: np.ndarray
    spacing_mm: Spacing | None
    orientation: str | None
    modality: str | None
    warnings: tuple[str, ...] = ()


def axial_volume(
    voxels: np.ndarray,
    directions: np.ndarray,
    spacing_mm: Spacing,
    modality: str | None = None,
    warnings: tuple[str, ...] = (),
) -> Volume:
    """Returns a volume turned to axial slices from inferior to superior, rows to posterior, columns to the left.

    Axes are swapped and flipped to the closest of these directions; nothing is interpolated or copied. A lone slice
    of another plane stays one slice, shown as is customary in its plane.

    Args:
        voxels: (D, H, W) float32.
        directions: (3, 3), row i the unit vector along which axis i of the voxels grows, in mm to the right,
            anterior and superior of the patient.
        spacing_mm: between voxels along each axis.
        modality: as the file says.
        warnings: sentences that the volume already carries; those about the turning are added.

    Raises:
        ScanError: directions or spacings are no geometry, or the slices are too small or too many.
    """
    directions = np.asarray(directions, dtype=np.float64)
    _check_geometry(directions, spacing_mm)
    closest = _closest_axes(directions)
    thin = voxels.shape.index(1) if 1 in voxels.shape else None
    target = AXIAL if thin is None else _ALONE["LPS"[closest[thin]]]
    order, flipped = _moves(closest, directions, target)
    turned = voxels.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flipped)]
    check_size(turned.shape)
    spacing = (spacing_mm[order[0]], spacing_mm[order[1]], spacing_mm[order[2]])
    coarse = _coarseness(spacing) if thin is None else ()
    return Volume(turned, spacing, target, modality, (*warnings, *_obliqueness(directions, closest), *coarse))


def check_size(shape: Sequence[int]) -> None:
    """Checks the size of a volume (D, H, W) of Python integers; call it before anything is allocated.

    Raises:
        ScanError: there are too many voxels or slices, or a slice is too small to hold anatomy.
    """
    depth, height, width = shape
    if depth * height * width > MAX_PIXELS:
        raise ScanError(
            f"Expected at most {MAX_PIXELS // 1_000_000} million voxels, got {depth} slices of {height} x {width}: "
            "export it at a coarser resolution."
        )
    if depth > MAX_PAGES:
        raise ScanError(f"Expected at most {MAX_PAGES} slices, got {depth}: export fewer.")
    if min(height, width) < MIN_SIDE:
        raise ScanError(f"Expected slices of at least {MIN_SIDE} x {MIN_SIDE} pixels, got {height} x {width}.")


def _check_geometry(directions: np.ndarray, spacing_mm: Spacing) -> None:
    is_sound = np.isfinite(directions).all() and abs(np.linalg.det(directions)) > _MIN_DETERMINANT
    if not is_sound:
        raise ScanError("Expected three directions in space, got an orientation that is none: export the scan again.")
    if not all(np.isfinite(spacing) and spacing > 0 for spacing in spacing_mm):
        got = " x ".join(f"{spacing:g}" for spacing in spacing_mm)
        raise ScanError(f"Expected distances between voxels above 0 mm, got {got}: export the scan again.")


def _closest_axes(directions: np.ndarray) -> tuple[int, ...]:
    """Returns, for each axis of the voxels, which axis of the patient (0 R, 1 A, 2 S) it follows; each occurs once."""
    along = np.abs(directions)
    return max(permutations(range(3)), key=lambda axes: sum(along[i, axis] for i, axis in enumerate(axes)))


def _moves(closest: tuple[int, ...], directions: np.ndarray, target: str) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """Returns which axis of the voxels comes first, second and third, and which of these is to be turned over."""
    wanted = [next(axis for axis in range(3) if letter in _LETTERS[axis]) for letter in target]
    order = tuple(closest.index(axis) for axis in wanted)
    grows = [_LETTERS[axis][int(directions[i, axis] > 0)] for i, axis in zip(order, wanted, strict=True)]
    return order, tuple(letter != goal for letter, goal in zip(grows, target, strict=True))


def _obliqueness(directions: np.ndarray, closest: tuple[int, ...]) -> tuple[str, ...]:
    cosines = [abs(directions[i, axis]) / np.linalg.norm(directions[i]) for i, axis in enumerate(closest)]
    degrees = float(np.degrees(np.arccos(min(1.0, *cosines))))
    if degrees <= _OBLIQUE_DEGREES:
        return ()
    return (f"The scan lies oblique by {degrees:.0f} degrees: its slices are shown as the closest standard plane.",)


def _coarseness(spacing: Spacing) -> tuple[str, ...]:
    """Returns a sentence where pixels of a slice are so long that the scan was acquired in another plane."""
    _, row, column = spacing
    if max(row, column) < _COARSE_MM or max(row, column) < _COARSE_RATIO * min(row, column):
        return ()
    plane = "coronal" if row > column else "sagittal"
    return (
        f"The scan was acquired in {plane} slices {max(row, column):.1f} mm apart: its axial slices are interpolated "
        "and coarse.",
    )
