"""Synthetic images that are not brain MRI, for the fit of the gate: drawn, cropped from photographs, or corrupted.

None shows a patient and none is downloaded; the photographs come with scikit-learn. Ten of these kinds are those that
an ablation kept out of 25 (``docs/gate.md``); letters and logos came back with an encoder that took a logo for a brain.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from sklearn.datasets import load_sample_images

_SIDE = 160  # pixels along each side of an image
_CORRUPTED = 0.15  # fraction of the images; with a quarter of them more slices of volumes were rejected
_Point = tuple[float, float]  # row and column, as fractions of half a side


def synthetic_images(count: int, slices: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """Returns that many images that are not brain MRI, each (H, W) float32 in 0..255, of all kinds in turn.

    Some of them are brain slices (N, H, W) uint8 of the training split, corrupted.
    """
    rng = np.random.default_rng(seed)
    n_corrupted = round(count * _CORRUPTED) if len(slices) else 0
    drawn = [DRAWINGS[i % len(DRAWINGS)](rng) for i in range(count - n_corrupted)]
    rows = rng.integers(max(len(slices), 1), size=n_corrupted)
    corrupted = [CORRUPTIONS[i % len(CORRUPTIONS)](slices[row].astype(float), rng) for i, row in enumerate(rows)]
    return [_rescaled(image) for image in [*drawn, *corrupted]]


def noise(rng: np.random.Generator) -> np.ndarray:
    """Returns noise, from white to clouds, some of it within a disc."""
    image = _texture(rng, rng.choice([0.0, 0.5, 1.0, 1.5, 2.0]))
    if rng.random() < 0.4:
        inside = _ellipse(rng, _point(rng, 0.2), (rng.uniform(0.4, 0.9), rng.uniform(0.4, 0.9)))
        image = np.where(inside, image - image.min(), 0)
    return image


def photograph(rng: np.random.Generator) -> np.ndarray:
    """Returns a crop of a photograph, rotated, mirrored and in part inverted or vignetted."""
    whole = _photographs()[rng.integers(len(_photographs()))]
    side = int(rng.integers(60, min(whole.shape)))
    top, left = rng.integers(whole.shape[0] - side + 1), rng.integers(whole.shape[1] - side + 1)
    crop = np.rot90(whole[top : top + side, left : left + side], int(rng.integers(4)))
    image = np.asarray(Image.fromarray(np.ascontiguousarray(crop)).resize((_SIDE, _SIDE)), dtype=np.float64)
    image = (255 - image) if rng.random() < 0.2 else image
    if rng.random() < 0.35:
        image = image * _ellipse(rng, _point(rng, 0.2), (rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.9)))
    return np.asarray(image ** rng.uniform(0.6, 1.6))


def writing(rng: np.random.Generator) -> np.ndarray:
    """Returns letters, lines and ellipses, bright on black or dark on white."""
    page = Image.new("L", (_SIDE, _SIDE), 0)
    pen = ImageDraw.Draw(page)
    for _ in range(rng.integers(1, 10)):
        words = "".join(chr(code) for code in rng.integers(33, 126, size=rng.integers(1, 16)))
        font = ImageFont.load_default(float(rng.integers(9, 60)))
        pen.text(tuple(rng.integers(-5, _SIDE - 20, 2).tolist()), words, int(rng.integers(90, 256)), font)
    for _ in range(rng.integers(0, 7)):
        (left, right), (top, bottom) = np.sort(rng.integers(0, _SIDE, (2, 2)), axis=1).tolist()
        box, shade, width = (left, top, right, bottom), int(rng.integers(90, 256)), int(rng.integers(1, 6))
        if rng.random() < 0.5:
            pen.line(box, shade, width)
        else:
            pen.ellipse(box, None, shade, width)
    image = np.asarray(page, dtype=np.float64)
    return 255 - image if rng.random() < 0.5 else image


def logo(rng: np.random.Generator) -> np.ndarray:
    """Returns a few flat ellipses around one point, with letters and bars across, on an even ground."""
    ground = rng.choice([0.0, 255.0, rng.uniform(0, 255)])
    image, middle = np.full((_SIDE, _SIDE), ground), _point(rng, 0.15)
    for size in np.sort(rng.uniform(0.15, 0.9, size=int(rng.integers(1, 5))))[::-1]:
        image = np.where(_ellipse(rng, middle, (size, size * rng.uniform(0.5, 1))), rng.uniform(0, 255), image)
    if rng.random() < 0.7:
        image = np.where(writing(rng) > 128, rng.uniform(0, 255), image)
    if rng.random() < 0.5:
        rows, columns = _grid()
        image = np.where(np.abs(rows) < rng.uniform(0.05, 0.3), rng.uniform(0, 255), image)
        image = np.where(np.abs(columns) < rng.uniform(0.02, 0.2), rng.uniform(0, 255), image)
    return np.asarray(ndimage.gaussian_filter(image, rng.uniform(0, 1)))


def ultrasound(rng: np.random.Generator) -> np.ndarray:
    """Returns a fan of speckle with dark cavities."""
    rows, columns = _grid()
    down = rows + rng.uniform(1.0, 1.2)
    radius, angle = np.hypot(down, columns), np.arctan2(columns, down)
    in_angle = np.abs(angle) < rng.uniform(0.35, 0.9)
    fan = in_angle & (radius > rng.uniform(0.05, 0.3)) & (radius < rng.uniform(1.6, 2.1))
    tissue = 90 + 50 * _texture(rng, 1.3)
    for _ in range(rng.integers(1, 5)):
        tissue = np.where(_ellipse(rng, _point(rng, 0.5), (rng.uniform(0.1, 0.4), rng.uniform(0.1, 0.4))), 15, tissue)
    speckle = ndimage.gaussian_filter(rng.rayleigh(1, size=fan.shape), (0.5, rng.uniform(0.5, 2)))
    return np.asarray(np.where(fan, tissue.clip(5) * speckle, 0))


def limb_sections(rng: np.random.Generator) -> np.ndarray:
    """Returns one or several round sections with bone inside: arms, legs, fingers."""
    image = np.zeros((_SIDE, _SIDE))
    for _ in range(rng.integers(1, 6)):
        centre, size = _point(rng, 0.6), rng.uniform(0.12, 0.5)
        limb = _ellipse(rng, centre, (size, size * rng.uniform(0.7, 1)))
        image = np.where(limb, rng.uniform(60, 200), image)
        for _ in range(rng.integers(1, 3)):
            at = (centre[0] + rng.uniform(-0.4, 0.4) * size, centre[1] + rng.uniform(-0.4, 0.4) * size)
            bone = _ellipse(rng, at, (size * rng.uniform(0.15, 0.4), size * rng.uniform(0.15, 0.4)))
            image = np.where(bone & limb, rng.choice([rng.uniform(0, 40), rng.uniform(200, 255)]), image)
    return _scanned(image, rng)


def head_ct(rng: np.random.Generator) -> np.ndarray:
    """Returns a head as CT shows it: a bright shell around almost uniform grey, in part with dark ventricles."""
    head = _ellipse(rng, _point(rng, 0.08), (rng.uniform(0.6, 0.9), rng.uniform(0.5, 0.75)))
    inside = ndimage.binary_erosion(head, iterations=int(rng.integers(3, 9)))
    level = rng.uniform(60, 130)
    image = np.where(inside, level + rng.uniform(1, 6) * _texture(rng, rng.uniform(0, 1)), np.where(head, 255.0, 0.0))
    if rng.random() < 0.6:
        for column in (-0.12, 0.12):
            centre, radii = (rng.uniform(-0.2, 0.1), column), (rng.uniform(0.1, 0.3), rng.uniform(0.03, 0.09))
            image = np.where(_ellipse(rng, centre, radii) & inside, level - rng.uniform(10, 40), image)
    return _scanned(image, rng)


def emission(rng: np.random.Generator) -> np.ndarray:
    """Returns a faint grainy body, whole and upright, with a few bright organs, as PET and SPECT show it."""
    body = _ellipse(rng, (0.0, 0.0), (rng.uniform(0.7, 0.95), rng.uniform(0.15, 0.5)))
    head = _ellipse(rng, (rng.uniform(-0.85, -0.7), 0.0), (0.14, 0.1))
    activity = rng.uniform(2, 10) * (body | head)
    for _ in range(rng.integers(2, 12)):
        centre = (rng.uniform(-0.8, 0.8), rng.uniform(-0.25, 0.25))
        organ = _ellipse(rng, centre, (rng.uniform(0.02, 0.2), rng.uniform(0.02, 0.1)))
        activity = activity + rng.uniform(5, 60) * (organ & body)
    counts = rng.poisson(ndimage.gaussian_filter(activity, rng.uniform(1, 3)))
    return np.asarray(ndimage.gaussian_filter(counts.astype(float), rng.uniform(0.3, 1.2)))


def shuffle_tiles(slice_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the slice cut into square tiles in random order."""
    n_tiles = int(rng.choice([4, 8]))
    height, width = (side // n_tiles for side in slice_.shape)
    tiles = slice_[: height * n_tiles, : width * n_tiles].reshape(n_tiles, height, n_tiles, width)
    flat = tiles.transpose(0, 2, 1, 3).reshape(-1, height, width)[rng.permutation(n_tiles**2)]
    mixed = flat.reshape(n_tiles, n_tiles, height, width).transpose(0, 2, 1, 3)
    return np.asarray(mixed.reshape(height * n_tiles, width * n_tiles))


def posterise(slice_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a few flat levels, as label maps and silhouettes have them."""
    levels = int(rng.integers(1, 4))
    smooth = ndimage.gaussian_filter(slice_, rng.uniform(1.0, 3.0))
    steps = np.digitize(smooth, np.linspace(25, 200, levels))
    return rng.permutation(np.linspace(0, 255, levels + 1)[1:])[steps - 1] * (steps > 0)


def edges(slice_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the edges alone."""
    return np.asarray(ndimage.gaussian_gradient_magnitude(slice_, rng.uniform(0.6, 1.5)))


def swirl(slice_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the slice twisted around its centre."""
    rows, columns = np.indices(slice_.shape) - np.array(slice_.shape)[:, None, None] / 2
    radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    angle = angle + rng.choice([-1, 1]) * rng.uniform(3, 8) * np.exp(-radius / rng.uniform(25, 60))
    at = [radius * np.sin(angle) + slice_.shape[0] / 2, radius * np.cos(angle) + slice_.shape[1] / 2]
    return np.asarray(ndimage.map_coordinates(slice_, at, order=1))


DRAWINGS: Sequence[Callable[[np.random.Generator], np.ndarray]] = (
    noise, photograph, writing, logo, ultrasound, limb_sections, head_ct, emission,
)  # fmt: skip
CORRUPTIONS: Sequence[Callable[[np.ndarray, np.random.Generator], np.ndarray]] = (
    shuffle_tiles, posterise, edges, swirl,
)  # fmt: skip


def _rescaled(image: np.ndarray) -> np.ndarray:
    low, high = float(image.min()), float(image.max())
    return ((image - low) / max(high - low, 1e-6) * 255).astype(np.float32)


def _scanned(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a drawing with the blur, texture and noise of a scanner."""
    smooth = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.6))
    grain = 1 + rng.uniform(0, 0.25) * _texture(rng, rng.uniform(0.3, 1.2))
    return np.asarray(smooth * grain + rng.uniform(0, 8) * rng.normal(size=image.shape))


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows and columns of an image, both (S, S) in -1..1."""
    axis = np.linspace(-1, 1, _SIDE)
    rows, columns = np.meshgrid(axis, axis, indexing="ij")
    return rows, columns


def _ellipse(rng: np.random.Generator, centre: _Point, radii: _Point) -> np.ndarray:
    """Returns a rotated ellipse with a wavy edge, (S, S) bool."""
    rows, columns = _grid()
    rotation = rng.uniform(-0.5, 0.5)
    down, right = rows - centre[0], columns - centre[1]
    first = (down * np.cos(rotation) + right * np.sin(rotation)) / radii[0]
    second = (right * np.cos(rotation) - down * np.sin(rotation)) / radii[1]
    angle = np.arctan2(second, first)
    edge = 1 + rng.uniform(0, 0.12) * np.sin(rng.integers(2, 6) * angle + rng.uniform(0, 6))
    return np.asarray(np.hypot(first, second) < edge)


def _point(rng: np.random.Generator, farthest: float) -> _Point:
    """Returns a point at most ``farthest`` from the centre along either axis."""
    return float(rng.uniform(-farthest, farthest)), float(rng.uniform(-farthest, farthest))


def _texture(rng: np.random.Generator, slope: float) -> np.ndarray:
    """Returns noise whose amplitude falls with frequency to that power, (S, S) of standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(_SIDE)[:, None], np.fft.rfftfreq(_SIDE)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.normal(size=(_SIDE, _SIDE))) / frequency**slope
    image = np.fft.irfft2(spectrum, s=(_SIDE, _SIDE))
    return np.asarray((image - image.mean()) / image.std())


@cache
def _photographs() -> tuple[np.ndarray, ...]:
    images = load_sample_images().images
    return tuple(np.ascontiguousarray(image[..., channel]) for image in images for channel in range(3))
