"""The simulated findings: painted into the average anatomy, then deformed as each simulated subject is."""

from dataclasses import dataclass

import numpy as np

from sslmri.cohorts.anatomy import GRID, VOXEL_MM, Atlas, axes_mm, ellipsoid, resample, smooth_field, to_voxel

# Tissue lost to fluid: how far the walls of the ventricles have moved outwards in mm, and the fraction of the cortex,
# next to the sulci, that has become fluid. Each stage loses so much beyond ageing; neighbouring stages overlap.
Loss = tuple[float, float]
_LOSS_OF_STAGE = {"very_mild_demented": (0.9, 0.05), "mild_demented": (2.0, 0.11), "moderate_demented": (4.0, 0.22)}
_LOSS_STD = (0.45, 0.025)


@dataclass(frozen=True)
class Lesion:
    """Something that looks unlike healthy tissue, in atlas space.

    Attributes:
        opacity: (D, H, W) 0 to 1, how far the healthy brightness is replaced.
        brightness: (D, H, W) 0 to 1, what replaces it.
        extent: (D, H, W) 0 or 1, the finding itself: without oedema.
        centre_mm: right, anterior, superior.
        radius_mm: mean radius.
        push_mm: how far the tissue around it is pushed away.
    """

    opacity: np.ndarray
    brightness: np.ndarray
    extent: np.ndarray
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius_mm: float = 0.0
    push_mm: float = 0.0


def age_brain(rng: np.random.Generator, mean_age_loss: float) -> Loss:
    """Returns the loss of healthy ageing: the same for all classes of a disease, different for each person."""
    wall, cortex = np.clip(rng.normal((mean_age_loss, 0.08 * mean_age_loss), (0.5, 0.03)), 0, None).tolist()
    return wall, cortex


def add_dementia(rng: np.random.Generator, label: str, ageing: Loss) -> Loss:
    """Returns the loss of ageing and of an Alzheimer's stage together; ageing itself for the reference class."""
    if label not in _LOSS_OF_STAGE:
        return ageing
    wall, cortex = np.clip(rng.normal(_LOSS_OF_STAGE[label], _LOSS_STD), (0.4, 0.02), None).tolist()
    return ageing[0] + wall, ageing[1] + cortex


def lose_tissue(
    atlas: Atlas, coordinates: np.ndarray, ageing: Loss, total: Loss
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns grey matter, white matter and the part of both, each (N,) 0 to 1, that was lost beyond ageing.

    Coordinates (3, N) are atlas voxels; the total loss is that of ageing and disease together.
    """
    healthy = _tissue_left(atlas, coordinates, ageing)
    if total == ageing:
        return *healthy, np.zeros_like(healthy[0])
    left = _tissue_left(atlas, coordinates, total)
    return *left, np.clip(sum(healthy) - sum(left), 0, 1)


def _tissue_left(atlas: Atlas, coordinates: np.ndarray, loss: Loss) -> tuple[np.ndarray, np.ndarray]:
    """Returns grey and white matter (N,): walls of the ventricles moved out, sulci opened."""
    wall_mm, cortex = loss
    push = np.stack([resample(part, coordinates) for part in atlas.ventricle_push])
    moved = coordinates - push * (wall_mm / VOXEL_MM)
    # Reading across a narrow ventricle would find its far wall, so what lies within the wall's path is made fluid.
    clear = _soft(resample(atlas.ventricle_mm, coordinates) - wall_mm - 0.5, 0.7)
    kept = 1 - _soft(resample(atlas.sulcal, coordinates) - (1 - cortex), 0.05)
    return resample(atlas.grey, moved) * kept * clear, resample(atlas.white, moved) * kept * clear


def push_aside(lesion: Lesion, coordinates: np.ndarray) -> np.ndarray:
    """Returns (3, N) atlas coordinates after a mass at its centre has pushed the tissue around it away."""
    if lesion.push_mm == 0:
        return coordinates
    away = coordinates - to_voxel(*lesion.centre_mm)[:, None]
    reach = lesion.radius_mm / VOXEL_MM
    distance = np.linalg.norm(away, axis=0) + 1e-6
    shift = np.minimum(distance / reach, 1) * np.exp(-np.clip(distance / reach - 1, 0, None))
    return np.asarray(coordinates - away / distance * shift * lesion.push_mm / VOXEL_MM)


def grow_glioma(rng: np.random.Generator, atlas: Atlas) -> Lesion:
    """Returns a ragged mass in the white matter of a hemisphere: dark core, bright ragged rim, dark oedema."""
    right, anterior, superior = axes_mm()
    radius = rng.uniform(13, 24)
    deep = atlas.brain_depth_mm > 0.6 * radius
    lobes = (np.abs(right) > 16) & (superior > -22) & (superior < 44) & (anterior > -74) & (anterior < 44)
    centre = _pick(rng, deep & lobes & (atlas.white > 0.7))
    ragged = smooth_field(rng, GRID, 5) * 0.75
    distance = ellipsoid(centre, tuple(radius * rng.uniform(0.8, 1.2, 3))) + ragged
    inside = (atlas.brain > 0.5) & (atlas.ventricle_mm > 0)
    core = _soft(rng.uniform(0.55, 0.75) - distance + 0.4 * smooth_field(rng, GRID, 4))
    mass = _soft(1 - distance) * inside
    oedema = _soft(rng.uniform(1.4, 1.8) - distance - ragged, 0.15) * atlas.white * 0.75
    rim_brightness, core_brightness = rng.uniform(0.66, 0.92), rng.uniform(0.14, 0.22)
    tumour = rim_brightness + (core_brightness - rim_brightness) * core
    return Lesion(
        opacity=np.maximum(mass, oedema),
        brightness=tumour * mass + 0.27 * (1 - mass),
        extent=(mass > 0.5).astype(np.float32),
        centre_mm=centre,
        radius_mm=radius,
        push_mm=0.3 * radius,
    )


def grow_meningioma(rng: np.random.Generator, atlas: Atlas) -> Lesion:
    """Returns a smooth, evenly bright mass on the dura of the convexity or the falx, with a tail and a dark cleft."""
    right, anterior, superior = axes_mm()
    radius = rng.uniform(10, 19)
    depth = atlas.hull_depth_mm
    convexity = (depth > 0) & (depth <= 2) & (np.abs(right) > 22)
    falx = (np.abs(right) <= 2) & (depth > 0) & (depth < 12) & (superior > 32)
    side = falx if rng.random() < 0.3 else convexity
    anchor = _pick(rng, side & (superior > -4) & (superior < 58) & (anterior > -84) & (anterior < 56))
    inward = np.array([rng.choice((-1.0, 1.0)), 0, 0]) if side is falx else np.array((0, -16, 14)) - anchor
    centre = anchor + inward / np.linalg.norm(inward) * radius * 0.62
    distance = ellipsoid(tuple(centre), tuple(radius * rng.uniform(0.88, 1.14, 3))) + 0.12 * smooth_field(rng, GRID, 6)
    tail = (depth <= 3.5) & (distance < 1.5) if side is convexity else (np.abs(right) < 1.5) & (distance < 1.4)
    mass = np.maximum(_soft(1 - distance, 0.06), tail * 0.9) * (depth > 0)
    cleft = _soft(1.16 - distance, 0.06) * (depth > 0) * 0.6
    return Lesion(
        opacity=np.maximum(mass, cleft),
        brightness=rng.uniform(0.72, 0.90) * mass + 0.16 * (1 - mass),
        extent=(mass > 0.5).astype(np.float32),
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        radius_mm=radius,
        push_mm=0.45 * radius,
    )


def grow_pituitary(rng: np.random.Generator, atlas: Atlas) -> Lesion:
    """Returns a bright mass in the sella that may reach up to the optic chiasm, narrowed at the diaphragm."""
    width, length, height = rng.uniform((8, 7, 11), (13, 11, 17))
    centre = (float(rng.normal(0, 1.2)), float(rng.normal(2, 1.5)), float(-37 + 0.45 * height))
    waist = 0.12 * np.exp(-(((axes_mm()[2] + 29) / 3) ** 2))
    ragged = 0.12 * smooth_field(rng, GRID, 5)
    distance = ellipsoid(centre, (width, length, height)) + waist + ragged
    mass = _soft(1 - distance, 0.08)
    return Lesion(
        opacity=mass,
        brightness=np.full(GRID, rng.uniform(0.68, 0.86), dtype=np.float32) - 0.25 * np.abs(ragged),
        extent=(mass > 0.5).astype(np.float32),
        centre_mm=centre,
        radius_mm=float(width),
        push_mm=0.4 * float(width),
    )


def scatter_ms_lesions(rng: np.random.Generator, atlas: Atlas) -> Lesion:
    """Returns bright ovoids in the white matter, most of them at right angles to the ventricles (Dawson's fingers)."""
    superior = axes_mm()[2]
    white = (atlas.white > 0.6) & (superior > -6) & (superior < 50)
    periventricular = white & (atlas.ventricle_mm > 2) & (atlas.ventricle_mm < 12)
    opacity = np.zeros(GRID, dtype=np.float32)
    for _ in range(rng.integers(9, 24)):
        _add_ovoid(opacity, rng, atlas, _pick(rng, periventricular if rng.random() < 0.75 else white))
    opacity *= np.clip(1.6 * atlas.white, 0, 1)
    brightness = np.full(GRID, rng.uniform(0.74, 0.92), dtype=np.float32)
    return Lesion(opacity * 0.95, brightness, (opacity > 0.5).astype(np.float32))


def change_midbrain(rng: np.random.Generator, atlas: Atlas) -> Lesion:
    """Returns the substantia nigra of Parkinson's disease on T2: more iron, so darker and wider, worse on one side."""
    worse = rng.choice((-1, 1))
    opacity = np.zeros(GRID, dtype=np.float32)
    for side in (-1, 1):
        depth = rng.uniform(0.65, 0.85) if side == worse else rng.uniform(0.5, 0.75)
        opacity = np.maximum(opacity, _soft(1 - nigra(side, rng.uniform(1.15, 1.45)), 0.2) * depth)
    opacity *= atlas.brain
    brightness = np.full(GRID, 0.05, dtype=np.float32)
    return Lesion(opacity, brightness, (opacity > 0.25).astype(np.float32))


def deposit_iron(rng: np.random.Generator, atlas: Atlas) -> np.ndarray:
    """Returns (D, H, W) 0 to 1: the iron that darkens the nigra, red nuclei and pallida of everyone on T2."""
    iron = np.zeros(GRID, dtype=np.float32)
    for side in (-1, 1):
        iron = np.maximum(iron, _soft(1 - nigra(side, 1.0), 0.2) * rng.uniform(0.25, 0.5))
        iron = np.maximum(iron, _soft(1 - ellipsoid((side * 5, -20, -8), (3.5, 3.5, 4)), 0.2) * 0.4)
        iron = np.maximum(iron, _soft(1 - ellipsoid((side * 19, -5, -2), (5, 9, 5)), 0.2) * 0.35)
    return np.asarray(iron * atlas.brain)


def nigra(side: int, scale: float) -> np.ndarray:
    """Returns (D, H, W): distance from one substantia nigra in radii; it slants outwards and backwards."""
    right, anterior, superior = axes_mm()
    outward, backward = side * right - 10, -(anterior + 17)
    along, across = (outward + backward) / np.sqrt(2), (outward - backward) / np.sqrt(2)
    distance = np.sqrt((along / 6.5) ** 2 + (across / 3.2) ** 2 + ((superior + 12) / 7) ** 2) / scale
    return np.asarray(distance, dtype=np.float32)


def _pick(rng: np.random.Generator, allowed: np.ndarray) -> tuple[float, float, float]:
    """Returns the millimetres of one voxel out of those allowed."""
    position = np.unravel_index(rng.choice(np.flatnonzero(allowed)), allowed.shape)
    right, anterior, superior = (axis.ravel()[at] for axis, at in zip(axes_mm(), position[::-1], strict=True))
    return float(right), float(anterior), float(superior)


def _soft(signed: np.ndarray, width: float = 0.1) -> np.ndarray:
    """Returns 1 well above zero, 0 well below, and a ramp of that width between: partial volume at a border."""
    return np.clip(signed / (2 * width) + 0.5, 0, 1).astype(np.float32)


def _add_ovoid(
    opacity: np.ndarray, rng: np.random.Generator, atlas: Atlas, centre_mm: tuple[float, float, float]
) -> None:
    """Paints into (D, H, W) opacity one ovoid whose long axis leads away from the ventricle."""
    short_mm, stretch = rng.uniform(2.4, 4.6), rng.uniform(1.2, 2.2)
    middle = np.rint(to_voxel(*centre_mm)).astype(int)
    reach = int(np.ceil(short_mm * stretch * 1.2 / VOXEL_MM))
    box = tuple(slice(max(0, at - reach), at + reach + 1) for at in middle)
    outward = atlas.ventricle_push[:, *middle]
    axis = outward / (np.linalg.norm(outward) + 1e-6)
    offset = (np.asarray(np.mgrid[box]) - middle[:, None, None, None]) * VOXEL_MM
    along = np.tensordot(axis, offset, axes=1)
    distance = np.sqrt(np.clip((offset**2).sum(axis=0) - along**2 + (along / stretch) ** 2, 0, None)) / short_mm
    opacity[box] = np.maximum(opacity[box], _soft(1 - distance, 0.2))
