"""Pictures that are no brain MRI, made on the spot: what the first level of the applicability judgement learns from.

They stand for what may be uploaded by mistake: noise, patterns, drawings, photographs, other scans and body parts, and
brain slices that were spoilt. None is a patient and none is downloaded; two are crops of the photographs that come with
scikit-learn.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from sklearn.datasets import load_sample_images

from sslmri.gate.drawing import SIDE, disc, grid, spot, texture
from sslmri.gate.synthetic_bodies import BODIES, CORRUPTIONS

_SPOILT_SHARE = 0.25  # of the pictures

Maker = Callable[[np.random.Generator], np.ndarray]


def make_pictures(count: int, slices: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """Returns so many pictures that are no brain MRI, each (H, W) float32 in 0..255, of all kinds in turn.

    Args:
        count: how many.
        slices: (N, H, W) uint8, brain slices of the training side; a quarter of the pictures are these, spoilt.
        seed: of everything.
    """
    rng = np.random.default_rng(seed)
    n_spoilt = round(count * _SPOILT_SHARE) if len(slices) else 0
    makers, spoilers = [*MAKERS, *BODIES], CORRUPTIONS
    made = [makers[i % len(makers)](rng) for i in range(count - n_spoilt)]
    rows = rng.integers(max(len(slices), 1), size=n_spoilt)
    spoilt = [spoilers[i % len(spoilers)](slices[row].astype(np.float32), rng) for i, row in enumerate(rows)]
    return [_as_grey(picture) for picture in [*made, *spoilt]]


def _as_grey(picture: np.ndarray) -> np.ndarray:
    low, high = float(picture.min()), float(picture.max())
    return ((picture - low) / max(high - low, 1e-6) * 255).astype(np.float32)


def noise(rng: np.random.Generator) -> np.ndarray:
    """Returns noise, from white to clouds, in some pictures within a disc."""
    picture = texture(rng, rng.choice([0.0, 0.5, 1.0, 1.5, 2.0]))
    if rng.random() < 0.4:
        inside = disc(rng, spot(rng, 0.2), (rng.uniform(0.4, 0.9), rng.uniform(0.4, 0.9)))
        picture = np.where(inside, picture - picture.min(), 0)
    return picture


def pattern(rng: np.random.Generator) -> np.ndarray:
    """Returns a gradient, rings, stripes, a checkerboard or a grid."""
    rows, columns = grid()
    turn, period = rng.uniform(0, np.pi), rng.uniform(2, 30)
    along, across = (rows * np.cos(turn) + columns * np.sin(turn), columns * np.cos(turn) - rows * np.sin(turn))
    kind = rng.integers(6)
    if kind == 0:
        return np.asarray(along)
    if kind == 1:
        return np.asarray(-(np.hypot(rows - rng.uniform(-0.5, 0.5), columns) ** rng.uniform(0.5, 3)))
    if kind == 2:
        return np.asarray(np.sin(period * along))
    if kind == 3:
        return np.asarray(np.sign(np.sin(period * along) * np.sin(period * across)))
    if kind == 4:
        return np.asarray(np.sin(period * np.hypot(rows, columns)))
    return np.asarray(np.maximum(np.sin(period * along), np.sin(period * across)) > 0.9)


def shapes(rng: np.random.Generator) -> np.ndarray:
    """Returns a few flat or shaded ellipses, boxes and rings on an even ground, sharp or blurred."""
    picture = np.full((SIDE, SIDE), rng.choice([0.0, 0.0, rng.uniform(0, 255)]))
    for _ in range(rng.integers(1, 7)):
        inside = disc(rng, spot(rng), (rng.uniform(0.08, 0.8), rng.uniform(0.08, 0.8)))
        if rng.random() < 0.3:
            rows, columns = grid()
            top, left = spot(rng)
            inside = (np.abs(rows - top) < rng.uniform(0.1, 0.6)) & (np.abs(columns - left) < rng.uniform(0.1, 0.6))
        if rng.random() < 0.3:
            inside &= ~ndimage.binary_erosion(inside, iterations=int(rng.integers(2, 10)))
        picture = np.where(inside, rng.uniform(20, 255), picture)
    if rng.random() < 0.4:
        picture = ndimage.gaussian_filter(picture, rng.uniform(0.5, 6))
    return picture + rng.choice([0.0, 0.0, rng.uniform(0, 12)]) * rng.normal(size=picture.shape)


def leaves(rng: np.random.Generator) -> np.ndarray:
    """Returns shapes of all sizes that cover each other, which has the statistics of photographs (dead leaves)."""
    picture = np.full((SIDE, SIDE), rng.uniform(0, 255))
    shading = texture(rng, 1.2)
    for size in np.sort(rng.pareto(1.2, size=int(rng.integers(30, 120))) * 0.05)[::-1].clip(0.03, 0.9):
        inside = disc(rng, spot(rng, 1.0), (size, size * rng.uniform(0.4, 1)))
        picture = np.where(inside, rng.uniform(0, 255) + rng.uniform(0, 25) * shading, picture)
    return ndimage.gaussian_filter(picture, rng.uniform(0, 1.2))


def photograph(rng: np.random.Generator) -> np.ndarray:
    """Returns a crop of a photograph, turned, mirrored and in some pictures as a negative or vignetted."""
    whole = _photographs()[rng.integers(len(_photographs()))]
    side = int(rng.integers(60, min(whole.shape)))
    top, left = rng.integers(whole.shape[0] - side + 1), rng.integers(whole.shape[1] - side + 1)
    crop = np.rot90(whole[top : top + side, left : left + side], int(rng.integers(4)))
    picture = np.asarray(Image.fromarray(np.ascontiguousarray(crop)).resize((SIDE, SIDE)), dtype=np.float64)
    picture = (255 - picture) if rng.random() < 0.2 else picture
    if rng.random() < 0.35:
        picture = picture * disc(rng, spot(rng, 0.2), (rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.9)))
    return np.asarray(picture ** rng.uniform(0.6, 1.6))


@cache
def _photographs() -> tuple[np.ndarray, ...]:
    colours = load_sample_images().images
    return tuple(np.ascontiguousarray(picture[..., channel]) for picture in colours for channel in range(3))


def writing(rng: np.random.Generator) -> np.ndarray:
    """Returns letters, lines and simple drawings, white on black or black on white."""
    page = Image.new("L", (SIDE, SIDE), 0)
    pen = ImageDraw.Draw(page)
    for _ in range(rng.integers(1, 10)):
        words = "".join(chr(code) for code in rng.integers(33, 126, size=rng.integers(1, 16)))
        font = ImageFont.load_default(float(rng.integers(9, 60)))
        pen.text(tuple(rng.integers(-5, SIDE - 20, 2).tolist()), words, int(rng.integers(90, 256)), font)
    for _ in range(rng.integers(0, 7)):
        points = rng.integers(0, SIDE, 4)
        box = [*np.minimum(points[:2], points[2:]).tolist(), *np.maximum(points[:2], points[2:]).tolist()]
        width = int(rng.integers(1, 6))
        if rng.random() < 0.5:
            pen.line(points.tolist(), int(rng.integers(90, 256)), width)
        else:
            pen.ellipse(box, None, int(rng.integers(90, 256)), width)
    picture = np.asarray(page, dtype=np.float64)
    return 255 - picture if rng.random() < 0.5 else picture


def logo(rng: np.random.Generator) -> np.ndarray:
    """Returns a sign: a few flat shapes around one middle, with letters across, on an even ground."""
    ground = rng.choice([0.0, 255.0, rng.uniform(0, 255)])
    picture, middle = np.full((SIDE, SIDE), ground), spot(rng, 0.15)
    for size in np.sort(rng.uniform(0.15, 0.9, size=int(rng.integers(1, 5))))[::-1]:
        picture = np.where(disc(rng, middle, (size, size * rng.uniform(0.5, 1))), rng.uniform(0, 255), picture)
    if rng.random() < 0.7:
        picture = np.where(writing(rng) > 128, rng.uniform(0, 255), picture)
    if rng.random() < 0.5:
        rows, columns = grid()
        picture = np.where(np.abs(rows) < rng.uniform(0.05, 0.3), rng.uniform(0, 255), picture)
        picture = np.where(np.abs(columns) < rng.uniform(0.02, 0.2), rng.uniform(0, 255), picture)
    return np.asarray(ndimage.gaussian_filter(picture, rng.uniform(0, 1)))


MAKERS: Sequence[Maker] = (noise, pattern, shapes, leaves, photograph, writing, logo)
