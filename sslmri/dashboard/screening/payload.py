"""What the viewer in the browser draws: all slices of a scan as bytes, a saliency map, outlines, and how to read them.

A length of four bytes and a header in JSON come first, then the parts that the header lists.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image

from sslmri.dashboard.screening.planes import planes_of
from sslmri.scans.scan import Scan
from sslmri.scans.slices import head_mask
from sslmri.screening.maps import colour_table

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


def volume_of(scan: Scan, numbers: Sequence[int]) -> Volume:
    """Returns the slices of a scan as bytes; of the numbers of those analysed, the middle one decides the window."""
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
    numbers: Sequence[int],
    mask: np.ndarray | None,
    *,
    levels: Mapping[int, np.ndarray],
    shown: Mapping[str, object],
) -> bytes:
    """Returns what the viewer draws.

    Args:
        scan, volume: in view, with its slices as bytes.
        numbers: of the analysed slices.
        mask: true outline of a simulated lesion, bool of the voxels' shape.
        levels: the maps by number of the slice, (h, w) in [0, 1] of their scale.
        shown: ``view``, which names the finding (with another one the viewer goes to the slice ``first``); perhaps
            ``map``, its description with the ``box`` of ``shown_box``; ``strip``, the probability by slice; ``lines``
            by number of the slice, start and end (x, y) as fractions of width and height; and ``texts``, likewise.
    """
    maps = [np.rint(255 * level.clip(0, 1)).astype(np.uint8) for level in levels.values()]
    parts = {
        "palette": colour_table().tobytes(),
        "voxels": volume.voxels.tobytes(),
        "maps": b"".join(level.tobytes() for level in maps),
        "mask": b"" if mask is None else np.packbits(_reduced(mask, volume.voxels.shape)).tobytes(),  # one bit a voxel
    }
    header = {
        "scan": scan.info.sha256,
        "analysed": list(numbers),
        "slices": list(levels),
        "shape": maps[0].shape if maps else (0, 0),
        "low": volume.low,
        "high": volume.high,
        "window": {"brain": _window(*volume.head), "full": _window(volume.low, volume.high)},
        "planes": [asdict(plane) for plane in planes_of(scan, volume.voxels)],
        "has_mask": mask is not None,
        "parts": [[name, len(content)] for name, content in parts.items()],
        **shown,
    }
    text = json.dumps(header).encode()
    return b"".join((struct.pack("<I", len(text)), text, *parts.values()))


def _window(low: float, high: float) -> tuple[float, float]:
    """Returns level and width of a window."""
    return (low + high) / 2, high - low


def _reduced(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a mask at the shape of the slices as they are sent."""
    rows, columns = (np.arange(n) * old // n for n, old in zip(shape[1:], mask.shape[1:], strict=True))
    return mask if mask.shape == shape else mask[:, rows[:, None], columns]
