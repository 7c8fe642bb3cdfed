"""Images of several channels of 16 bits: Pillow keeps the upper byte of each, so the lower ones are decoded here."""

import io
import re
import sys

import numpy as np
from PIL import Image, ImageFile

from sslmri.errors import ScanError

_RAW_MODE = re.compile(r"(RGB|RGBX|RGBA|LA);16([BLN])")  # how the pixels are stored: channels and byte order
_LOWER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}  # read in the other order
_FOUR_BYTES = "RGBA"  # a pixel of two channels of 16 bits, taken for four of 8
COLOUR_DIFFERENCE = 64  # of 255, by more the channels of a coloured pixel differ
_WEIGHTS = np.array([299, 587, 114], np.uint32)  # of red, green and blue in luminance (ITU-R 601), in thousandths
_PLANAR_TAG, _SEPARATE = 284, 2  # TIFF PlanarConfiguration: each channel by itself


def is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """Returns whether an image, not decoded yet, has several channels of 16 bits."""
    return not image.mode.startswith("I") and any(";16" in _raw_mode(image, i) for i in range(len(image.tile)))


def lower_bytes(data: bytes, image: ImageFile.ImageFile) -> Image.Image:
    """Returns the lower bytes of all channels of a page; Pillow keeps the upper ones.

    The image is the file opened by Pillow, at that page, not decoded yet.

    Raises:
        ScanError: its channels are stored in an unusual way.
    """
    stored = _RAW_MODE.fullmatch(_raw_mode(image, 0))
    if stored is None or getattr(image, "tag_v2", {}).get(_PLANAR_TAG) == _SEPARATE:
        raise ScanError("The 16-bit colours of this image are stored in an unusual way. Export it in greyscale.")
    if stored[1] != "LA":
        return _decoded(data, image, f"{stored[1]};16{_LOWER_BYTE[stored[2]]}")
    pixels = _decoded(data, image, _FOUR_BYTES)  # the upper and the lower byte of the intensity, then of alpha
    grey, alpha = pixels.getchannel(1), pixels.getchannel(3)
    return Image.merge("RGBA", (grey, grey, grey, alpha))


def deep_luminance(upper: Image.Image, lower: Image.Image, box: tuple[int, int, int, int]) -> tuple[np.ndarray, int]:
    """Returns some rows as luminance over black, (h, W) uint16, and how many of their pixels are coloured.

    The page is given as Pillow decodes it, with its lower bytes; the box is left, top, right and bottom of the rows.
    """
    values = np.asarray(upper.crop(box)).astype(np.uint16) << 8 | np.asarray(lower.crop(box))
    colours, highest = values[..., :3], 256 * int(np.max(upper.getextrema()[:3])) + 255
    luminance = (colours @ _WEIGHTS + 500) // 1000
    if values.shape[2] == 4:
        luminance = (luminance * values[..., 3] + 2**15 - 1) // (2**16 - 1)
    n_coloured = int(np.count_nonzero(np.ptp(colours, axis=2) > COLOUR_DIFFERENCE / 255 * highest))
    return luminance, n_coloured


def _decoded(data: bytes, image: ImageFile.ImageFile, raw_mode: str) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=[image.format or ""]) as other:
        other.seek(image.tell())
        other.tile = [
            tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *(tile.args or ())[1:]))
            for tile in other.tile
        ]
        other.load()
        return other.copy()


def _raw_mode(image: ImageFile.ImageFile, number: int) -> str:
    args = image.tile[number].args
    return args if isinstance(args, str) else str(args[0] if args else "")
