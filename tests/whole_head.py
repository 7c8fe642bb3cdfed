"""A made T1 volume of a whole head: the average brain in a painted head."""

import numpy as np

from sslmri.cohorts.anatomy import GRID, TISSUES, VOXEL_MM, axes_mm, load_atlas
from sslmri.scans.atlas.slab import load_template

SPACING_MM = (VOXEL_MM,) * 3


def whole_head() -> np.ndarray:
    """Returns it as float32 (D, H, W): slices upwards, rows to posterior, columns to the left."""
    points = np.stack([np.broadcast_to(axis, GRID) for axis in axes_mm()]).reshape(3, -1)
    brain = load_template().at(points).reshape(GRID)
    scale = np.percentile(brain[brain > 0], 80) / TISSUES["T1"]["white"]
    return np.where(brain > 0, brain, scale * load_atlas().surround["T1"]).astype(np.float32)
