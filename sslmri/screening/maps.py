"""Saliency maps as arrays: their methods, size, measures and colours. No torch here."""

import functools
from collections.abc import Mapping
from typing import TypedDict

import numpy as np
from PIL import Image
from scipy import ndimage

from sslmri.screening.outcome import NOTABLE_PEAK

CLOSED_FORM = "grad-cam"
PALE = 0.25  # of the scale: what is weaker is not painted
ENGINES: Mapping[str, str] = {
    "grad-cam++": "GradCAMPlusPlus",
    "layer-cam": "LayerCAM",
    "x-grad-cam": "XGradCAM",
    "score-cam": "ScoreCAM",
}
METHODS: Mapping[str, str] = {
    CLOSED_FORM: "Grad-CAM, absolute scale",
    "grad-cam++": "Grad-CAM++, relative",
    "layer-cam": "Layer-CAM, relative",
    "x-grad-cam": "XGrad-CAM, relative",
    "score-cam": "Score-CAM, relative (slow)",
}


def enlarge(map_: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Returns a map (h, w) at a slice's shape (H, W), bicubic and never below 0.

    With bilinear interpolation the peak always lies in the centre of a cell of the small map; with bicubic it moves
    towards a high neighbour.
    """
    image = Image.fromarray(np.ascontiguousarray(map_, dtype=np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)).clip(min=0)


def reached_slices(aligned_shape: tuple[int, ...], to_scan: np.ndarray, n_slices: int) -> range:
    """Returns the indices of the slices of a scan that aligned slices reach; see ``carry_maps``."""
    ends = np.indices((2, 2, 2)).reshape(3, -1) * np.array(aligned_shape)[:, None] - 0.5
    reached = to_scan[0, :3] @ ends + to_scan[0, 3]
    return range(max(0, int(np.ceil(reached.min()))), min(n_slices, int(reached.max()) + 1))


def carry_maps(
    maps: np.ndarray, aligned_shape: tuple[int, ...], to_scan: np.ndarray, shape: tuple[int, ...], side: int
) -> dict[int, np.ndarray]:
    """Returns the maps of aligned slices on the slices of the scan that they were cut from, 0 outside them.

    Args:
        maps: of all aligned slices, (S, h, w).
        aligned_shape: of the aligned slices themselves, (S, H, W).
        to_scan: (4, 4), from (slice, row, column) of the aligned slices to those of the scan.
        shape: of the scan, (D, H, W).
        side: of the maps returned, in cells.

    Returns:
        (side, side) by the index of the slice, of those that the aligned slices reach.
    """
    sizes = np.array(aligned_shape)[:, None]
    rows, columns = (((np.arange(side) + 0.5) * size / side - 0.5) for size in shape[1:])
    places = np.stack([np.zeros((side, side)), *np.meshgrid(rows, columns, indexing="ij")]).reshape(3, -1)
    inverse, carried = np.linalg.inv(to_scan), {}
    for index in reached_slices(aligned_shape, to_scan, shape[0]):
        places[0] = index
        aligned = inverse[:3, :3] @ places + inverse[:3, 3:]
        cells = (aligned + 0.5) * (np.array(maps.shape)[:, None] / sizes) - 0.5
        values = ndimage.map_coordinates(maps, cells, np.float32, order=1, mode="nearest")
        is_inside = ((aligned >= -0.5) & (aligned <= sizes - 0.5)).all(axis=0)
        carried[index] = np.where(is_inside, values, 0).reshape(side, side).clip(min=0)
    return carried


def paint(slice_: np.ndarray, level: np.ndarray, opacity: float) -> np.ndarray:
    """Returns a slice (H, W) uint8 under a map: (H, W, 3) uint8, inferno, whose alpha grows from ``PALE`` on.

    Levels (H, W) outside [0, 1] of the scale are clipped; the opacity is alpha at its top, in [0, 1].
    """
    clipped = np.clip(level, 0.0, 1.0)
    colours = colour_table()[np.rint(clipped * 255).astype(np.intp)]
    alpha = np.where(clipped < PALE, 0.0, opacity * clipped)[..., None]
    return np.rint(slice_[..., None] * (1 - alpha) + colours * alpha).astype(np.uint8)


@functools.cache
def colour_table() -> np.ndarray:
    """Returns inferno, from the bottom of the scale to its top: (256, 3) uint8."""
    from matplotlib import colormaps  # slow to import, and needed for images only

    return np.asarray(colormaps["inferno"](np.arange(256), bytes=True))[:, :3]


class MapMeasures(TypedDict):
    """Extent, strength and position of what a map shows; see ``Finding``."""

    coverage: float | None
    peak: float
    peak_xy: tuple[float, float] | None


def covered(large: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Returns where in a region, bool (H, W), an enlarged map (H, W) is above half of its own peak: bool (H, W)."""
    above: np.ndarray = (large > large.max() / 2) & region
    return above


def measure_map(
    map_: np.ndarray, region: np.ndarray, box: tuple[float, float, float, float], scale: float
) -> MapMeasures:
    """Returns coverage, peak and position of the peak of a map (h, w), in logits.

    The map is of one class, its scale in logits; the region is that of the head in the prepared slice, bool (H, W),
    whose box is top, left, height and width as fractions of the image in the file.
    """
    large = enlarge(map_, (region.shape[0], region.shape[1]))
    top = float(large.max())
    row, column = np.unravel_index(int(large.argmax()), large.shape)
    y = box[0] + box[2] * (float(row) + 0.5) / large.shape[0]
    x = box[1] + box[3] * (float(column) + 0.5) / large.shape[1]
    is_notable = top >= NOTABLE_PEAK * scale and region.any()
    return MapMeasures(
        coverage=float(covered(large, region)[region].mean()) if is_notable else None,
        peak=top / scale,
        peak_xy=(min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)) if top > 0 else None,  # padding lies outside the image
    )
