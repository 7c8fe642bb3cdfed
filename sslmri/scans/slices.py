"""From a scan to the slices that the encoder sees: the one path shared by training, evaluation and the app."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from sslmri.errors import ScanError
from sslmri.scans.scan import Scan
from sslmri.scans.volume import AXIAL

_FINE_SIDE = 512  # pixels along the shorter side from which on a picture is finer than its head's outline needs
_OUTLINE_SIDE = 128  # pixels that then remain at least
MAX_SLICES = 48  # of one scan: what lies between them adds time and no other answer
_HEAD_MM = 160.0  # from the vertex to the base of the skull: neck and shoulders below are no part of the head
_HEAD_AREA = 0.10  # share of the largest bright area that a slice of the head shows at least
_SQUARE_TOLERANCE = 0.01  # relative difference of row and column spacing that is no difference
_SQUARE_SIDE = 1024  # pixels to which square pixels may stretch a slice at most
HEAD_LEVEL = 0.10  # share of the grey range above which a pixel belongs to the head: above JPEG rings and air noise


@dataclass(frozen=True)
class Preparation:
    """How a slice is prepared. Saved with every model, so that what is screened is prepared as what was learned.

    Attributes:
        image_size: (H, W) of a prepared slice, in pixels.
        plane: the plane of the slices.
        slice_fraction: middle share of a volume's slices, or of its head where spacing and orientation are known, that
            is used; the outer ones hold little brain.
        intensity_percentiles: grey values inside the head that become 0 and 255.
        crop_to_head: whether the slice is cut to the head's box before it is resized. Framing then says nothing; kept,
            it carries the size of the head and the habits of the scanner.
        margin_fraction: border left around a cropped head, as a share of the longer side of its box.
        mean, std: of prepared grey values in [0, 1], near those of the training slices of the real cohorts.
        slice_spacing_mm: between the slices taken from a volume of known spacing; neighbours closer than this say
            nearly the same.
    """

    image_size: tuple[int, int] = (128, 128)
    plane: str = "axial"
    slice_fraction: float = 0.6
    intensity_percentiles: tuple[float, float] = (1.0, 99.5)
    crop_to_head: bool = False
    margin_fraction: float = 0.04
    mean: float = 0.25
    std: float = 0.29
    slice_spacing_mm: float = 4.0


def to_slices(scan: Scan, preparation: Preparation) -> np.ndarray:
    """Returns the prepared slices of a scan: (S, H, W) uint8; ``numbered_slices`` says which of the scan's they are.

    Raises:
        ScanError: no slice shows anything.
    """
    return numbered_slices(scan, preparation)[0]


def numbered_slices(scan: Scan, preparation: Preparation) -> tuple[np.ndarray, tuple[int, ...]]:
    """Returns the prepared slices of a scan, (S, H, W) uint8, and the number of each in the scan, from 1 on.

    A volume whose orientation and spacing are known gives a slice every ``slice_spacing_mm`` from the middle of its
    head, any other one its middle slices, evenly thinned. Each slice is brought to square pixels where they are not,
    is scaled in intensity by percentiles taken inside the head, padded to the aspect ratio of
    ``image_size`` (or cut to the head's box) and resized. Slices in which no head is found are left out.

    Raises:
        ScanError: no slice shows anything.
    """
    prepared = {}
    for index in _chosen(scan, preparation):
        slice_ = _prepare(square_pixels(scan.voxels[index], scan.spacing_mm), preparation)
        if slice_ is not None:
            prepared[index + 1] = slice_
    if not prepared:
        raise ScanError(
            f"Expected a picture of a head, got {scan.name} in which every pixel is alike: export it again."
        )
    return np.stack(list(prepared.values())), tuple(prepared)


def slice_indices(n_slices: int, fraction: float) -> range:
    """Returns the indices of the middle ``fraction`` of ``n_slices`` slices, at least one."""
    count = max(1, round(n_slices * fraction))
    start = (n_slices - count) // 2
    return range(start, start + count)


def _chosen(scan: Scan, preparation: Preparation) -> list[int]:
    """Returns the indices of the slices that are prepared, in ascending order, at most MAX_SLICES."""
    n_slices, step = len(scan.voxels), 1
    first, count = 0, n_slices
    if n_slices > 1 and scan.orientation == AXIAL and scan.spacing_mm is not None:
        first, count = _head_slices(scan.voxels, scan.spacing_mm[0])
        step = max(1, min(count, round(preparation.slice_spacing_mm / scan.spacing_mm[0])))
    middle = slice_indices(count, preparation.slice_fraction)
    start = (len(middle) - 1) % step // 2
    indices = [first + i for i in middle[start::step]]
    if len(indices) <= MAX_SLICES:
        return indices
    return [indices[i] for i in np.linspace(0, len(indices) - 1, MAX_SLICES).round().astype(int)]


def _head_slices(voxels: np.ndarray, spacing_mm: float) -> tuple[int, int]:
    """Returns the first slice of the head and how many it has, in a volume (D, H, W) from inferior to superior."""
    stride = max(1, min(voxels.shape[1:]) // 64)
    coarse = voxels[:, ::stride, ::stride]
    low, high = np.percentile(coarse, (0.5, 99.5))
    areas = np.count_nonzero(coarse > low + HEAD_LEVEL * (high - low), axis=(1, 2))
    shown = np.flatnonzero(areas > _HEAD_AREA * areas.max())
    if not len(shown):
        return 0, len(voxels)
    count = min(int(shown[-1] - shown[0]) + 1, max(1, round(min(_HEAD_MM / spacing_mm, len(voxels)))))
    return int(shown[-1]) + 1 - count, count


def square_pixels(image: np.ndarray, spacing_mm: tuple[float, float, float] | None) -> np.ndarray:
    """Returns a slice (H, W) with pixels as wide as high, by the finer of its two spacings; alike it comes back as is.

    Args:
        image: grey values, float32.
        spacing_mm: (slice, row, column) spacing of the scan, or None where it is unknown and taken as square.
    """
    if spacing_mm is None or abs(spacing_mm[1] / spacing_mm[2] - 1) <= _SQUARE_TOLERANCE:
        return image
    height, width = image.shape[0] * spacing_mm[1], image.shape[1] * spacing_mm[2]
    pixel = max(min(spacing_mm[1:]), max(height, width) / _SQUARE_SIDE)
    size = max(1, round(width / pixel)), max(1, round(height / pixel))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def head_mask(image: np.ndarray) -> np.ndarray:
    """Returns where the head is: the largest bright region of a slice (H, W) with its holes filled, as bool (H, W).

    From 512 pixels along the shorter side on its outline is looked for in the means of blocks.
    """
    if min(image.shape) < _FINE_SIDE:
        return _head_mask(_as_bytes(image))
    factor = min(image.shape) // _OUTLINE_SIDE
    mask = _head_mask(_as_bytes(np.asarray(Image.fromarray(_as_bytes(image)).reduce(factor))))
    height, width = image.shape
    return mask.repeat(factor, axis=0).repeat(factor, axis=1)[:height, :width]


def _head_mask(image: np.ndarray) -> np.ndarray:
    low, high = _percentiles(image, (0.5, 99.5))
    level = low + HEAD_LEVEL * (high - low)
    labels, count = ndimage.label(image > (np.uint8(level) if image.dtype == np.uint8 else level))
    if count == 0:
        return np.zeros(image.shape, dtype=bool)
    return _filled(labels == _largest(labels, count))


def _largest(labels: np.ndarray, count: int) -> int:
    """Returns the label of the largest region; 0 is what lies outside of all."""
    sizes = _counts(labels.astype(np.uint8)) if count < 256 else np.bincount(labels.ravel())
    sizes[0] = 0
    return int(sizes.argmax())


def _filled(region: np.ndarray) -> np.ndarray:
    """Returns a region, bool (H, W), with its holes filled: what ndimage.binary_fill_holes returns, in less time."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    labels, _ = ndimage.label(np.pad(~region[box], 1, constant_values=True))  # the border joins all that is outside
    filled = np.zeros_like(region)
    filled[box] = labels[1:-1, 1:-1] != labels[0, 0]
    return filled


def _as_bytes(image: np.ndarray) -> np.ndarray:
    """Returns an image whose grey values are all bytes as uint8, any other as it is."""
    with np.errstate(invalid="ignore"):
        grey = image.astype(np.uint8)
    return grey if np.array_equal(grey, image) else image


def _counts(grey: np.ndarray) -> np.ndarray:
    """Returns how often each byte occurs: (256,). Pillow counts bytes several times faster than NumPy."""
    return np.array(Image.fromarray(grey.reshape(1, -1)).histogram())


def _percentiles(values: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    """Returns what np.percentile returns, bit for bit; bytes are counted in place of sorted."""
    if values.dtype != np.uint8:
        return np.percentile(values, percentiles)
    ends = np.cumsum(_counts(values))  # of each value's run among the sorted values
    place = np.asarray(percentiles) / 100 * (values.size - 1)
    below, above = (np.searchsorted(ends, rank, side="right") for rank in (np.floor(place), np.ceil(place)))
    share = place - np.floor(place)
    return np.where(share < 0.5, below + (above - below) * share, above - (above - below) * (1 - share))


def _prepare(image: np.ndarray, preparation: Preparation) -> np.ndarray | None:
    image = _as_bytes(image)
    mask = head_mask(image)
    if not mask.any():
        return None
    low, high = _percentiles(image[mask], preparation.intensity_percentiles)
    if not high > low:
        return None
    box = _box(mask, preparation)
    height, width = preparation.image_size
    scaled = Image.fromarray(_crop(_scaled(image, low, high), box))
    resized = scaled.resize((width, height), Image.Resampling.BILINEAR)
    return np.rint(np.asarray(resized) * 255.0).astype(np.uint8)


def _scaled(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns grey values with low at 0 and high at 1, the others clipped: (H, W) float32."""
    values = np.arange(256, dtype=np.float32) if image.dtype == np.uint8 else image.astype(np.float32)
    scaled = np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32)
    return np.take(scaled, image) if image.dtype == np.uint8 else scaled


def region_in_slice(image: np.ndarray, region: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Returns a region of a picture, bool (H, W), where ``to_slices`` puts it: bool of the prepared slice's shape.

    Padded or cut and resized as the picture is; a pixel belongs to the region when half of what it shows does.
    """
    moved = _crop(region.astype(np.float32), _box(head_mask(image), preparation))
    height, width = preparation.image_size
    return np.asarray(Image.fromarray(moved).resize((width, height), Image.Resampling.BILINEAR)) >= 0.5


def shown_box(
    image: np.ndarray, spacing_mm: tuple[float, float, float] | None, preparation: Preparation
) -> tuple[float, float, float, float]:
    """Returns what of a slice (H, W) its prepared slice shows: top, left, height, width as shares of the slice's own.

    What is padded reaches beyond the slice: a top or a left below 0, a height or a width above 1.
    """
    square = square_pixels(image, spacing_mm)
    mask = head_mask(square) if preparation.crop_to_head else np.ones(square.shape, dtype=bool)
    top, left, box_height, box_width = _box(mask, preparation)
    height, width = square.shape
    return top / height, left / width, box_height / height, box_width / width


def _box(mask: np.ndarray, preparation: Preparation) -> tuple[int, int, int, int]:
    """Returns (top, left, height, width) around the slice or its head, in the aspect ratio of ``image_size``."""
    margin = 2 * preparation.margin_fraction if preparation.crop_to_head else 0.0
    shown = mask if preparation.crop_to_head else np.ones_like(mask)
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    target_height, target_width = preparation.image_size
    unit = max(height / target_height, width / target_width) * (1 + margin)
    box_height, box_width = max(1, round(target_height * unit)), max(1, round(target_width * unit))
    top = round((rows[0] + rows[-1] + 1 - box_height) / 2)
    left = round((columns[0] + columns[-1] + 1 - box_width) / 2)
    return top, left, box_height, box_width


def _crop(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Returns the box of an image (H, W), with zeros where the box leaves the image."""
    top, left, height, width = box
    out = np.zeros((height, width), dtype=np.float32)
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + height, image.shape[0]), min(left + width, image.shape[1])
    out[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return out
