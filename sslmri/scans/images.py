"""Image files to greyscale intensities."""

import io
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageChops, ImageFile, ImageSequence

from sslmri.errors import ScanError
from sslmri.scans.deep_colour import COLOUR_DIFFERENCE, deep_luminance, is_deep_colour, lower_bytes
from sslmri.scans.jpeg2000 import check_depth
from sslmri.scans.limits import MAX_VOXELS, check_size

_MAX_COLOURED = 0.1  # fraction of the pixels that coloured annotations may take
_WHITE_IS_ZERO = 0  # TIFF PhotometricInterpretation
_BAND_PIXELS = 2**20  # converted at once
_ORIENTATION_TAG, _PHOTOMETRIC_TAG, _TILE_WIDTH_TAG, _TILE_LENGTH_TAG = 274, 262, 322, 323
_MAX_MARGIN = 2**20  # pixels by which a tile of a TIFF, which is decompressed whole, may be larger than its page
_TOO_LARGE = f"The image is too large: over {MAX_VOXELS // 1_000_000} million pixels. Export it at a lower resolution."
_SEVERAL_PAGES = ("TIFF", "GIF", "WebP")
_PILLOW_NAMES = {"WebP": "WEBP", "JPEG 2000": "JPEG2000"}  # where they differ from ours
_ROTATIONS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF 2.3, table 6: where row and column 0 belong
    2: lambda page: page[:, ::-1],
    3: lambda page: page[::-1, ::-1],
    4: lambda page: page[::-1],
    5: lambda page: page.T,
    6: lambda page: page.T[:, ::-1],
    7: lambda page: page.T[::-1, ::-1],
    8: lambda page: page.T[::-1],
}

Image.MAX_IMAGE_PIXELS = MAX_VOXELS // 2  # Pillow refuses twice as many, also in an icon, whose directory may lie


def read_image(data: bytes, source: str) -> np.ndarray:
    """Returns the pages of an image as greyscale intensities: (D, H, W) float32, upright by their EXIF orientation.

    Coloured annotations become luminance (ITU-R 601), transparent pixels black; 16-bit and float values keep their
    range. The source is one of ``file_type.IMAGES``; no other decoder of Pillow is tried.

    Raises:
        ScanError: the image is too large, too small, coloured, or its pages differ in size.
        Exception: whatever the decoder raises on damaged data.
    """
    if source == "JPEG 2000":
        check_depth(data)
    try:
        if source == "PNG":
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                image.verify()  # all checksums: decoding stops once the rows are full
        with Image.open(io.BytesIO(data), formats=[_PILLOW_NAMES.get(source, source)]) as image:
            pages = [_to_greyscale(image, data)[None] for _ in _seek_pages(image, source)]
    except Image.DecompressionBombError as error:
        raise ScanError(_TOO_LARGE) from error
    del image  # with the decoded pixels of its last page
    if len({page.shape for page in pages}) > 1:
        raise ScanError(f"The pages of the {source} file differ in size. Export one series.")
    return stacked(pages)


def stacked(images: list[np.ndarray]) -> np.ndarray:
    """Returns the pages (n, H, W) of several images in one array (D, H, W) float32, each freed as it is copied."""
    if len(images) == 1:
        return np.ascontiguousarray(images[0], np.float32)
    pages = np.empty((sum(map(len, images)), *images[0].shape[1:]), np.float32)
    end = len(pages)
    while images:
        last = images.pop()
        pages[end - len(last) : end] = last
        end -= len(last)
        del last
    return pages


def _seek_pages(image: Image.Image, source: str) -> Iterator[int]:
    """Yields the number of each page once the image is at it.

    Raises:
        ScanError: it is too large or too small, or all pages up to it are.
    """
    pages = ImageSequence.Iterator(image) if source in _SEVERAL_PAGES else [image]
    for number, page in enumerate(pages, start=1):
        check_size((number, page.height, page.width))
        tags = getattr(page, "tag_v2", {})
        if tags.get(_TILE_WIDTH_TAG, 0) * tags.get(_TILE_LENGTH_TAG, 0) > page.width * page.height + _MAX_MARGIN:
            raise ScanError("The TIFF file has unusually large tiles. Export the image as PNG.")
        yield number


def _to_greyscale(image: ImageFile.ImageFile, data: bytes) -> np.ndarray:
    """Returns one page, upright, as (H, W) in uint8 or in the type of its 16-bit or float values.

    Raises:
        ScanError: much of it is coloured: a photograph, or a map painted over a scan.
    """
    # Pillow inverts 8-bit white-is-zero TIFF pages, but not those of 16 bits
    photometric = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC_TAG)
    is_inverted = image.mode.startswith("I;16") and photometric == _WHITE_IS_ZERO
    lower = lower_bytes(data, image) if is_deep_colour(image) else None
    image.load()
    dtype = np.asarray(image.crop((0, 0, 1, 1))).dtype if _is_deep(image) else np.uint16 if lower else np.uint8
    grey, n_coloured = np.empty(image.size[::-1], dtype), 0
    step = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, step):  # as each step copies what it is given
        box = 0, top, image.width, min(top + step, image.height)
        band, n_coloured_here = deep_luminance(image, lower, box) if lower else _band_to_greyscale(image, box)
        grey[top : box[3]] = band
        n_coloured += n_coloured_here
    if n_coloured > _MAX_COLOURED * grey.size:
        raise ScanError("This is a colour image. Export the MRI in greyscale.")
    rotate = _ROTATIONS.get(image.getexif().get(_ORIENTATION_TAG, 1))
    upright = rotate(grey) if rotate else grey
    return upright.max() - upright if is_inverted else upright


def _is_deep(image: Image.Image) -> bool:
    """Returns whether an image has intensities of over 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _band_to_greyscale(image: Image.Image, box: tuple[int, int, int, int]) -> tuple[np.ndarray, int]:
    """Returns some rows of an image as intensities, (h, W), and how many of their pixels are coloured."""
    band = image.crop(box)
    if _is_deep(band):
        return np.asarray(band), 0
    if "A" in band.getbands() or "transparency" in band.info:
        band = band.convert("RGBA")
        band = Image.alpha_composite(Image.new("RGBA", band.size, (0, 0, 0, 255)), band)
    n_coloured = 0 if band.mode in ("1", "L") else _count_coloured(band.convert("RGB"))
    return np.asarray(band.convert("L")), n_coloured


def _count_coloured(image: Image.Image) -> int:
    """Returns how many pixels of an RGB image are not grey."""
    red, green, blue = image.split()
    highest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    lowest = ImageChops.darker(ImageChops.darker(red, green), blue)
    return sum(ImageChops.subtract(highest, lowest).histogram()[COLOUR_DIFFERENCE + 1 :])
