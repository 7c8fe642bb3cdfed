"""The slices of one DICOM series put in order by where they lie in the patient."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.volume import Volume, axial_volume, check_size

_PARALLEL = 0.999  # cosine of 2.6 degrees
_SAME_PLACE_MM = 0.02
_GAP = 1.5  # steps between neighbours from which on a slice is missing
_UNEVEN = 0.1  # share of the step that neighbours may differ by
_SAME_SPACING = 0.01  # share of the pixel spacing that slices of one series may differ by
_SMALLEST_FIELD_MM = 80.0  # a small child's head is larger; animals and cut-outs are not
_FROM = ("the left", "behind", "below")  # where counting along the R, A and S axes begins
_TO_RAS = np.array([-1.0, -1.0, 1.0])  # DICOM counts to the patient's left and to posterior


@dataclass(frozen=True)
class Place:
    """Where a slice lies.

    Attributes:
        position: (3,) of its first pixel in mm, to the patient's left, posterior and superior.
        directions: (2, 3) unit vectors along which the column and the row index grow, in the same axes.
        spacing_mm: between rows and between columns.
    """

    position: np.ndarray
    directions: np.ndarray
    spacing_mm: tuple[float, float]


@dataclass(frozen=True)
class SliceImage:
    """One slice of a DICOM file.

    Attributes:
        pixels: (H, W), the stored integers.
        slope, intercept: from stored integers to the file's values.
        is_inverted: whether high values are dark (MONOCHROME1).
        number: its place in the series as the file counts, or None.
        place: where it lies, or None where the file does not say.
        thickness_mm: of the slice or to its neighbour, or None.
    """

    pixels: np.ndarray
    slope: float
    intercept: float
    is_inverted: bool
    number: int | None
    place: Place | None
    thickness_mm: float | None


def assemble(images: Sequence[SliceImage]) -> Volume:
    """Returns the slices of one series as a volume, axial where it is known how they lie.

    Raises:
        ScanError: the slices differ in size or direction, several lie at one position, or they are too many.
    """
    shapes = {image.pixels.shape for image in images}
    if len(shapes) > 1 or len({image.is_inverted for image in images}) > 1:
        raise ScanError("Expected slices of one size and kind, got several: upload one series.")
    check_size((len(images), *next(iter(shapes))))
    places = [image.place for image in images if image.place is not None]
    return _placed(images, places) if len(places) == len(images) else _unplaced(images)


def _unplaced(images: Sequence[SliceImage]) -> Volume:
    numbers = {image.number for image in images if image.number is not None}
    if len(numbers) == len(images):
        images = sorted(images, key=lambda image: image.number or 0)
    order = "The files do not say where their slices lie: they are shown in the order of their numbers, sides unknown."
    return Volume(_stacked(images), None, None, None, (order,) if len(images) > 1 else ())


def _placed(images: Sequence[SliceImage], places: Sequence[Place]) -> Volume:
    normal = _normal(places)
    heights = np.array([place.position @ normal for place in places])
    order = np.argsort(heights, kind="stable")
    kept, heights, twins = _without_twins([images[i] for i in order], heights[order])
    columns, rows = places[0].directions
    directions = np.stack([normal, rows, columns]) * _TO_RAS
    _check_field(kept[0].pixels.shape, places[0].spacing_mm)
    step, uneven = _step(heights, directions[0])
    thickness = kept[0].thickness_mm if step is None else step
    spacing = (thickness or 1.0, *places[0].spacing_mm)
    volume = axial_volume(_stacked(kept), directions, spacing, warnings=(*twins, *uneven))
    return volume if thickness else replace(volume, spacing_mm=None)


def _normal(places: Sequence[Place]) -> np.ndarray:
    """Returns the direction (3,) across the slices, towards the patient's right, front or head.

    Raises:
        ScanError: the slices are not parallel, or their pixels differ in spacing.
    """
    normals = np.stack([np.cross(*place.directions) for place in places])
    if (normals @ normals[0] < _PARALLEL).any():
        raise ScanError(
            "Expected a series of parallel slices, got slices of several planes, as a localiser has: upload the "
            "series that was planned with it."
        )
    spacings = np.array([place.spacing_mm for place in places])
    if np.ptp(spacings, axis=0).max() > _SAME_SPACING * spacings.min():
        raise ScanError("Expected slices of one pixel spacing, got several: upload one series.")
    ras = normals[0] * _TO_RAS
    return normals[0] if ras[np.abs(ras).argmax()] > 0 else -normals[0]


def _check_field(shape: tuple[int, ...], spacing_mm: tuple[float, float]) -> None:
    height, width = (count * spacing for count, spacing in zip(shape, spacing_mm, strict=True))
    if max(height, width) < _SMALLEST_FIELD_MM:
        raise ScanError(
            f"Expected slices as large as a human head, got a field of {height:.0f} x {width:.0f} mm: upload a whole "
            "slice of the head."
        )


def _without_twins(
    images: Sequence[SliceImage], heights: np.ndarray
) -> tuple[list[SliceImage], np.ndarray, tuple[str, ...]]:
    """Returns slices, their heights along the normal in mm, and a warning where some came twice.

    Raises:
        ScanError: different images lie at one height.
    """
    is_new = np.diff(heights, prepend=-np.inf) > _SAME_PLACE_MM
    if is_new.all():
        return list(images), heights, ()
    for i in map(int, np.flatnonzero(~is_new)):
        if not np.array_equal(images[i].pixels, images[i - 1].pixels):
            raise ScanError(
                f"Expected one image at each position, got {len(images)} images at {is_new.sum()} positions (time "
                "points, echoes or diffusion weightings): export one volume of them."
            )
    kept = [image for image, new in zip(images, is_new, strict=True) if new]
    return kept, heights[is_new], (f"Images that lie where an equal one does count once: {(~is_new).sum()} left out.",)


def _step(heights: np.ndarray, ras: np.ndarray) -> tuple[float | None, tuple[str, ...]]:
    """Returns the distance of neighbouring slices in mm, None for a lone slice, and warnings where it is not even."""
    if len(heights) == 1:
        return None, ()
    steps = np.diff(heights)
    step = float(np.median(steps))
    gaps = np.flatnonzero(steps > _GAP * step)
    if len(gaps):
        n_missing = round(float(steps[gaps].sum()) / step) - len(gaps)
        side = _FROM[int(np.abs(ras).argmax())]
        return step, (
            f"Expected slices {step:.1f} mm apart, got a gap of {steps[gaps[0]]:.1f} mm after slice {gaps[0] + 1}, "
            f"counted from {side}: {n_missing} slices are missing in {len(gaps)} places, distances across them are "
            "wrong.",
        )
    if (np.abs(steps - step) > _UNEVEN * step).any():
        return step, (f"The slices lie unevenly, {steps.min():.1f} to {steps.max():.1f} mm apart: {step:.1f} is used.",)
    return step, ()


def _stacked(images: Sequence[SliceImage]) -> np.ndarray:
    """Returns the values of slices, (D, H, W) float32, MONOCHROME1 turned over."""
    voxels = np.empty((len(images), *images[0].pixels.shape), dtype=np.float32)
    for plane, image in zip(voxels, images, strict=True):
        np.multiply(image.pixels, np.float32(image.slope), out=plane, casting="unsafe")
        plane += np.float32(image.intercept)
    if images[0].is_inverted:
        np.subtract(voxels.max(), voxels, out=voxels)
    return voxels
