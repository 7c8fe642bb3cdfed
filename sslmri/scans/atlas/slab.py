"""The slab of the atlas that the training slices show, cut from an extracted brain, and how well the brain fits."""

import gzip
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.atlas.register import Image3d, correlation, matched_to, moved, register

SHAPE = (32, 128, 128)  # slices, rows, columns: 1 mm apart from below the lateral ventricles to above them
# From (column, row, slice) of the aligned slices, the training slices turned by 180 degrees, to mm of the MNI152
# average, x to the right, y to the front and z up. Found by an affine registration of the mean of the oasis_2d slices
# of people over 60 to the mean of twelve brains aligned as here: correlation 0.88.
GRID = np.array(
    [
        [-1.4520, 0.0163, -0.0381, 92.5869],
        [-0.0385, -1.6933, 0.0196, 92.8706],
        [-0.0481, 0.1235, 1.0825, -8.7468],
        [0, 0, 0, 1],
    ]
)
PIXEL_ASPECT = float(np.linalg.norm(GRID[:3, 1]) / np.linalg.norm(GRID[:3, 0]))  # height of a pixel over its width
# Measured: 0.80 to 0.88 for twelve people aged 69 to 96, 0.89 for a series of 5.3 mm slices; 0.52 to 0.55 upside down,
# 0.36 to 0.58 for halves, 0.66 to 0.67 with dark and bright exchanged, 0.71 to 0.75 with front and back exchanged.
_MIN_CORRELATION = 0.75
_MAX_TILT = 0.5  # cosine of the angle between the long axes of the head and of the average: 60 degrees
_MIN_COVERAGE = 0.99  # of the slab
_MIN_BRAIN_COVERAGE = 0.9  # of the whole brain
_SCALES = (0.7, 1.4)  # of a brain along any axis, relative to the average; adults vary by a tenth
_TEMPLATE = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_BRAIN_MM = 2.0

PARTIAL = "Could not be aligned: only a part of the brain is in the scan."


@dataclass(frozen=True)
class Slab:
    """The aligned slices of a brain, the training slices turned by 180 degrees.

    Attributes:
        voxels: (32, 128, 128) float32, 0 outside the brain; slices upwards, rows to posterior, columns to the left.
        to_head: (4, 4), from (column, row, slice) of the slab to mm of the head that it was cut from.
    """

    voxels: np.ndarray
    to_head: np.ndarray


def cut_slab(brain: Image3d) -> Slab:
    """Returns the aligned slices of an extracted brain.

    Raises:
        ScanError: the brain is not wholly in the scan, or does not fit the average one.
    """
    template = load_template()
    matched = matched_to(template, brain)
    transform = register(matched, template)
    _check_fit(brain, template, transform)
    similarity = correlation(matched, template, transform)
    tilt = transform[2, 2] / np.linalg.norm(transform[:3, 2])
    if not (similarity >= _MIN_CORRELATION and tilt >= _MAX_TILT):
        raise ScanError(
            f"Could not be aligned: the brain does not match the average brain (correlation {similarity:.2f}, at "
            f"least {_MIN_CORRELATION:g} is needed, head upright)."
        )
    to_head = transform @ GRID
    points = moved(to_head, _indices())
    inside = Image3d((brain.values > 0).astype(np.float32), brain.affine).at(points) > 0.5
    voxels = np.where(inside, brain.at(points), 0).astype(np.float32)
    return Slab(np.ascontiguousarray(voxels.reshape(SHAPE[::-1]).T), to_head)


@cache
def load_template(kind: Literal["t1", "gm", "wm"] = "t1") -> Image3d:
    """Returns an image of the MNI152 average (ICBM 2009a nonlinear symmetric) that nilearn ships, in 2 mm voxels.

    It is the T1 of the brain, or the probability of grey or of white matter, 0 to 255.
    """
    package = find_spec("nilearn")  # which is not imported: that takes seconds
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("nilearn")
    data = gzip.decompress((Path(package.submodule_search_locations[0]) / _TEMPLATE.format(kind)).read_bytes())
    image = nib.Nifti1Image.from_bytes(data)
    step = round(_BRAIN_MM / float(image.header.get_zooms()[0]))
    values = image.get_fdata(dtype=np.float32)[::step, ::step, ::step]
    return Image3d(np.ascontiguousarray(values), image.affine @ np.diag([step, step, step, 1]))


@cache
def grid_mm() -> np.ndarray:
    """Returns x, y and z in mm of the average brain of each voxel of the slab: (3, 32, 128, 128) float32."""
    return moved(GRID, _indices()).astype(np.float32).reshape(3, *SHAPE[::-1]).transpose(0, 3, 2, 1)


def _indices() -> np.ndarray:
    """Returns (3, N) float32: column, row and slice of every voxel of the slab."""
    return np.indices(SHAPE[::-1], dtype=np.float32).reshape(3, -1)


def _check_fit(brain: Image3d, template: Image3d, transform: np.ndarray) -> None:
    scales = np.linalg.svd(transform[:3, :3], compute_uv=False)
    if not (np.isfinite(transform).all() and _SCALES[0] < scales.min() and scales.max() < _SCALES[1]):
        raise ScanError(PARTIAL)
    whole = template.points_mm(4.0).reshape(3, -1)
    whole = whole[:, template.at(whole) > 0]
    to_slab = np.linalg.inv(GRID)
    slices = moved(to_slab, whole)[2]
    in_slab = (slices >= 0) & (slices <= SHAPE[0] - 1)
    is_covered = brain.covers(moved(transform, whole))
    if is_covered.mean() < _MIN_BRAIN_COVERAGE or is_covered[in_slab].mean() < _MIN_COVERAGE:
        raise ScanError(PARTIAL)
