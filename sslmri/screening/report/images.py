"""The images of a report: the key slice of a finding, alone and under the map of its top class; and thumbnails."""

import io

import numpy as np
from PIL import Image
from scipy.ndimage import binary_erosion

from sslmri.diseases import DISEASES
from sslmri.models.cards import ModelCard
from sslmri.screening.card_lines import by_urgency
from sslmri.screening.maps import enlarge, paint
from sslmri.screening.outcome import KeyImages, Screening, ScreeningArrays, ScreeningSummary

_OPACITY = 0.7  # at the top of a map's scale
_SIDE = 256  # pixels along the longer side: 190 per inch at the size of the report
_THUMBNAIL = 96
_QUALITY = 90


def key_images(card: ModelCard, summary: ScreeningSummary, arrays: ScreeningArrays) -> dict[str, KeyImages]:
    """Returns the images of the assessed findings, by disease."""
    return {
        key: KeyImages(
            jpeg(arrays.of(finding).slices[summary.key_index(key)]),
            None
            if finding.top_class == DISEASES[key].reference
            else jpeg(paint_key_slice(summary, arrays, key, card.heads[key].saliency_scale, _SIDE)),
        )
        for key, finding in summary.assessed.items()
    }


def thumbnail(screening: Screening) -> bytes:
    """Returns the key slice of the most urgent finding, the middle slice where no classifier was assessed, as JPEG."""
    summary, slices = screening.summary, screening.arrays.slices
    if not summary.assessed:
        return jpeg(slices[len(slices) // 2], _THUMBNAIL)
    finding = by_urgency(summary.assessed.values())[0]
    return jpeg(screening.arrays.of(finding).slices[summary.key_index(finding.disease)], _THUMBNAIL)


def paint_key_slice(
    summary: ScreeningSummary, arrays: ScreeningArrays, disease: str, scale: float, side: int
) -> np.ndarray:
    """Returns a key slice under the map of its top class, (H, W, 3) uint8, with a contour at half the scale.

    It has that many pixels along the longer side.
    """
    finding, index = summary.findings[disease], summary.key_index(disease)
    top = list(finding.probabilities).index(finding.top_class)
    arrays = arrays.of(finding)
    image = scaled(arrays.slices[index], side)
    level = enlarge(arrays.saliency[disease][index, top], (image.height, image.width)) / scale
    painted, is_above = paint(np.asarray(image), level, _OPACITY), level >= 0.5
    painted[is_above & ~binary_erosion(is_above)] = 255
    return painted


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
