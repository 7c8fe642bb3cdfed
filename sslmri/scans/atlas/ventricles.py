"""The ventricles in the aligned slices of a brain: the fraction of the brain that they fill, and the Evans index."""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from sslmri.scans.atlas.slab import GRID, grid_mm

# Chosen on the training slabs: the measured fraction then follows the brain volume that another group measured of the
# same people (rank correlation -0.75) and the age of the controls (0.73); 0.38 and 0.5 give nearly the same.
_CSF = 0.45  # of the 80th percentile of the brain, which lies in its white matter
_BRIGHT = 80
_MIN_ML = 0.5  # smaller pieces are sulci
_FRONT_MM = 5.0  # in front of the anterior commissure: frontal horns and the bodies next to them
_CROSS = np.array([[[False, True, False], [True, True, True], [False, True, False]]])


class Line(NamedTuple):
    """A line along a row of the aligned slices, by index: its slice and row, and its first and last column."""

    slice_: int
    row: int
    first: int
    last: int

    @property
    def length(self) -> int:
        """In columns."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Ventricles:
    """What the ventricles in the aligned slices measure.

    Attributes:
        fraction: of the brain in the slices, its fluid included.
        horns: the largest width of the frontal horns; None where none were found on both sides.
        brain: the largest width of the brain in the same slice, which stands for that of the inner skull.
    """

    fraction: float
    horns: Line | None
    brain: Line | None

    @property
    def evans_index(self) -> float | None:
        """The width of the frontal horns over that of the brain."""
        return self.horns.length / self.brain.length if self.horns and self.brain else None


def measure(voxels: np.ndarray) -> Ventricles:
    """Returns what the ventricles measure in the aligned slices (32, 128, 128) of a T1 volume, 0 outside the brain."""
    brain, fluid = voxels > 0, ventricle_mask(voxels)
    horns = _longest(fluid & (grid_mm()[1] > _FRONT_MM), crosses_middle=True)
    widest = _longest(brain[horns.slice_][None], crosses_middle=False) if horns else None
    return Ventricles(
        fraction=float(fluid.sum() / max(1, brain.sum())),
        horns=horns,
        brain=widest._replace(slice_=horns.slice_) if widest and horns else None,
    )


def dark_fluid(voxels: np.ndarray) -> np.ndarray:
    """Returns where an aligned brain (32, 128, 128) shows fluid, as dark as in T1 and FLAIR: bool of its shape."""
    brain = voxels > 0
    return brain & (voxels < _CSF * np.percentile(voxels[brain], _BRIGHT)) if brain.any() else brain


def ventricle_mask(voxels: np.ndarray) -> np.ndarray:
    """Returns where the lateral and the third ventricle are in the aligned slices, bool of their shape."""
    pieces, _ = ndimage.label(ndimage.binary_opening(dark_fluid(voxels) & _region(), _CROSS))
    is_large = np.bincount(pieces.ravel()) * abs(np.linalg.det(GRID[:3, :3])) >= _MIN_ML * 1000
    is_large[0] = False
    return np.asarray(is_large[pieces])


def _longest(mask: np.ndarray, *, crosses_middle: bool) -> Line | None:
    """Returns the longest line along a row between two voxels of a mask, one on each side of the middle if asked."""
    first, last = mask.argmax(axis=2), mask.shape[2] - 1 - mask[:, :, ::-1].argmax(axis=2)
    is_line = mask.any(axis=2)
    if crosses_middle:
        left_right = [np.take_along_axis(grid_mm()[0], end[..., None], axis=2)[..., 0] for end in (first, last)]
        is_line &= left_right[0] * left_right[1] < 0
    lengths = np.where(is_line, last - first + 1, 0)
    slice_, row = np.unravel_index(int(lengths.argmax()), lengths.shape)
    if not lengths[slice_, row]:
        return None
    return Line(int(slice_), int(row), int(first[slice_, row]), int(last[slice_, row]))


@cache
def _region() -> np.ndarray:
    """Returns where ventricles can be, bool (32, 128, 128): between the Sylvian fissures, without the cisterns."""
    x, y, z = np.abs(grid_mm()[0]), grid_mm()[1], grid_mm()[2]
    front = (x <= 28) & (y >= -26) & (y <= 40)
    sylvian, fissure = (x > 22) & (z < 13), (x < 5) & (y > 28)
    middle = (x < 8) & (y >= -42) & (y <= -26) & (z >= 12)  # below are the quadrigeminal and the ambient cistern
    back = (x >= 8) & (x <= 42) & (y >= -72) & (y <= -18)
    sulci = (y < -64) & (z > 18)
    return np.asarray((front & ~sylvian & ~fissure) | middle | (back & ~sulci))
