"""Scans of something else, drawn with a few strokes, and brain slices spoilt until they show no brain any more."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from sslmri.gate.drawing import SIDE, disc, grid, spot, texture

Corruption = Callable[[np.ndarray, np.random.Generator], np.ndarray]

_TISSUE = 36  # pixels from the middle of a slice, to each side, in which there is tissue


def torso(rng: np.random.Generator) -> np.ndarray:
    """Returns a section of a trunk: an oval with organs, a spine and perhaps two dark lungs."""
    body = disc(rng, spot(rng, 0.1), (rng.uniform(0.45, 0.7), rng.uniform(0.65, 0.95)))
    picture = np.where(body, rng.uniform(60, 130), 0)
    for _ in range(rng.integers(2, 9)):
        organ = body & disc(rng, spot(rng, 0.5), (rng.uniform(0.06, 0.3), rng.uniform(0.06, 0.3)))
        picture = np.where(organ, rng.uniform(30, 220), picture)
    if rng.random() < 0.5:
        for side in (-0.4, 0.4):
            lung = body & disc(rng, (rng.uniform(-0.1, 0.1), side), (rng.uniform(0.25, 0.4), rng.uniform(0.15, 0.3)))
            picture = np.where(lung, rng.uniform(0, 40), picture)
    spine = disc(rng, (rng.uniform(0.25, 0.5), 0.0), (rng.uniform(0.08, 0.15), rng.uniform(0.08, 0.15)))
    return _scanned(np.where(spine, rng.uniform(180, 255), picture), rng)


def radiograph(rng: np.random.Generator) -> np.ndarray:
    """Returns a chest in projection: grey all over, two dark fields, a bright middle and ribs; or its negative."""
    rows, columns = grid()
    picture = 120 + 40 * rows + 20 * texture(rng, 1.5)
    for side in (-0.42, 0.42):
        lung = disc(rng, (rng.uniform(-0.15, 0.1), side), (rng.uniform(0.5, 0.75), rng.uniform(0.22, 0.36)))
        picture = picture - rng.uniform(50, 110) * ndimage.gaussian_filter(lung.astype(float), rng.uniform(2, 7))
    bend, period = rng.uniform(0.2, 0.8), rng.uniform(12, 30)
    picture = picture + rng.uniform(8, 30) * (np.sin(period * (rows + bend * columns**2)) > 0.3)
    picture = picture + rng.uniform(40, 100) * np.exp(-((columns / rng.uniform(0.08, 0.25)) ** 2))
    return _scanned(255 - picture if rng.random() < 0.2 else picture, rng)


def ultrasound(rng: np.random.Generator) -> np.ndarray:
    """Returns a fan of speckle with dark cavities."""
    rows, columns = grid()
    down = rows + rng.uniform(1.0, 1.2)
    radius, angle = np.hypot(down, columns), np.arctan2(columns, down)
    fan = (
        (np.abs(angle) < rng.uniform(0.35, 0.9)) & (radius > rng.uniform(0.05, 0.3)) & (radius < rng.uniform(1.6, 2.1))
    )
    tissue = 90 + 50 * texture(rng, 1.3)
    for _ in range(rng.integers(1, 5)):
        tissue = np.where(disc(rng, spot(rng, 0.5), (rng.uniform(0.1, 0.4), rng.uniform(0.1, 0.4))), 15, tissue)
    speckle = ndimage.gaussian_filter(rng.rayleigh(1, size=fan.shape), (0.5, rng.uniform(0.5, 2)))
    return np.asarray(np.where(fan, tissue.clip(5) * speckle, 0))


def limb_section(rng: np.random.Generator) -> np.ndarray:
    """Returns one or several round sections with bone inside: arms, legs, fingers, fruit."""
    picture = np.zeros((SIDE, SIDE))
    for _ in range(rng.integers(1, 6)):
        centre, size = spot(rng, 0.6), rng.uniform(0.12, 0.5)
        limb = disc(rng, centre, (size, size * rng.uniform(0.7, 1)))
        picture = np.where(limb, rng.uniform(60, 200), picture)
        for _ in range(rng.integers(1, 3)):
            at = (centre[0] + rng.uniform(-0.4, 0.4) * size, centre[1] + rng.uniform(-0.4, 0.4) * size)
            bone = disc(rng, at, (size * rng.uniform(0.15, 0.4), size * rng.uniform(0.15, 0.4)))
            picture = np.where(bone & limb, rng.choice([rng.uniform(0, 40), rng.uniform(200, 255)]), picture)
    return _scanned(picture, rng)


def long_bones(rng: np.random.Generator) -> np.ndarray:
    """Returns long bright or layered bands, straight or bent: limbs along their length, spines, hands."""
    rows, columns = grid()
    turn = rng.uniform(0, np.pi)
    along = rows * np.cos(turn) + columns * np.sin(turn)
    across = columns * np.cos(turn) - rows * np.sin(turn) + rng.uniform(-0.3, 0.3) * along**2
    picture = np.zeros((SIDE, SIDE))
    for _ in range(rng.integers(1, 6)):
        centre, width = rng.uniform(-0.7, 0.7), rng.uniform(0.05, 0.4)
        inside = np.abs(across - centre) < width * (1 + 0.2 * np.sin(rng.uniform(2, 9) * along))
        picture = np.where(inside, rng.uniform(60, 255), picture)
    if rng.random() < 0.5:
        picture = picture * (0.6 + 0.4 * (np.sin(rng.uniform(8, 25) * along) > 0))
    return _scanned(picture, rng)


def vessels(rng: np.random.Generator) -> np.ndarray:
    """Returns bright winding threads on a dark or even ground: angiograms, the back of an eye, wires."""
    picture = np.zeros((SIDE, SIDE))
    for _ in range(rng.integers(3, 20)):
        place, heading = rng.uniform(0, SIDE, 2), rng.uniform(0, 2 * np.pi)
        for _ in range(rng.integers(40, 200)):
            heading += rng.normal(0, 0.2)
            place = place + np.array([np.cos(heading), np.sin(heading)])
            row, column = place.astype(int).clip(0, SIDE - 1)
            picture[row, column] = 255
    picture = ndimage.gaussian_filter(
        ndimage.grey_dilation(picture, size=int(rng.integers(1, 5))), rng.uniform(0.4, 1.5)
    )
    ground = rng.uniform(0, 60) + rng.uniform(0, 12) * texture(rng, 1)
    return np.asarray(100 - picture + ground if rng.random() < 0.3 else picture + ground)


def head_in_ct(rng: np.random.Generator) -> np.ndarray:
    """Returns a head as CT shows it: a bright shell around almost even grey, perhaps with dark chambers."""
    radii = (rng.uniform(0.6, 0.9), rng.uniform(0.5, 0.75))
    state = np.random.default_rng(int(rng.integers(1 << 31)))
    head = disc(state, spot(rng, 0.08), radii)
    thickness = int(rng.integers(3, 9))
    inside = ndimage.binary_erosion(head, iterations=thickness)
    level = rng.uniform(60, 130)
    picture = np.where(inside, level + rng.uniform(1, 6) * texture(rng, rng.uniform(0, 1)), np.where(head, 255.0, 0.0))
    if rng.random() < 0.6:
        for side in (-0.12, 0.12):
            chamber = disc(rng, (rng.uniform(-0.2, 0.1), side), (rng.uniform(0.1, 0.3), rng.uniform(0.03, 0.09)))
            picture = np.where(chamber & inside, level - rng.uniform(10, 40), picture)
    return _scanned(picture, rng)


def microscopy(rng: np.random.Generator) -> np.ndarray:
    """Returns many small round cells or coins on an even ground, bright on dark or dark on bright."""
    picture = np.full((SIDE, SIDE), 30.0) + rng.uniform(0, 15) * texture(rng, 1)
    size = rng.uniform(0.05, 0.25)
    for _ in range(rng.integers(8, 40)):
        cell = disc(rng, spot(rng, 0.95), (size * rng.uniform(0.7, 1.2), size * rng.uniform(0.7, 1.2)))
        picture = np.where(cell, rng.uniform(90, 230) + rng.uniform(0, 25) * texture(rng, 1), picture)
    return 255 - picture if rng.random() < 0.5 else picture


def emission(rng: np.random.Generator) -> np.ndarray:
    """Returns a faint grainy body, whole and upright, with a few bright organs: what tracers show."""
    body = disc(rng, (0.0, 0.0), (rng.uniform(0.7, 0.95), rng.uniform(0.15, 0.5)))
    head = disc(rng, (rng.uniform(-0.85, -0.7), 0.0), (0.14, 0.1))
    light = rng.uniform(2, 10) * (body | head)
    for _ in range(rng.integers(2, 12)):
        organ = disc(
            rng, (rng.uniform(-0.8, 0.8), rng.uniform(-0.25, 0.25)), (rng.uniform(0.02, 0.2), rng.uniform(0.02, 0.1))
        )
        light = light + rng.uniform(5, 60) * (organ & body)
    counts = rng.poisson(ndimage.gaussian_filter(light, rng.uniform(1, 3)))
    return np.asarray(ndimage.gaussian_filter(counts.astype(float), rng.uniform(0.3, 1.2)))


def _scanned(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a drawing with the blur, texture and noise of a scanner."""
    smooth = ndimage.gaussian_filter(picture, rng.uniform(0.3, 1.6))
    grain = 1 + rng.uniform(0, 0.25) * texture(rng, rng.uniform(0.3, 1.2))
    return np.asarray(smooth * grain + rng.uniform(0, 8) * rng.normal(size=picture.shape))


def shuffled(slice_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the slice cut into square tiles that have changed places."""
    n_tiles = int(rng.choice([4, 8]))
    height, width = (side // n_tiles for side in slice_.shape)
    tiles = slice_[: height * n_tiles, : width * n_tiles].reshape(n_tiles, height, n_tiles, width)
    flat = tiles.transpose(0, 2, 1, 3).reshape(-1, height, width)[rng.permutation(n_tiles**2)]
    mixed = flat.reshape(n_tiles, n_tiles, height, width).transpose(0, 2, 1, 3)
    return np.asarray(mixed.reshape(height * n_tiles, width * n_tiles))


def inverted(slice_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the negative, of the whole picture."""
    return 255 - slice_


def phases_lost(slice_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a picture with the slice's frequencies and none of its shapes."""
    spectrum = np.abs(np.fft.rfft2(slice_)) * np.exp(
        2j * np.pi * rng.random((slice_.shape[0], slice_.shape[1] // 2 + 1))
    )
    return np.asarray(np.fft.irfft2(spectrum, s=slice_.shape))


def enlarged(slice_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a small part that fills the picture: tissue without a head around it."""
    side = int(rng.integers(18, 40))
    if min(slice_.shape) < 2 * _TISSUE:
        slice_ = ndimage.zoom(slice_, 2 * _TISSUE / min(slice_.shape), order=1)
    top, left = rng.integers(0, 2 * _TISSUE - side, 2) + np.array(slice_.shape) // 2 - _TISSUE
    return np.asarray(ndimage.zoom(slice_[top : top + side, left : left + side], 96 / side, order=1))


def mask(slice_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a few flat levels, as label maps and silhouettes have them."""
    levels = int(rng.integers(1, 4))
    smooth = ndimage.gaussian_filter(slice_, rng.uniform(1.0, 3.0))
    steps = np.digitize(smooth, np.linspace(25, 200, levels))
    return rng.permutation(np.linspace(0, 255, levels + 1)[1:])[steps - 1] * (steps > 0)


def outlined(slice_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the edges alone."""
    return np.asarray(ndimage.gaussian_gradient_magnitude(slice_, rng.uniform(0.6, 1.5)))


def add_noise(slice_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the slice under noise that is stronger than it."""
    return np.asarray((slice_ + rng.uniform(150, 400) * rng.normal(size=slice_.shape)).clip(0, 500))


def blurred(slice_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the slice so blurred that a bright cloud is left."""
    return np.asarray(ndimage.gaussian_filter(slice_, rng.uniform(8, 16)))


def swirl(slice_: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the slice wound up around its middle."""
    rows, columns = np.indices(slice_.shape) - np.array(slice_.shape)[:, None, None] / 2
    radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    angle = angle + rng.choice([-1, 1]) * rng.uniform(3, 8) * np.exp(-radius / rng.uniform(25, 60))
    at = [radius * np.sin(angle) + slice_.shape[0] / 2, radius * np.cos(angle) + slice_.shape[1] / 2]
    return np.asarray(ndimage.map_coordinates(slice_, at, order=1))


BODIES: Sequence[Callable[[np.random.Generator], np.ndarray]] = (
    torso, radiograph, ultrasound, limb_section, long_bones, vessels, head_in_ct, microscopy, emission,
)  # fmt: skip
CORRUPTIONS: Sequence[Corruption] = (
    shuffled, inverted, phases_lost, enlarged, mask, outlined, add_noise, blurred, swirl,
)  # fmt: skip
