"""The brain in a volume of a whole head: cut to the head, reduced to about 1 mm, extracted by deepbet."""

from typing import Any

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.atlas.register import Image3d
from sslmri.scans.scan import Spacing
from sslmri.scans.slices import block_means, head_slices

_HEAD_MM = 190.0  # below the vertex: the neck and shoulders of a larger field of view mislead the extraction
_VOXEL_MM = 1.0  # finer voxels are averaged: the networks see 256 of them along each axis
_MIN_ML, _MAX_ML = 600.0, 2600.0  # of brain; outside it something else was extracted
_PROBABILITY = 0.5  # of brain, from which on a voxel belongs to it

NO_BRAIN = "Could not be aligned: no whole brain was found in the scan."


def head_image(voxels: np.ndarray, spacing_mm: Spacing) -> Image3d:
    """Returns the head in a volume (D, H, W) of axial slices, rows to posterior and columns to the left.

    Millimetres are counted from the first voxel of the volume: to the right from the last column, to the front from
    the last row, and upwards.
    """
    first, count = head_slices(voxels, spacing_mm[0], _HEAD_MM)
    factors = [max(1, int(_VOXEL_MM / mm + 0.25)) for mm in spacing_mm]
    reduced = block_means(voxels[first : first + count], factors)
    affine = np.eye(4)
    for axis, (mm, factor) in enumerate(zip(reversed(spacing_mm), reversed(factors), strict=True)):
        affine[axis, axis] = mm * factor
        affine[axis, 3] = mm * (factor - 1) / 2
    affine[2, 3] += first * spacing_mm[0]
    lost = [size % factor for size, factor in zip(voxels.shape[1:], factors[1:], strict=True)]
    affine[0, 3] += lost[1] * spacing_mm[2]  # the last columns and rows, which reversed come first
    affine[1, 3] += lost[0] * spacing_mm[1]
    return Image3d(np.ascontiguousarray(reduced[:, ::-1, ::-1].transpose(2, 1, 0), np.float32), affine)


def load_networks(n_threads: int) -> Any:
    """Returns the two networks of deepbet, the first of which finds the brain and the second outlines it.

    It also starts torch's threads, so that none has to be started later.
    """
    import deepbet  # which loads torch: only the process that aligns pays
    import torch

    torch.set_num_threads(n_threads)
    torch.ones(2**20).mul_(2.0)
    return deepbet.BrainExtraction(no_gpu=True)


def extract(head: Image3d, networks: Any) -> Image3d:
    """Returns the brain of a head, 0 outside it.

    The networks are those of ``load_networks``.

    Raises:
        ScanError: there is no brain in it.
    """
    try:
        mask = networks.postprocess(networks.run_model(head.values.copy()) > _PROBABILITY)
    except (AssertionError, ValueError):  # nothing in the volume looked like brain
        raise ScanError(NO_BRAIN) from None
    volume_ml = np.count_nonzero(mask) * abs(np.linalg.det(head.affine[:3, :3])) / 1000
    if not _MIN_ML < volume_ml < _MAX_ML:
        raise ScanError(NO_BRAIN)
    lowest = float(head.values[mask].min())
    return Image3d(np.where(mask, head.values - lowest + 1e-3, 0).astype(np.float32), head.affine)
