"""The slices of one DICOM series, in order of their position in the patient."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.limits import check_size
from sslmri.scans.volume import Volume, axial_volume
from sslmri.text import count

_PARALLEL = 0.999  # cosine of 2.6 degrees
_SAME_POSITION_MM = 0.02
_GAP = 1.5  # slice distances, in units of the median, from which on a slice is missing
_UNEVEN = 0.1  # fraction of the median that distances may differ by
_MIN_SHIFT = 2  # pixels by which a slice is displaced against the middle one before slices are aligned
_SAME_SPACING = 0.01  # fraction of the pixel spacing that slices of one series may differ by
_MIN_FIELD_MM = 80.0  # a small child's head is larger; animals and cut-outs are not
_PLANES = ("sagittal", "coronal", "axial")  # of slices across the R, A and S axes
_FROM = ("the left", "behind", "below")  # where counting along the R, A and S axes begins
_SEVERAL = "The slices differ in {}: they are several series. Upload one of them."
_SEVERAL_TIMES = (
    "The series has {} images at {} positions (time points, echoes or diffusion weightings). Export one volume of them."
)
_ONE_POSITION = (
    "All {} images of the series state one position: they repeat one slice, or their positions were removed. Export "
    "the series again with Image Position (Patient)."
)
_UNPOSITIONED = (
    "The files do not state positions and pixel spacing of all slices: slices are in the order of their {}, left and "
    "right unknown."
)
_TO_RAS = np.array([-1.0, -1.0, 1.0])  # DICOM counts to the patient's left and to posterior


@dataclass(frozen=True)
class SlicePosition:
    """Where a slice lies in the patient.

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
        padding: lowest and highest of the stored integers that stand for no value (Pixel Padding Value), or None.
        is_inverted: whether high values are dark (MONOCHROME1).
        number: of the slice in its series, or None where the file does not say.
        normal: (3,) across the slice, in the axes of ``SlicePosition``, or None where the file does not say.
        position: None where the file does not say.
        thickness_mm: of the slice or to its neighbour, or None.
        origin: number of its file, and of the frame in it, both from 1 on.
    """

    pixels: np.ndarray
    slope: float
    intercept: float
    padding: tuple[int, int] | None
    is_inverted: bool
    number: int | None
    normal: np.ndarray | None
    position: SlicePosition | None
    thickness_mm: float | None
    origin: tuple[int, int]


def assemble(images: Sequence[SliceImage]) -> Volume:
    """Returns the slices of one series as a volume, axial where it is known how they lie; padding is NaN.

    Raises:
        ScanError: the slices differ in size or direction, several lie at one position, they are too many, or they
            are not known to be axial and their positions are missing.
    """
    shapes = {image.pixels.shape for image in images}
    if len(shapes) > 1 or len({image.is_inverted for image in images}) > 1:
        raise ScanError(_SEVERAL.format("size or kind"))
    check_size((len(images), *next(iter(shapes))))
    positions = [image.position for image in images if image.position is not None]
    return _positioned(images, positions) if len(positions) == len(images) else _unpositioned(images)


def are_parallel(images: Sequence[SliceImage]) -> bool:
    """Returns whether slices are parallel as far as the file says; those of a localiser are not."""
    normals = np.stack([image.normal for image in images if image.normal is not None] or [np.zeros(3)])
    return not (len(normals) > 1 and (normals @ normals[0] < _PARALLEL).any())


def _unpositioned(images: Sequence[SliceImage]) -> Volume:
    if len(images) > 1:
        _check_axial(images)
    numbers = {image.number for image in images if image.number is not None}
    are_numbered = len(numbers) == len(images)
    if are_numbered:
        images = sorted(images, key=lambda image: image.number or 0)
    order = _UNPOSITIONED.format("numbers" if are_numbered else "files")
    origins = tuple(image.origin for image in images)
    return Volume(_stacked(images), warnings=(order,) if len(images) > 1 else (), origins=origins)


def _check_axial(images: Sequence[SliceImage]) -> None:
    """Checks that slices of unknown position are axial: those of another plane cannot be resliced."""
    normals = [image.normal for image in images if image.normal is not None]
    if len(normals) < len(images):
        raise ScanError(
            "The DICOM files do not state the orientation of their slices, which may not be axial. Export the series "
            "again with Image Position and Image Orientation (Patient)."
        )
    planes = {_PLANES[int(np.abs(normal).argmax())] for normal in normals} - {"axial"}
    if planes:
        raise ScanError(
            f"The slices are {planes.pop()} and the DICOM files do not state their positions, without which axial "
            "slices cannot be made. Export the series again with Image Position (Patient)."
        )


def _positioned(images: Sequence[SliceImage], positions: Sequence[SlicePosition]) -> Volume:
    normal = _normal(positions)
    heights = np.array([position.position @ normal for position in positions])
    order = np.argsort(heights, kind="stable")
    kept, heights, duplicates = _without_duplicates([images[i] for i in order], heights[order])
    _check_numbers([image.number for image in kept])
    columns, rows = positions[0].directions
    directions = np.stack([normal, rows, columns]) * _TO_RAS
    height, width = np.multiply(kept[0].pixels.shape, positions[0].spacing_mm).tolist()
    if max(height, width) < _MIN_FIELD_MM:
        raise ScanError(f"The field of view of {height:.0f} x {width:.0f} mm is too small for a head.")
    distance, uneven = _slice_distance(heights, directions[0])
    thickness = kept[0].thickness_mm if distance is None else distance
    spacing = (thickness or 1.0, *positions[0].spacing_mm)
    voxels, tilted = _straightened(_stacked(kept), [image.position for image in kept if image.position])
    volume = axial_volume(voxels, directions, spacing, warnings=(*duplicates, *uneven, *tilted))
    return replace(
        volume,
        spacing_mm=volume.spacing_mm if thickness else None,
        origins=tuple(image.origin for image in kept),
        axes=None if tilted else volume.axes,
    )


def _normal(positions: Sequence[SlicePosition]) -> np.ndarray:
    """Returns the direction (3,) across the slices, towards the patient's right, front or head.

    Raises:
        ScanError: the slices are not parallel, or their pixels differ in spacing.
    """
    normals = np.stack([np.cross(*position.directions) for position in positions])
    if (normals @ normals[0] < _PARALLEL).any():
        raise ScanError("The slices are not parallel, as in a localiser. Upload the series that was planned with it.")
    spacings = np.array([position.spacing_mm for position in positions])
    if np.ptp(spacings, axis=0).max() > _SAME_SPACING * spacings.min():
        raise ScanError(_SEVERAL.format("pixel spacing"))
    ras = normals[0] * _TO_RAS
    return normals[0] if ras[np.abs(ras).argmax()] > 0 else -normals[0]


def _without_duplicates(
    images: Sequence[SliceImage], heights: np.ndarray
) -> tuple[list[SliceImage], np.ndarray, tuple[str, ...]]:
    """Returns slices, their heights along the normal in mm, and a warning where some are duplicates.

    Raises:
        ScanError: different images lie at one height.
    """
    is_new = np.diff(heights, prepend=-np.inf) > _SAME_POSITION_MM
    if is_new.all():
        return list(images), heights, ()
    for i in map(int, np.flatnonzero(~is_new)):
        if not np.array_equal(images[i].pixels, images[i - 1].pixels):
            several = _SEVERAL_TIMES if is_new.sum() > 1 else _ONE_POSITION
            raise ScanError(several.format(len(images), is_new.sum()))
    kept = [image for image, new in zip(images, is_new, strict=True) if new]
    return kept, heights[is_new], (f"Left out: {count(int((~is_new).sum()), 'duplicate slice')}.",)


def _check_numbers(numbers: Sequence[int | None]) -> None:
    """Refuses two heads in one stack, their slices in turn: each number occurs twice, and none follows its neighbour.

    In a series of several files of many frames the numbers occur twice as well, but follow each other.
    """
    known = [number for number in numbers if number is not None]
    if not 1 < len(set(known)) <= len(numbers) / 2 or len(known) < len(numbers):
        return
    steps = np.sign(np.diff(known))
    if (steps[1:] != steps[:-1]).mean() > 0.5:
        raise ScanError(_SEVERAL_TIMES.format(len(numbers), len(set(known))))


def _straightened(voxels: np.ndarray, positions: Sequence[SlicePosition]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns slices (D, H, W) above each other, and a warning where they were not: whole pixels, NaN where none is.

    Raises:
        ScanError: they are shifted by more than half of their size.
    """
    columns, rows = positions[0].directions
    spacing = positions[0].spacing_mm
    offsets = np.stack([position.position for position in positions]) - positions[len(positions) // 2].position
    shifts = np.rint(np.stack([offsets @ rows / spacing[0], offsets @ columns / spacing[1]], axis=1)).astype(int)
    if np.abs(shifts).max() < _MIN_SHIFT:
        return voxels, ()
    if (2 * np.abs(shifts) > voxels.shape[1:]).any():
        raise ScanError("The slices are shifted against each other by more than half of their size. Export them again.")
    from scipy import ndimage  # here, as other files need not wait for it

    planes = zip(voxels, shifts, strict=True)
    straight = np.stack([ndimage.shift(plane, shift, order=0, cval=np.nan) for plane, shift in planes])
    drift = float(np.linalg.norm(np.ptp(shifts, axis=0) * spacing))
    return straight, (
        f"The stack is tilted: its slices are shifted against each other by up to {drift:.0f} mm. They were aligned in "
        "whole pixels.",
    )


def _slice_distance(heights: np.ndarray, normal_ras: np.ndarray) -> tuple[float | None, tuple[str, ...]]:
    """Returns the distance of adjacent slices in mm, None for a single slice, and a warning where it is uneven.

    Raises:
        ScanError: more slices are missing between them than there are.
    """
    if len(heights) == 1:
        return None, ()
    distances = np.diff(heights)
    median = float(np.median(distances))
    gaps = np.flatnonzero(distances > _GAP * median)
    if len(gaps):
        n_missing = round(float(distances[gaps].sum()) / median) - len(gaps)
        if n_missing > len(heights):
            raise ScanError(
                f"The slices lie in {len(gaps) + 1} separate stacks, up to {distances.max():.0f} mm apart. "
                "Upload one of them."
            )
        side = _FROM[int(np.abs(normal_ras).argmax())]
        return median, (
            f"Missing: {count(n_missing, 'slice')} in {count(len(gaps), 'place')}; distances across them are wrong. "
            f"The first gap is {distances[gaps[0]]:.1f} mm, after slice {gaps[0] + 1} from {side}; slices are "
            f"{median:.1f} mm apart.",
        )
    if (np.abs(distances - median) > _UNEVEN * median).any():
        return median, (
            f"Slice spacing is uneven, {distances.min():.1f} to {distances.max():.1f} mm: {median:.1f} mm is used.",
        )
    return median, ()


def _stacked(images: Sequence[SliceImage]) -> np.ndarray:
    """Returns the values of slices, (D, H, W) float32, padding NaN, MONOCHROME1 inverted."""
    voxels = np.empty((len(images), *images[0].pixels.shape), dtype=np.float32)
    for plane, image in zip(voxels, images, strict=True):
        np.multiply(image.pixels, np.float32(image.slope), out=plane, casting="unsafe")
        plane += np.float32(image.intercept)
        if image.padding is not None:
            plane[(image.pixels >= image.padding[0]) & (image.pixels <= image.padding[1])] = np.nan
    if images[0].is_inverted:
        np.subtract(np.fmax.reduce(voxels, axis=None), voxels, out=voxels)
    return voxels
