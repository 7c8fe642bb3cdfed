"""The images of a report: the key slice of a finding, alone and under the map of its top class."""

import io

import numpy as np
from PIL import Image

from sslmri.models.cards import ModelCard
from sslmri.screening.maps import enlarge, paint
from sslmri.screening.outcome import KeyImages, ScreeningArrays, ScreeningSummary

_OPACITY = 0.7  # at the top of a map's scale
_SIDE = 256  # pixels along the longer side: 190 per inch at the size of the report
_QUALITY = 90


def key_images(card: ModelCard, summary: ScreeningSummary, arrays: ScreeningArrays) -> dict[str, KeyImages]:
    """Returns the images of the assessed findings, by disease."""
    return {
        key: KeyImages(
            jpeg(arrays.of(finding).slices[summary.key_index(key)]),
            jpeg(paint_key_slice(summary, arrays, key, card.heads[key].saliency_scale)),
        )
        for key, finding in summary.assessed.items()
    }


def paint_key_slice(summary: ScreeningSummary, arrays: ScreeningArrays, disease: str, scale: float) -> np.ndarray:
    """Returns the key slice of a finding under the map of its top class: (H, W, 3) uint8."""
    finding, index = summary.findings[disease], summary.key_index(disease)
    top = list(finding.probabilities).index(finding.top_class)
    arrays = arrays.of(finding)
    slice_ = arrays.slices[index]
    height, width = slice_.shape
    return paint(slice_, enlarge(arrays.saliency[disease][index, top], (height, width)) / scale, _OPACITY)


def scaled(pixels: np.ndarray, side: int) -> Image.Image:
    """Returns an image (H, W) or (H, W, 3) uint8 with that many pixels along its longer side."""
    image = Image.fromarray(pixels)
    factor = side / max(image.size)
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def jpeg(pixels: np.ndarray, side: int = _SIDE) -> bytes:
    """Returns an image (H, W) or (H, W, 3) uint8 as JPEG, with that many pixels along its longer side."""
    buffer = io.BytesIO()
    scaled(pixels, side).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
