"""The two pictures of a scan, on black: as the encoder saw it, and with a map and its scale."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 512
_BAND = 52  # room for the scale, below the scan
_MARGIN = 12
_MAX_BYTES = 2**20 - 1  # Streamlit's media store names larger files by a sample of their content only


def plain_picture(slice_: np.ndarray, text: str) -> bytes:
    """Returns a prepared slice (H, W) as a picture, with a line of text below it."""
    grey = enlarge_slice(slice_)
    image = _on_black(np.repeat(grey[..., None], 3, axis=2))
    _write(image, text, _MARGIN, "ls")
    return _encode(image)


def overlay_picture(slice_: np.ndarray, level: np.ndarray, opacity: float, top: str) -> bytes:
    """Returns a prepared slice (H, W) under a map, with the scale of the map below.

    Args:
        slice_: (H, W) uint8.
        level: (h, w), any size, in [0, 1] of the scale.
        opacity: of the top of the scale.
        top: what the top of the scale stands for.
    """
    from sslmri.screening.saliency import enlarge, paint  # torch, which only this picture needs

    grey = enlarge_slice(slice_)
    image = _on_black(paint(grey, enlarge(level, (grey.shape[0], grey.shape[1])), opacity))
    width = image.width - 2 * _MARGIN
    ramp = np.tile(np.linspace(0.0, 1.0, width, dtype=np.float32), (8, 1))
    image.paste(Image.fromarray(paint(np.zeros(ramp.shape, np.uint8), ramp, 1.0)), (_MARGIN, image.height - _BAND + 7))
    _write(image, "0", _MARGIN, "ls")
    _write(image, top, image.width - _MARGIN, "rs")
    return _encode(image)


def enlarge_slice(slice_: np.ndarray) -> np.ndarray:
    """Returns a slice (H, W) uint8 at the size of the page, its longer side ``SIDE``."""
    height, width = slice_.shape
    factor = SIDE / max(height, width)
    size = (round(width * factor), round(height * factor))
    return np.asarray(Image.fromarray(slice_).resize(size, Image.Resampling.BICUBIC))


def _on_black(pixels: np.ndarray) -> Image.Image:
    height, width = pixels.shape[:2]
    image = Image.new("RGB", (width, height + _BAND))
    image.paste(Image.fromarray(np.ascontiguousarray(pixels)))
    return image


def _write(image: Image.Image, text: str, x: int, anchor: str) -> None:
    font = ImageFont.load_default(size=21)
    ImageDraw.Draw(image).text((x, image.height - 9), text, fill=(205, 210, 214), font=font, anchor=anchor)


def _encode(image: Image.Image) -> bytes:
    """Returns PNG; JPEG for a picture so noisy that PNG would be too large."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    if buffer.tell() > _MAX_BYTES:
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=92)
    return buffer.getvalue()
