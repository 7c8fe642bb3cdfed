"""Whether white matter is brighter than grey matter in aligned slices, as in T1; in T2 and in FLAIR it is darker.

An affine alignment puts no voxel of the cortex where the average has it. So cortex is what lies next to fluid or the
surface, and white matter what lies deeper, as far as the maps of the average make that the more probable tissue.
Intensities are compared with those nearby, and by rank: neither a bias field nor a few lesions decide.
"""

from functools import cache

import numpy as np
from scipy import ndimage

from sslmri.scans.atlas.slab import GRID, grid_mm, load_template
from sslmri.scans.atlas.ventricles import dark_fluid

# Half way between 0.5, where both are equally bright, and 1. Measured: 0.87 to 0.93 in the T1 of twelve people aged 69
# to 96, 0.79 to 0.96 in 160 training slabs, 0.90 in a series of 5.3 mm slices; 0.54 to 0.64 in the FLAIR of the twelve.
T1_FROM = 0.75
_CORTEX_MM = (2.0, 3.5)  # from fluid: nearer voxels hold some of it
_WHITE_MM = 4.0
_OUTER_MM = 20.0  # from the surface of the average: most lesions of white matter, bright in FLAIR, lie deeper
_NEARBY_MM = 12.0  # sigma of the weights of the intensities nearby
_LIKELY = 127.5  # of 255
_MM = np.linalg.norm(GRID[:3, :3], axis=0)[::-1]  # from a slice, row and column to the next
_EDGE = ((0, 0), (1, 1), (1, 1))  # the brain goes on below and above the slab, and ends at its sides


def measure_contrast(voxels: np.ndarray) -> float:
    """Returns the probability that a voxel of white matter is brighter than one of grey matter.

    It is 1 in the average T1, and 0.5 where both are equally bright or none of one was found. Voxels are of an aligned
    brain, (32, 128, 128), 0 outside it.
    """
    tissue = (voxels > 0) & ~dark_fluid(voxels)
    weights = ndimage.gaussian_filter(tissue.astype(np.float32), _NEARBY_MM / _MM)
    nearby = ndimage.gaussian_filter(np.where(tissue, voxels, 0).astype(np.float32), _NEARBY_MM / _MM)
    relative = voxels * weights / np.maximum(nearby, 1e-6 * max(1e-6, float(nearby.max())))
    mm = _distance(tissue)
    is_grey, is_white = load_maps()
    grey = np.sort(relative[is_grey & (mm >= _CORTEX_MM[0]) & (mm < _CORTEX_MM[1])])
    white = relative[is_white & (mm >= _WHITE_MM)]
    return float(np.searchsorted(grey, white).mean() / grey.size) if grey.size and white.size else 0.5


@cache
def load_maps() -> tuple[np.ndarray, np.ndarray]:
    """Returns where the outer part of the average brain is more probably grey, and white, than anything else: bool."""
    brain, grey, white = (
        image.at(grid_mm().reshape(3, -1)).reshape(grid_mm().shape[1:])
        for image in (load_template(), load_template("gm"), load_template("wm"))
    )
    is_outer = _distance(brain > 0) < _OUTER_MM
    return is_outer & (grey > _LIKELY), is_outer & (white > _LIKELY)


def _distance(mask: np.ndarray) -> np.ndarray:
    """Returns how many mm each voxel of a mask (32, 128, 128) is from what is not of it."""
    return np.asarray(ndimage.distance_transform_edt(np.pad(mask, _EDGE), _MM)[:, 1:-1, 1:-1])
