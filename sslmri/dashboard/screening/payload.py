"""What the viewer in the browser draws: all slices of a scan as bytes, a saliency map, outlines, and how to read them.

A length of four bytes and a header in JSON come first, then the parts that the header lists.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from sslmri.dashboard.screening.planes import planes_of
from sslmri.scans.scan import Scan
from sslmri.scans.slices import head_mask
from sslmri.screening.maps import colour_table, enlarge

_MAX_BYTES = 32 * 2**20  # of all slices: 128 of 512 x 512 pixels; larger ones are reduced to block means
_MAX_SIDE = 1024  # pixels: a full screen
_PERCENTILES = (1.0, 99.5)  # of the intensities inside the head, as in the preparation for the encoder
_ENDS = (0.0, 99.95)  # of all intensities: the full range; single bright voxels lie above
_FINE_SIDE = 512  # pixels along the shorter side, enough for a slice's percentiles
_COARSE = (16, 128, 128)  # slices, rows and columns, enough for a volume's percentiles


@dataclass(frozen=True)
class Volume:
    """All slices of a scan as bytes.

    Attributes:
        voxels: (D, H, W) uint8.
        low, high: the intensities, in the units of the file, that 0 and 255 stand for.
        head: lower and upper end of the intensities inside the head.
    """

    voxels: np.ndarray
    low: float
    high: float
    head: tuple[float, float]


@dataclass(frozen=True)
class MapLayer:
    """The saliency maps of a class.

    Attributes:
        name: of the class, for display.
        title: of what the map is, in a sentence.
        legend: how to read its colours.
        top: what the top of the scale stands for.
        is_on: whether it is shown at first.
        follows: whether maps are made one by one, of the slice in view.
        box: top, left, height and width of the maps as fractions of a slice; see ``shown_box``.
        levels: by number of the slice, (h, w) in [0, 1] of the scale.
    """

    name: str
    title: str
    legend: str
    top: str
    is_on: bool
    follows: bool
    box: tuple[float, float, float, float]
    levels: Mapping[int, np.ndarray]


@dataclass(frozen=True)
class Strip:
    """The probability of any disease class of each analysed slice, and the threshold of a slice."""

    title: str
    values: tuple[float, ...]
    threshold: float


def volume_of(scan: Scan, numbers: Sequence[int]) -> Volume:
    """Returns the slices of a scan as bytes.

    Args:
        scan: to be viewed.
        numbers: of the slices that were analysed; the middle one decides the window.
    """
    low, high, head = _intensity_range(scan, numbers)
    depth, height, width = scan.voxels.shape
    factor = min(1.0, _MAX_SIDE / max(height, width), (_MAX_BYTES / (depth * height * width)) ** 0.5)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    voxels = np.empty((depth, size[1], size[0]), np.uint8)
    for target, slice_ in zip(voxels, scan.voxels, strict=True):
        if factor < 1:
            image = Image.fromarray(np.ascontiguousarray(slice_, dtype=np.float32))
            slice_ = np.asarray(image.resize(size, Image.Resampling.BOX))
        target[:] = np.rint(((slice_ - low) * (255 / (high - low))).clip(0, 255))
    return Volume(voxels, low, high, head)


def _intensity_range(scan: Scan, numbers: Sequence[int]) -> tuple[float, float, tuple[float, float]]:
    """Returns the lowest and highest intensity shown, and the percentiles inside the head of the middle slice."""
    image = scan.voxels[numbers[len(numbers) // 2] - 1]
    fine = max(1, min(image.shape) // _FINE_SIDE)
    image = image[::fine, ::fine]
    inside = image[head_mask(image)]
    low, high = (float(value) for value in np.percentile(inside if inside.size else image, _PERCENTILES))
    coarse = tuple(slice(None, None, max(1, n // most)) for n, most in zip(scan.voxels.shape, _COARSE, strict=True))
    first, last = (float(value) for value in np.percentile(scan.voxels[coarse], _ENDS))
    first, last = min(first, low), max(last, high)
    return first, last if last > first else first + 1, (low, high if high > low else low + 1)


def pack(
    scan: Scan,
    volume: Volume,
    *,
    view: str,
    first: int,
    numbers: Sequence[int],
    layer: MapLayer | None,
    strip: Strip | None,
    mask: np.ndarray | None,
    lines: Mapping[int, Sequence[tuple[float, float, float, float]]] | None = None,
    texts: Mapping[int, Sequence[str]] | None = None,
) -> bytes:
    """Returns what the viewer draws.

    Args:
        scan: in view.
        volume: its slices.
        view: names the finding; with another one the viewer goes to ``first``.
        first: number of the slice in view at first.
        numbers: of the analysed slices.
        layer: the map, if any.
        strip: the probability by slice, if any.
        mask: true outline of a simulated lesion, bool of the voxels' shape.
        lines: by number of the slice, start and end (x, y) of each line as fractions of width and height.
        texts: by number of the slice, what to write next to it.
    """
    levels = [] if layer is None else [_bytes_of(level) for level in layer.levels.values()]
    header = {
        "scan": scan.info.sha256,
        "view": view,
        "first": first,
        "analysed": list(numbers),
        "low": volume.low,
        "high": volume.high,
        "window": {"brain": _window(*volume.head), "full": _window(volume.low, volume.high)},
        "planes": [asdict(plane) for plane in planes_of(scan, volume.voxels)],
        "map": None if layer is None else _header_of(layer, levels),
        "strip": None if strip is None else asdict(strip),
        "has_mask": mask is not None,
        "lines": dict(lines or {}),
        "texts": dict(texts or {}),
    }
    return _framed(header, _parts(volume, levels, mask))


def _framed(header: dict[str, Any], parts: dict[str, bytes]) -> bytes:
    """Returns a header in JSON, with the name and the length of each part, before the parts."""
    header["parts"] = [[name, len(content)] for name, content in parts.items()]
    text = json.dumps(header).encode()
    return b"".join((struct.pack("<I", len(text)), text, *parts.values()))


def _parts(volume: Volume, levels: Sequence[np.ndarray], mask: np.ndarray | None) -> dict[str, bytes]:
    """Returns what follows the header: colours, slices, maps and the mask, one bit a voxel."""
    return {
        "palette": colour_table().tobytes(),
        "voxels": volume.voxels.tobytes(),
        "maps": b"".join(level.tobytes() for level in levels),
        "mask": b"" if mask is None else np.packbits(_reduced(mask, volume.voxels.shape)).tobytes(),
    }


def _window(low: float, high: float) -> tuple[float, float]:
    """Returns level and width of a window."""
    return (low + high) / 2, high - low


def _header_of(layer: MapLayer, levels: Sequence[np.ndarray]) -> dict[str, Any]:
    names = ("name", "title", "legend", "top", "is_on", "follows", "box")
    shape = levels[0].shape if levels else (0, 0)
    return {name: getattr(layer, name) for name in names} | {"slices": list(layer.levels), "shape": shape}


def _bytes_of(level: np.ndarray) -> np.ndarray:
    return np.rint(255 * level.clip(0, 1)).astype(np.uint8)


def _reduced(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a mask at the shape of the slices as they are sent."""
    rows, columns = (np.arange(n) * old // n for n, old in zip(shape[1:], mask.shape[1:], strict=True))
    return mask if mask.shape == shape else mask[:, rows[:, None], columns]


def enlarged(map_: np.ndarray, scale: float, shape: tuple[int, int]) -> np.ndarray:
    """Returns a small map in logits (h, w) at the shape of a prepared slice, in [0, 1] of its scale."""
    return enlarge(map_, shape) / scale
