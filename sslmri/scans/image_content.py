"""What an image shows besides one slice: several slices next to each other, or text of a viewer."""

import numpy as np
from PIL import Image
from scipy import ndimage

from sslmri.errors import ScanError
from sslmri.scans.slices import block_means, head_mask

# Of 2,527 single slices of 12 public collections no layout reaches 0.63; neighbouring slices next to each other 0.82.
_SIMILAR = 0.7  # correlation of neighbouring tiles from which on they are slices of one head
_LAYOUTS = ((1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (3, 3), (3, 4), (4, 3), (4, 4), (4, 5), (5, 4), (5, 5))
_TILE_SIDE = 24  # pixels to which a tile is reduced
_MAX_SIDE = 1024  # pixels of an image that is looked at
_DARK_RIM = 0.5  # mean of the rim of a tile, in units of the mean of its centre, both above the lowest intensity
_EVEN, _BRIGHT = 0.03, 0.3  # of the highest intensity: standard deviation and mean of a line that parts slices
_LINE_GLYPHS = 4  # characters in a line that make a text; fragments of heads make lines of three
_MAX_GLYPHS = 1_000
_SEVERAL_SLICES = (
    "The image shows several slices next to each other. Upload each slice as an image, or the original scan."
)
_TEXT = (
    "Text seems to be burned into the image: it may identify the patient and mislead the classifiers. Export the image "
    "without annotations."
)

_Box = tuple[int, int, int, int]  # top, bottom, left, right


def check_content(pages: np.ndarray) -> tuple[str, ...]:
    """Returns a warning where the middle page of an image (D, H, W) shows text outside the head.

    Raises:
        ScanError: it shows several slices.
    """
    page = pages[len(pages) // 2]
    factor = -(-max(page.shape) // _MAX_SIDE)
    image = np.nan_to_num(block_means(page, [min(factor, size) for size in page.shape]), posinf=0.0, neginf=0.0)
    if _shows_several_slices(image):
        raise ScanError(_SEVERAL_SLICES)
    return (_TEXT,) if _longest_line(_glyphs(image)) >= _LINE_GLYPHS else ()


def _shows_several_slices(image: np.ndarray) -> bool:
    """Returns whether an image (H, W) falls into equal tiles of which neighbours resemble each other."""
    parts_slices = [
        (image.std(axis=axis) < _EVEN * image.max()) & (image.mean(axis=axis) > _BRIGHT * image.max())
        for axis in (1, 0)
    ]
    rows, columns = (~lines for lines in parts_slices)
    if not rows.any() or not columns.any():
        return False
    inner = Image.fromarray(image[rows][:, columns])
    return any(_similarity(inner, *layout) >= _SIMILAR for layout in _LAYOUTS)


def _similarity(image: Image.Image, n_rows: int, n_columns: int) -> float:
    """Returns the median correlation of neighbouring tiles; 0 where they do not show a head on dark background."""
    reduced = image.resize((n_columns * _TILE_SIDE, n_rows * _TILE_SIDE), Image.Resampling.BOX)
    tiles = np.asarray(reduced, np.float64).reshape(n_rows, _TILE_SIDE, n_columns, _TILE_SIDE).swapaxes(1, 2)
    tiles = tiles - tiles.min()
    quarter = _TILE_SIDE // 4
    centres = tiles[..., quarter:-quarter, quarter:-quarter].mean(axis=(2, 3))
    rims = (tiles.sum(axis=(2, 3)) - tiles[..., 1:-1, 1:-1].sum(axis=(2, 3))) / (4 * _TILE_SIDE - 4)
    if np.median(rims / np.maximum(centres, 1e-9)) > _DARK_RIM:
        return 0.0
    tiles = tiles - tiles.mean(axis=(2, 3), keepdims=True)
    tiles = tiles / np.maximum(np.linalg.norm(tiles, axis=(2, 3), keepdims=True), 1e-9)
    to_the_right = (tiles[:, 1:] * tiles[:, :-1]).sum(axis=(2, 3))
    below = (tiles[1:] * tiles[:-1]).sum(axis=(2, 3))
    return float(np.median(np.concatenate([to_the_right.ravel(), below.ravel()])))


def _glyphs(image: np.ndarray) -> list[_Box]:
    """Returns the boxes of what may be bright characters outside the head, from left to right."""
    head = head_mask(image)
    if not head.any():
        return []
    side = max(image.shape)
    low, high = np.percentile(image, 0.5), np.percentile(image[head], 99.5)
    head = ndimage.binary_dilation(head, iterations=max(1, side // 100))
    labels, _ = ndimage.label((image > (low + high) / 2) & ~head, structure=np.ones((3, 3)))
    boxes = [
        (rows.start, rows.stop, columns.start, columns.stop)
        for rows, columns in ndimage.find_objects(labels)
        if 4 <= rows.stop - rows.start <= side / 16 and columns.stop - columns.start <= 2 * (rows.stop - rows.start)
    ]
    return sorted(boxes, key=lambda box: box[2]) if len(boxes) <= _MAX_GLYPHS else []


def _longest_line(glyphs: list[_Box]) -> int:
    """Returns how many glyphs follow each other at most on one base line, of like height and without a wide gap."""
    lengths = [1] * len(glyphs)
    for i, (top, bottom, left, _) in enumerate(glyphs):
        height = bottom - top
        for j, (other_top, other_bottom, other_left, other_right) in enumerate(glyphs[:i]):
            is_next = left > other_left and abs(left - other_right) <= height
            is_level = abs(bottom - other_bottom) <= 0.35 * height
            if is_next and is_level and 0.5 <= height / (other_bottom - other_top) <= 2:
                lengths[i] = max(lengths[i], lengths[j] + 1)
    return max(lengths, default=0)
