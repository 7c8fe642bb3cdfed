"""Lesions painted over with tissue of other patients: slices without a lesion from the scanners of those with one.

Where every image of a cohort shows a lesion, a classifier can tell that cohort from others in place of the lesion from
healthy tissue. A slice that was painted over differs from its original in the lesion alone.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.scans.slices import block_means

_COARSE = 4  # slices are compared at a fourth of their size
_MARGIN, _RING = 3, 10  # pixels around a region: painted with it, and those whose intensities are matched
_FEATHER = 1.5  # sigma of the edge of what is painted, in pixels
_MAX_GAIN = 2.0


def paint_lesions(store: Store, regions: Sequence[np.ndarray | None]) -> Store:
    """Returns two copies of each slice with an annotated lesion: of the reference class, and of its own class.

    In the first the lesion is painted over with what another patient's slice shows at the same place: the slice that is
    most alike elsewhere, and has no lesion there. In the second this is done at another place, where a further similar
    slice has its lesion, so that what was painted does not tell the classes apart. The store has N labelled slices of
    one disease, each with a region, (H, W) bool, or None without an annotated lesion. Slices without such others have
    no copies.
    """
    slices, none = store.slices, np.zeros(store.pixels.shape[1:], dtype=bool)
    lesions = np.array([none if region is None else region for region in regions]).reshape(slices.shape)
    copies, records = [], []
    for row, donor, other in _donors(slices, lesions, store.groups):
        record = store.records[row]
        copies += [paint_over(slices[row], slices[donor], lesions[place]) for place in (row, other)]
        records += [replace(record, label=DISEASES[str(record.disease)].reference), record]
    return Store(np.array(copies, np.uint8).reshape(-1, *none.shape), records, [])


def paint_over(slice_: np.ndarray, donor: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Returns a slice with the donor's tissue in a region, all (H, W); intensities are matched around it."""
    ring = _widened(region, _RING) & ~_widened(region, _MARGIN)
    mine, other = (image[ring].astype(np.float32) if ring.any() else np.zeros(1) for image in (slice_, donor))
    gain = np.clip((mine.std() + 5) / (other.std() + 5), 1 / _MAX_GAIN, _MAX_GAIN)  # 5: a flat ring says nothing
    weight = ndimage.gaussian_filter(_widened(region, _MARGIN).astype(np.float32), _FEATHER)
    tissue = (donor - other.mean()) * gain + mine.mean()
    return np.clip(slice_ * (1 - weight) + tissue * weight, 0, 255).astype(np.uint8)


def _donors(slices: np.ndarray, regions: np.ndarray, groups: np.ndarray) -> list[tuple[int, int, int]]:
    """Returns (row, donor, other) of slices with a lesion: whose tissue it gets, and whose region is its other place.

    Both are of other groups, and the lesions of the three lie apart.
    """
    wide = np.array([_widened(region, _MARGIN) for region in regions], dtype=bool).reshape(regions.shape)
    coarse, covers = (block_means(each, (1, _COARSE, _COARSE)).reshape(len(slices), -1) for each in (slices, wide))
    covered = (covers > 0).astype(np.float32)
    is_apart, found = covered @ covered.T == 0, []
    rows = np.nonzero(regions.any(axis=(1, 2)))[0]
    outside = 1 - covered[rows]  # squared distances outside the lesion, but for a number that all of a row share
    distances = outside @ (coarse**2).T - 2 * (outside * coarse[rows]) @ coarse.T
    for row, order in zip(rows.tolist(), np.argsort(distances, axis=1, kind="stable"), strict=True):
        order = order[(groups[order] != groups[row]) & is_apart[row, order]]
        others = order[covered[order].any(axis=1) & is_apart[order[0], order]] if len(order) else order
        if len(others):
            found.append((row, int(order[0]), int(others[0])))
    return found


def _widened(region: np.ndarray, pixels: int) -> np.ndarray:
    return np.asarray(ndimage.binary_dilation(region, iterations=pixels)) if region.any() else region
