"""From a scan to the slices that the encoder sees: the one path shared by training, evaluation and the app."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from sslmri.errors import ScanError
from sslmri.scans.scan import Scan, ScanInfo, Spacing
from sslmri.scans.volume import AXIAL

_FINE_SIDE = 512  # pixels along the shorter side from which on a slice is finer than the outline of the head needs
_OUTLINE_SIDE = 128  # pixels along the shorter side that are then enough
MAX_PREPARED = 48  # slices of one scan: those between them cost time and change no answer
_HEAD_MM = 160.0  # from the vertex to the base of the skull: neck and shoulders are not part of the head
_HEAD_AREA = 0.10  # fraction of the largest bright area that a slice of the head has at least
_SQUARE_TOLERANCE = 0.01  # relative difference of row and column spacing that is ignored
_SQUARE_SIDE = 1024  # pixels to which a slice is resized at most for square pixels
HEAD_LEVEL = 0.10  # fraction of the intensity range above which a pixel is head: above JPEG rings and noise in air


@dataclass(frozen=True)
class Preparation:
    """How a slice is prepared. Stored with every model, so that scans are prepared as the training data were.

    Attributes:
        image_size: (H, W) of a prepared slice, in pixels.
        slice_fraction: middle fraction of a volume's slices, or of its head where spacing and orientation are known,
            that is used; the outer ones hold little brain.
        intensity_percentiles: of the intensities inside the head, which become 0 and 255.
        mean, std: of prepared intensities in [0, 1], near those of the training slices of the real cohorts.
        slice_spacing_mm: between the slices taken from a volume of known spacing; closer slices say nearly the same.
    """

    image_size: tuple[int, int] = (128, 128)
    slice_fraction: float = 0.6
    intensity_percentiles: tuple[float, float] = (1.0, 99.5)
    mean: float = 0.25
    std: float = 0.29
    slice_spacing_mm: float = 4.0


@dataclass(frozen=True)
class PreparedScan:
    """The slices of a scan as the encoder sees them.

    Attributes:
        info: what is known of the scan.
        slices: (S, H, W) uint8.
        slice_numbers: the number of each of them in the scan, from 1 on.
        box: see ``shown_box``.
        aligned: (A, H, W) uint8, those of its aligned brain, where these were wanted and it is a whole head.
    """

    info: ScanInfo
    slices: np.ndarray
    slice_numbers: tuple[int, ...]
    box: tuple[float, float, float, float]
    aligned: np.ndarray | None = None


def to_slices(scan: Scan, preparation: Preparation) -> np.ndarray:
    """Returns the prepared slices of a scan: (S, H, W) uint8.

    Raises:
        ScanError: no slice shows anything.
    """
    return prepare_scan(scan, preparation).slices


def prepare_scan(scan: Scan, preparation: Preparation) -> PreparedScan:
    """Returns the prepared slices of a scan.

    A volume whose orientation and spacing are known gives a slice every ``slice_spacing_mm`` from the middle of its
    head, any other one its middle slices, evenly thinned. Each slice is resampled to square pixels where they are not,
    scaled in intensity by percentiles inside the head, padded to the aspect ratio of ``image_size`` and resized. Slices
    without a head are left out.

    Raises:
        ScanError: no slice shows anything.
    """
    prepared = {}
    for index in _selected_slices(scan, preparation):
        slice_ = _prepare(square_pixels(scan.voxels[index], scan.info.spacing_mm), preparation)
        if slice_ is not None:
            prepared[index + 1] = slice_
    if not prepared:
        raise ScanError("The image is blank: all pixels have the same intensity.", scan.info.name)
    box = shown_box(scan.voxels[0], scan.info.spacing_mm, preparation)
    return PreparedScan(scan.info, np.stack(list(prepared.values())), tuple(prepared), box)


def slice_indices(n_slices: int, fraction: float) -> range:
    """Returns the indices of the middle ``fraction`` of ``n_slices`` slices, at least one."""
    count = max(1, round(n_slices * fraction))
    start = (n_slices - count) // 2
    return range(start, start + count)


def _selected_slices(scan: Scan, preparation: Preparation) -> list[int]:
    """Returns the indices of the slices that are prepared, in ascending order, at most MAX_PREPARED."""
    n_slices, step = len(scan.voxels), 1
    first, count = 0, n_slices
    if n_slices > 1 and scan.info.orientation == AXIAL and scan.info.spacing_mm is not None:
        slice_mm = scan.info.spacing_mm[0]
        first, count = head_slices(scan.voxels, slice_mm)
        step = max(1, min(count, round(preparation.slice_spacing_mm / slice_mm)))
    middle = slice_indices(count, preparation.slice_fraction)
    start = (len(middle) - 1) % step // 2
    indices = [first + i for i in middle[start::step]]
    if len(indices) <= MAX_PREPARED:
        return indices
    return [indices[i] for i in np.linspace(0, len(indices) - 1, MAX_PREPARED).round().astype(int)]


def head_slices(voxels: np.ndarray, spacing_mm: float, height_mm: float = _HEAD_MM) -> tuple[int, int]:
    """Returns the first slice of the head and how many it has, in a volume (D, H, W) from inferior to superior.

    At most ``height_mm`` from the vertex down count as head; slices are ``spacing_mm`` apart.
    """
    stride = max(1, min(voxels.shape[1:]) // 64)
    coarse = voxels[:, ::stride, ::stride]
    low, high = np.percentile(coarse, (0.5, 99.5))
    areas = np.count_nonzero(coarse > low + HEAD_LEVEL * (high - low), axis=(1, 2))
    in_head = np.flatnonzero(areas > _HEAD_AREA * areas.max())
    if not len(in_head):
        return 0, len(voxels)
    count = min(int(in_head[-1] - in_head[0]) + 1, max(1, round(min(height_mm / spacing_mm, len(voxels)))))
    return int(in_head[-1]) + 1 - count, count


def square_pixels(image: np.ndarray, spacing_mm: Spacing | None) -> np.ndarray:
    """Returns a slice (H, W) with square pixels of the finer of its two spacings; unchanged where they are square.

    The (slice, row, column) spacing is assumed square where it is unknown.
    """
    if spacing_mm is None or abs(spacing_mm[1] / spacing_mm[2] - 1) <= _SQUARE_TOLERANCE:
        return image
    height, width = image.shape[0] * spacing_mm[1], image.shape[1] * spacing_mm[2]
    pixel = max(min(spacing_mm[1:]), max(height, width) / _SQUARE_SIDE)
    size = max(1, round(width / pixel)), max(1, round(height / pixel))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def block_means(values: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Returns the means of blocks of so many values along each axis, float32, without what does not fill a block."""
    counts = [size // factor for size, factor in zip(values.shape, factors, strict=True)]
    whole = values[tuple(slice(n * factor) for n, factor in zip(counts, factors, strict=True))]
    blocks = whole.reshape([size for pair in zip(counts, factors, strict=True) for size in pair])
    return np.asarray(blocks.mean(axis=tuple(range(1, blocks.ndim, 2)), dtype=np.float32))


def head_mask(image: np.ndarray) -> np.ndarray:
    """Returns where the head is: the largest bright region of a slice (H, W) with its holes filled, as bool (H, W).

    From 512 pixels along the shorter side on, the outline is found in the means of blocks.
    """
    if min(image.shape) < _FINE_SIDE:
        return _head_mask(_as_bytes(image))
    factor = min(image.shape) // _OUTLINE_SIDE
    mask = _head_mask(_as_bytes(np.asarray(Image.fromarray(_as_bytes(image)).reduce(factor))))
    height, width = image.shape
    return mask.repeat(factor, axis=0).repeat(factor, axis=1)[:height, :width]


def _head_mask(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image, (0.5, 99.5))
    level = low + HEAD_LEVEL * (high - low)
    labels, count = ndimage.label(image > (np.uint8(level) if image.dtype == np.uint8 else level))
    if count == 0:
        return np.zeros(image.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # the background
    return _fill_holes(labels == sizes.argmax())


def _fill_holes(region: np.ndarray) -> np.ndarray:
    """Returns a region, bool (H, W), with its holes filled.

    Equal to ``ndimage.binary_fill_holes``, in a third of its time at 128 x 128 pixels and a fifth at 512 x 512.
    """
    labels, _ = ndimage.label(np.pad(~region, 1, constant_values=True))  # the padding joins all that is outside
    filled: np.ndarray = labels[1:-1, 1:-1] != labels[0, 0]
    return filled


def _as_bytes(image: np.ndarray) -> np.ndarray:
    """Returns an image whose intensities are all bytes as uint8, any other one unchanged."""
    with np.errstate(invalid="ignore"):
        converted = image.astype(np.uint8)
    return converted if np.array_equal(converted, image) else image


def _prepare(image: np.ndarray, preparation: Preparation) -> np.ndarray | None:
    image = _as_bytes(image)
    mask = head_mask(image)
    if not mask.any():
        return None
    low, high = np.percentile(image[mask], preparation.intensity_percentiles)
    if not high > low:
        return None
    height, width = preparation.image_size
    padded = Image.fromarray(_pad(_scaled(image, low, high), preparation))
    return np.rint(np.asarray(padded.resize((width, height), Image.Resampling.BILINEAR)) * 255.0).astype(np.uint8)


def _scaled(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns intensities with low at 0 and high at 1, clipped: (H, W) float32."""
    values = np.arange(256, dtype=np.float32) if image.dtype == np.uint8 else image.astype(np.float32)
    scaled = np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32)
    return np.take(scaled, image) if image.dtype == np.uint8 else scaled


def region_in_slice(region: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Returns a region of a slice, bool (H, W), where ``to_slices`` puts it: bool of the prepared slice's shape.

    A pixel belongs to the region when half of what it shows does.
    """
    height, width = preparation.image_size
    padded = Image.fromarray(_pad(region.astype(np.float32), preparation))
    return np.asarray(padded.resize((width, height), Image.Resampling.BILINEAR)) >= 0.5


def shown_box(
    image: np.ndarray, spacing_mm: Spacing | None, preparation: Preparation
) -> tuple[float, float, float, float]:
    """Returns what of a slice (H, W) its prepared slice shows: top, left, height, width as fractions of the slice.

    Padding reaches beyond the slice: a top or a left below 0, a height or a width above 1.
    """
    height, width = square_pixels(image, spacing_mm).shape
    top, left, box_height, box_width = _padded_box((height, width), preparation)
    return top / height, left / width, box_height / height, box_width / width


def _padded_box(shape: tuple[int, ...], preparation: Preparation) -> tuple[int, int, int, int]:
    """Returns (top, left, height, width) around a slice (H, W), in the aspect ratio of ``image_size``."""
    height, width = shape
    target_height, target_width = preparation.image_size
    unit = max(height / target_height, width / target_width)
    box_height, box_width = max(1, round(target_height * unit)), max(1, round(target_width * unit))
    return round((height - box_height) / 2), round((width - box_width) / 2), box_height, box_width


def _pad(image: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Returns a slice (H, W) float32 with zeros around it, in the aspect ratio of ``image_size``."""
    top, left, height, width = _padded_box(image.shape, preparation)
    padded = np.zeros((height, width), dtype=np.float32)
    padded[-top : image.shape[0] - top, -left : image.shape[1] - left] = image
    return padded
