"""What a DICOM file says of each of its frames: values, position, thickness; nothing of the patient."""

from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from sslmri.errors import ScanError
from sslmri.scans.dicom_frames import DAMAGED, Size, decoded_frames, stored_bits
from sslmri.scans.series import SliceImage, SlicePosition

_MAX_MM = 100.0
_SKEW = 0.01  # cosine between rows and columns up to which they count as perpendicular


def slice_images(dataset: Dataset, size: Size, file: int) -> list[SliceImage]:
    """Returns the frames of the file of that number, decoded, with what its tags or functional groups say of each.

    Raises:
        ScanError: the frames are not as the header says, or their values cannot be rescaled.
        Exception: whatever the decoder raises on damaged data.
    """
    groups = _functional_groups(dataset, size[0])
    stacks = {_value(Dataset(), own_groups, "FrameContentSequence", "StackID") for own_groups in groups} - {None}
    if 1 < len(stacks) < len(groups):  # where each frame has an identifier of its own, these say nothing
        raise ScanError(f"The file holds {len(stacks)} stacks of slices. Export one of them.")
    frames = zip(decoded_frames(dataset, size), groups, strict=True)
    return [_slice_image(dataset, (file, frame), *found) for frame, found in enumerate(frames, start=1)]


def _functional_groups(dataset: Dataset, count: int) -> list[list[Dataset]]:
    """Returns, for each frame, the groups that may hold its values: those of the frame, then the shared ones."""
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or ())[:1]
    per_frame = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    if per_frame and len(per_frame) != count:
        raise ScanError(DAMAGED)
    return [[*per_frame[i : i + 1], *shared] for i in range(count)]


def _slice_image(dataset: Dataset, origin: tuple[int, int], pixels: np.ndarray, groups: list[Dataset]) -> SliceImage:
    number = dataset.get("InstanceNumber")
    is_single, directions = int(dataset.get("NumberOfFrames") or 1) == 1, _directions(dataset, groups)
    slope = _number(_value(dataset, groups, "PixelValueTransformationSequence", "RescaleSlope"), 1.0)
    intercept = _number(_value(dataset, groups, "PixelValueTransformationSequence", "RescaleIntercept"), 0.0)
    if not (np.isfinite(slope) and np.isfinite(intercept) and slope != 0):
        raise ScanError("The rescale slope or intercept of the file is invalid. Export the scan again.")
    return SliceImage(
        pixels=pixels,
        slope=slope,
        intercept=intercept,
        padding=_padding(dataset, pixels.dtype),
        is_inverted=dataset.PhotometricInterpretation == "MONOCHROME1",
        number=origin[1] - 1 if not is_single else None if number is None else int(number),
        normal=None if directions is None else np.cross(*directions),
        position=_position(dataset, groups, is_single, directions),
        thickness_mm=_thickness(dataset, groups),
        origin=origin,
    )


def _value(dataset: Dataset, groups: list[Dataset], sequence: str, keyword: str) -> Any:
    """Returns a value from the first functional group that has it, else from the file's own tags, or None."""
    for group in groups:
        items = group.get(sequence)
        if items and items[0].get(keyword) is not None:
            return items[0].get(keyword)
    return dataset.get(keyword)


def _position(
    dataset: Dataset, groups: list[Dataset], is_single: bool, directions: np.ndarray | None
) -> SlicePosition | None:
    bare = dataset if is_single else Dataset()  # one position for many frames is none
    position = _vector(_value(bare, groups, "PlanePositionSequence", "ImagePositionPatient"), 3)
    spacing = _vector(_value(dataset, groups, "PixelMeasuresSequence", "PixelSpacing"), 2)
    if position is None or directions is None or spacing is None:
        return None
    if not ((spacing > 0) & (spacing < _MAX_MM)).all():
        return None
    return SlicePosition(position, directions, (float(spacing[0]), float(spacing[1])))


def _directions(dataset: Dataset, groups: list[Dataset]) -> np.ndarray | None:
    """Returns the unit vectors (2, 3) along which the column and the row index grow, or None."""
    vector = _vector(_value(dataset, groups, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    if vector is None:
        return None
    directions = vector.reshape(2, 3)
    lengths = np.linalg.norm(directions, axis=1)
    is_sound = np.allclose(lengths, 1.0, atol=_SKEW) and abs(directions[0] @ directions[1]) < _SKEW
    return directions / lengths[:, None] if is_sound else None


def _padding(dataset: Dataset, kind: np.dtype[np.integer]) -> tuple[int, int] | None:
    """Returns the lowest and the highest stored integer that stand for no value, or None.

    A tag that gives the bits of a signed integer as an unsigned one, or the reverse, is read as the pixels are.
    """
    ends = (dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit"))
    values = [end for end in ends if isinstance(end, int)]
    limit = 1 << 8 * kind.itemsize
    if not isinstance(ends[0], int) or not all(-limit // 2 <= value < limit for value in values):
        return None
    cells = np.array([value % limit for value in values], np.uint64).astype(f"u{kind.itemsize}")
    stored = stored_bits(dataset, cells.view(kind.newbyteorder("=")))
    return int(stored.min()), int(stored.max())


def _thickness(dataset: Dataset, groups: list[Dataset]) -> float | None:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        thickness = _number(_value(dataset, groups, "PixelMeasuresSequence", keyword), 0.0)
        if 0 < thickness < _MAX_MM:
            return thickness
    return None


def _number(value: Any, otherwise: float) -> float:
    return otherwise if value is None or value == "" else float(value)


def _vector(value: Any, length: int) -> np.ndarray | None:
    """Returns the numbers of a tag, or None where it is empty, has another length, or one is not finite."""
    numbers = np.array([float(part) for part in value or ()])
    return numbers if len(numbers) == length and np.isfinite(numbers).all() else None
