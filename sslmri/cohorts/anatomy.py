"""The brain and head that every simulated subject is made from, and how one person's anatomy differs from it.

The brain is the MNI152 average (ICBM 2009a nonlinear symmetric) that ships inside nilearn; the head is painted
around it. Grids are ``(D, H, W)`` of 2 mm voxels: slices inferior to superior, anterior at the top, the patient's right
at the left.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

VOXEL_MM = 2.0
GRID = (83, 111, 111)
FIELD_OF_VIEW_MM = GRID[1] * VOXEL_MM
_FIRST_SLICE_MM, _TOP_ROW_MM, _LEFT_COLUMN_MM = -70.0, 94.0, 110.0

# Brightness of each tissue, 0 to 1, as a radiologist expects it; bone and air stay dark in all four.
_TISSUE_NAMES = ("csf", "grey", "white", "scalp", "soft", "eye", "sinus", "gland")
TISSUES: dict[str, dict[str, float]] = {
    contrast: dict(zip(_TISSUE_NAMES, brightness, strict=True))
    for contrast, brightness in {
        "T1": (0.13, 0.50, 0.78, 0.90, 0.42, 0.12, 0.30, 0.50),
        "T1ce": (0.10, 0.40, 0.52, 0.88, 0.36, 0.12, 0.78, 0.70),
        "T2": (0.95, 0.52, 0.34, 0.60, 0.22, 0.98, 0.10, 0.50),
        "FLAIR": (0.08, 0.55, 0.42, 0.58, 0.28, 0.10, 0.12, 0.50),
    }.items()
}
_BONE, _MARROW = 0.05, 0.20


@dataclass(frozen=True)
class Atlas:
    """The average anatomy, every array ``(D, H, W)`` float32 on the grid of this module.

    Attributes:
        grey: fraction of grey matter, 0 to 1.
        white: fraction of white matter, 0 to 1.
        brain: 1 inside the brain with its ventricles, 0 outside.
        brain_depth_mm: distance to the surface of the brain, 0 outside.
        hull_depth_mm: distance to the inside of the skull, 0 outside: the brain with the fluid around it.
        ventricle_mm: distance to the lateral and third ventricles, 0 inside them.
        ventricle_push: (3, D, H, W) unit vectors away from the ventricles, fading with distance.
        sulcal: rank of the cortex by closeness to the sulci: 1 where it is lost first, below 0 where it is never lost.
        surround: contrast -> brightness of the head around the brain, 0 in air.
    """

    grey: np.ndarray
    white: np.ndarray
    brain: np.ndarray
    brain_depth_mm: np.ndarray
    hull_depth_mm: np.ndarray
    ventricle_mm: np.ndarray
    ventricle_push: np.ndarray
    sulcal: np.ndarray
    surround: dict[str, np.ndarray]


def to_voxel(right_mm: float, anterior_mm: float, superior_mm: float) -> np.ndarray:
    """Returns the (slice, row, column) of a point given in MNI millimetres (x to the patient's right)."""
    offsets = (superior_mm - _FIRST_SLICE_MM, _TOP_ROW_MM - anterior_mm, _LEFT_COLUMN_MM - right_mm)
    return np.array(offsets, dtype=np.float32) / VOXEL_MM


def axes_mm() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns MNI millimetres right (1, 1, W), anterior (1, H, 1) and superior (D, 1, 1), to be broadcast."""
    slices, rows, columns = (np.arange(size, dtype=np.float32) * VOXEL_MM for size in GRID)
    right, anterior, superior = _LEFT_COLUMN_MM - columns, _TOP_ROW_MM - rows, slices + _FIRST_SLICE_MM
    return right[None, None, :], anterior[None, :, None], superior[:, None, None]


def ellipsoid(centre_mm: tuple[float, float, float], radii_mm: tuple[float, float, float]) -> np.ndarray:
    """Returns (D, H, W): distance from the centre in radii, so that the ellipsoid is where it is below 1."""
    parts = zip(axes_mm(), centre_mm, radii_mm, strict=True)
    right, anterior, superior = (((axis - centre) / radius) ** 2 for axis, centre, radius in parts)
    return np.sqrt(right + anterior + superior, dtype=np.float32)


@cache
def load_atlas() -> Atlas:
    """Returns the average anatomy; read from nilearn's own files, without a network, once per process."""
    grey, white, brain = _read_maps()
    csf = np.clip(brain - grey - white, 0, 1)
    ventricles = _find_ventricles(csf, brain)
    ventricle_mm = _distance_mm(~ventricles)
    outward = np.stack(np.gradient(ndimage.gaussian_filter(ventricle_mm - _distance_mm(ventricles), 1.5)))
    outward /= np.linalg.norm(outward, axis=0) + 1e-6
    hull = _distance_mm(_distance_mm(brain < 0.5) < 24) > 24
    return Atlas(
        grey=grey,
        white=white,
        brain=brain,
        brain_depth_mm=_distance_mm(brain > 0.5),
        hull_depth_mm=_distance_mm(hull),
        ventricle_mm=ventricle_mm,
        ventricle_push=(outward * np.exp(-ventricle_mm / 16)).astype(np.float32),
        sulcal=_rank_cortex(grey, white),
        surround={contrast: _paint_surround(brain > 0.5, hull, TISSUES[contrast]) for contrast in TISSUES},
    )


def _read_maps() -> tuple[np.ndarray, ...]:
    """Returns grey matter, white matter and brain mask on the grid; crisper than the average, as one person is."""
    from nilearn import datasets  # importing nilearn takes seconds: only who simulates pays

    loaders = (datasets.load_mni152_gm_template, datasets.load_mni152_wm_template, datasets.load_mni152_brain_mask)
    grey, white, brain = (_onto_grid(load(resolution=2).get_fdata(dtype=np.float32)) for load in loaders)
    parts = np.stack([grey, white, np.clip(brain - grey - white, 0, 1)]) ** 1.7
    parts *= brain / (parts.sum(axis=0) + 1e-6)
    return parts[0], parts[1], brain


def _onto_grid(values: np.ndarray) -> np.ndarray:
    """Returns (X, Y, Z) values of nilearn's 99 x 117 x 95 grid of 2 mm as (D, H, W) of this module's grid."""
    upright = np.flip(values.transpose(2, 1, 0), axis=(1, 2))[1:84, 2:113]
    return np.pad(upright, ((0, 0), (0, 0), (6, 6))).astype(np.float32)


def _distance_mm(inside: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.distance_transform_edt(inside) * VOXEL_MM, dtype=np.float32)


def _find_ventricles(csf: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Returns bool (D, H, W): fluid deep in the brain that hangs together with the lateral ventricles."""
    right, anterior, superior = axes_mm()
    central = (np.abs(right) < 36) & (anterior > -58) & (anterior < 34) & (superior > -4) & (superior < 32)
    labels, _ = ndimage.label((csf > 0.5) & central & (_distance_mm(brain > 0.5) > 8))
    return np.asarray(labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1)


def _rank_cortex(grey: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Returns (D, H, W) -0.2 to 1: the fraction of cortex that is lost later; hippocampi go early, deep grey never."""
    spared = np.minimum(ellipsoid((0, -8, 4), (38, 36, 22)), ellipsoid((0, -64, -40), (60, 40, 30))) < 1
    hippocampi = np.minimum(ellipsoid((28, -20, -16), (9, 18, 9)), ellipsoid((-28, -20, -16), (9, 18, 9))) < 1
    closeness = 1 - ndimage.gaussian_filter(white, 1.2) + 0.15 * hippocampi
    cortex = (grey > 0.5) & ~(spared & ~hippocampi)
    rank = np.searchsorted(np.sort(closeness[cortex]), closeness) / np.count_nonzero(cortex)
    rank[(spared & ~hippocampi) | (white > 0.6)] = -0.2
    return np.asarray(ndimage.gaussian_filter(rank, 0.5), dtype=np.float32)


def _paint_surround(brain: np.ndarray, hull: np.ndarray, tissue: dict[str, float]) -> np.ndarray:
    """Returns (D, H, W): fluid, skull base, skull, face and scalp in one contrast, blurred as partial volume does."""
    right, anterior, superior = axes_mm()
    outside_mm = _distance_mm(ndimage.gaussian_filter(hull.astype(np.float32), 3) < 0.5)
    face = ellipsoid((0, 42, -52), (60, 44, 52)) < 1
    depth_mm = _distance_mm((outside_mm < 13) | face)
    texture = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=GRID), 2.0) * 8  # about unit deviation
    head = np.where(depth_mm > 0, tissue["soft"] * (1 + 0.35 * np.clip(texture, -2, 2)), 0)
    head[(ellipsoid((0, 46, -52), (15, 28, 24)) < 1) & (texture > -0.6) & (depth_mm > 8)] = 0.02
    head[(outside_mm > 1) & (outside_mm < 8)] = _BONE
    head[(outside_mm > 3.5) & (outside_mm < 5.5)] = _MARROW
    for side in (-32, 32):
        head[(ellipsoid((side, 56, -34), (20, 24, 18)) < 1) & (outside_mm > 2)] = tissue["scalp"] * 0.8
        head[ellipsoid((side, 64, -34), (12, 12, 12)) < 1] = tissue["eye"]
    near_brain = _distance_mm(~brain) < np.where(superior > -24, 30, 3)
    head[hull & ~near_brain] = (_MARROW + 0.05 * texture)[hull & ~near_brain]
    head[(hull | (outside_mm <= 2)) & near_brain] = tissue["csf"]
    head[(np.abs(right) < 4) & (outside_mm < 5) & (outside_mm > 0) & (superior > 0) & (anterior < 30)] = tissue["sinus"]
    head[(np.abs(right) < 1.5) & hull & ~brain & (superior > 10)] = tissue["sinus"]
    head[ellipsoid((0, 2, -34), (6, 5, 4)) < 1] = tissue["gland"]
    head[(depth_mm > 0) & (depth_mm < 5)] = tissue["scalp"]
    return np.asarray(ndimage.gaussian_filter(np.clip(head, 0, 1), 0.6), dtype=np.float32)


def person_coordinates(rng: np.random.Generator) -> np.ndarray:
    """Returns (3, D, H, W) float32: for every voxel of one person, the atlas voxel that lies there.

    A free-form deformation with cubic B-splines (Rueckert et al. 1999) on an affine change of size and head position.
    """
    centre = to_voxel(0, -18, 8)
    rotation = Rotation.from_euler(
        "zxy", rng.normal(0, 2.2, 3), degrees=True
    ).as_matrix()  # how people lie in a scanner
    affine = (rotation / np.exp(rng.normal(0, 0.035, 3))).astype(np.float32)
    start = np.indices(GRID, dtype=np.float32) - centre[:, None, None, None]
    coordinates = np.tensordot(affine, start, axes=1) + (centre + rng.normal(0, 1, 3))[:, None, None, None]
    for spacing, deviation in ((14, 3.2), (6, 1.1)):
        for axis in range(3):
            coordinates[axis] += smooth_field(rng, GRID, spacing) * deviation
    return coordinates.astype(np.float32)


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], spacing: float) -> np.ndarray:
    """Returns a float32 field of that shape: cubic B-splines on standard normal knots, `spacing` voxels apart."""
    field = rng.normal(size=[int(np.ceil(size / spacing)) + 3 for size in shape]).astype(np.float32)
    for size in shape:
        knots = np.arange(int(np.ceil(size / spacing)) + 3) - 1
        distance = np.abs(np.arange(size)[:, None] / spacing - knots)
        near, far = 2 / 3 - distance**2 + distance**3 / 2, np.clip(2 - distance, 0, None) ** 3 / 6
        # The first axis is contracted and comes back last, so that after all axes the order is the first one again.
        field = np.tensordot(field, np.where(distance < 1, near, far).astype(np.float32), axes=(0, 1))
    return field


def resample(values: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Returns (N,) float32: an atlas array (D, H, W) read linearly at atlas coordinates (3, N)."""
    return np.asarray(ndimage.map_coordinates(values, coordinates, order=1, output=np.float32))
