"""The two images of a slice, on black: as in the file, and under a saliency map with its scale."""

import functools
import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from sslmri.dashboard.screening.planes import OrientationLabels, ReformattedSlice
from sslmri.screening.maps import enlarge, paint

SIDE = 512  # pixels of the longer side: sharp on the page, and below the size that Streamlit's media store samples
_BAND = 62  # height for two lines of text, or for the scale, below the slice
_MARGIN = 10
_QUALITY = 95
_TEXT = (205, 210, 214)
_FONT_SIZE = 20
_LINE, _LINE_COLOUR = 2, (64, 224, 255)  # pixels; a blue that inferno does not contain


def fit(slice_: ReformattedSlice) -> np.ndarray:
    """Returns a slice at the size of the page with square pixels, its longer side ``SIDE``: (h, w) float32."""
    height, width = slice_.image.shape
    row, column = slice_.pixel_mm or (1.0, 1.0)
    factor = SIDE / max(height * row, width * column)
    size = (max(1, round(width * column * factor)), max(1, round(height * row * factor)))
    image = Image.fromarray(np.ascontiguousarray(slice_.image, dtype=np.float32))
    # a slice far larger than the page is reduced to block means first
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0))


def windowed(values: np.ndarray, level: float, width: float) -> np.ndarray:
    """Returns intensities as bytes: black up to ``level - width / 2``, white from ``level + width / 2``; width > 0."""
    scaled = (values - (level - width / 2)) / width
    return np.rint(scaled.clip(0, 1) * 255).astype(np.uint8)


def place_map(map_: np.ndarray, box: tuple[float, float, float, float], shape: tuple[int, int]) -> np.ndarray:
    """Returns a map (h, w) placed on an image of a shape (H, W), 0 outside it.

    Args:
        map_: of a prepared slice.
        box: top, left, height and width of the prepared slice, as fractions of the image's height and width; it may
            reach beyond the image.
        shape: of the image.
    """
    height, width = shape
    top, left = round(box[0] * height), round(box[1] * width)
    large = enlarge(map_, (max(1, round(box[2] * height)), max(1, round(box[3] * width))))
    placed = Image.new("F", (width, height))
    placed.paste(Image.fromarray(large), (left, top))  # which leaves out what lies beyond
    return np.asarray(placed)


def scan_image(
    pixels: np.ndarray, labels: OrientationLabels | None, lines: tuple[str, str], mask: np.ndarray | None = None
) -> bytes:
    """Returns a slice (h, w) uint8 as JPEG, with two lines of text below it, and the outline of a mask on it."""
    image = _on_black(_outlined(np.repeat(pixels[..., None], 3, axis=2), mask), labels)
    for line, y in zip(lines, (image.height - _BAND // 2 - 5, image.height - 9), strict=True):
        _write(image, line, (_MARGIN, y), "ls")
    return _encode(image)


def overlay_image(
    pixels: np.ndarray,
    level: np.ndarray,
    opacity: float,
    labels: OrientationLabels | None,
    top: str,
    mask: np.ndarray | None = None,
) -> bytes:
    """Returns a slice (h, w) uint8 under a map as JPEG, with the scale of the map below.

    Args:
        pixels: the slice.
        level: (h, w) in [0, 1] of the scale.
        opacity: of the top of the scale.
        labels: see ``OrientationLabels``.
        top: what the top of the scale is.
        mask: (h, w) bool, whose outline is drawn on top.
    """
    image = _on_black(_outlined(paint(pixels, level, opacity), mask), labels)
    width = max(2, image.width - 2 * _MARGIN)
    ramp = np.tile(np.linspace(0.0, 1.0, width, dtype=np.float32), (10, 1))
    scale = Image.fromarray(paint(np.zeros(ramp.shape, np.uint8), ramp, 1.0))
    image.paste(scale, (_MARGIN, image.height - _BAND + 13))
    _write(image, "0", (_MARGIN, image.height - 9), "ls")
    _write(image, top, (image.width - _MARGIN, image.height - 9), "rs")
    return _encode(image)


def thumbnail(slice_: np.ndarray) -> bytes:
    """Returns a prepared slice (H, W) uint8 as JPEG."""
    return _encode(Image.fromarray(slice_))


def _outlined(pixels: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Returns pixels (h, w, 3) with a line around a mask (h, w)."""
    if mask is None:
        return pixels
    line = ndimage.binary_dilation(mask, iterations=_LINE) & ~mask
    return np.where(line[..., None], np.array(_LINE_COLOUR, np.uint8), pixels)


def _on_black(pixels: np.ndarray, labels: OrientationLabels | None) -> Image.Image:
    height, width = pixels.shape[:2]
    image = Image.new("RGB", (width, height + _BAND))
    image.paste(Image.fromarray(np.ascontiguousarray(pixels)))
    if labels:
        _write(image, labels.top, (width / 2, 6), "mt")
        _write(image, labels.bottom, (width / 2, height - 6), "mb")
        _write(image, labels.left, (_MARGIN, height / 2), "lm")
        _write(image, labels.right, (width - _MARGIN, height / 2), "rm")
    return image


def _write(image: Image.Image, text: str, at: tuple[float, float], anchor: str) -> None:
    pen = ImageDraw.Draw(image)
    pen.text(at, text, fill=_TEXT, font=_font(), anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=_FONT_SIZE)


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()
