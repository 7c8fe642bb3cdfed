"""Slices of different groups that are copies of one image: found by a perceptual hash, confirmed on their pixels."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
from PIL import Image
from scipy import fft, ndimage

from sslmri.cohorts.store import Store
from sslmri.files import sha256_of
from sslmri.scans.slices import HEAD_LEVEL

_PAIR_COLUMNS = ["first", "second", "bits"]
_SIDE = 48  # pixels: as in the baselines, small enough to forget noise, large enough to recognise an image
_LOW = 8  # frequencies per side that the hash looks at, 64 in all
_BATCH = 1024  # slices read at a time
_CELLS = 1 << 22  # pairs of hashes compared at a time: 32 MB
_PAIRS = 4096  # candidates compared pixel by pixel at a time: 150 MB

# whether the second slice is mirrored, and by how many degrees it is rotated: the eight flips and turns, and near them
_TRANSFORMS = [(m, q + s) for s, m, q in product((0, -3, 3, -6, 6, -9, 9), (False, True), (0, 90, 180, 270))]

# How alike two slices of different groups must be to be called copies of one image.
#
# Chosen on the training folds of the public cohorts (5,445 slices): of 37,910 pairs of two known subjects (dementia,
# Parkinson's, multiple sclerosis) whose hashes are near and whose outlines agree, none correlates above 0.846 inside
# the heads, 0.72 being the median; neighbouring subjects of a skull-stripped template do not come nearer. All 42 pairs
# above 0.87 were looked at: one image twice, or neighbouring slices of one patient. Of altered copies of 407 of these
# slices 97 to 100 % are found after JPEG, noise, a shift by two pixels, a brighter window, a rotation by 2 degrees or a
# gamma of 0.8, 95 % after a gamma of 1.3, but under a quarter after a crop of 3 % on each side. Where one of the two is
# mirrored or rotated, known subjects come to 0.955 (12,827 slices) and copies of 400 slices are found in 97 to 100 %
# after JPEG or a gamma of 0.8, in 92 % after noise and in 76 to 98 % when rotated by 3 to 9.5 degrees besides.
_MAX_BITS = 10  # of the 64 bits of their hashes that differ; this only saves comparing the pixels of all pairs
# of their 48 x 48 pixels inside the two heads: outside, the black of all slices would make any two small heads alike
MIN_CORRELATION = 0.87
# where the second was mirrored or rotated: of 56 ways to lay one small slice on another the best one is closer
_MIN_TRANSFORMED = 0.96


def find_copies(store: Store) -> pd.DataFrame:
    """Returns the pairs of slices of different groups that are copies of one image, the most alike first.

    Of two volumes, the slices that are most alike stand for all; those with and without a label count apart.

    Columns: ``first`` and ``second`` (rows of the store), ``bits`` (of their hashes that differ), ``correlation``,
    ``transform`` (how the second is mirrored and rotated to agree with the first, empty where it is not),
    ``is_identical`` (whether the files are equal byte for byte). For N slices time grows with N squared, memory with N.
    """
    small = _shrink(store)
    hashes, (_, groups) = hash_slices(small), np.unique(store.groups, return_inverse=True)
    tables = [pd.DataFrame(columns=[*_PAIR_COLUMNS, "correlation", "transform"])]
    for transform in _TRANSFORMS:
        moved = _transformed(small, *transform)
        least = _MIN_TRANSFORMED if any(transform) else MIN_CORRELATION
        for rows in _near_hashes(hashes, hash_slices(moved), groups):
            table = _correlate(small, moved, rows)
            tables.append(table[table["correlation"] >= least].assign(transform=_name(*transform)))
    pairs = pd.concat(tables, ignore_index=True).sort_values("correlation", ascending=False, kind="stable")
    names, files = np.unique([f"{r.name}/{r.disease}" for r in store.records], return_inverse=True)
    of_files = files[pairs[["first", "second"]].to_numpy(dtype=np.intp)] @ [len(names), 1]
    pairs = pairs[~pd.Series(of_files).duplicated().to_numpy()].reset_index(drop=True)
    sha256 = {row: sha256_of(store.records[row].path) for row in {*pairs["first"], *pairs["second"]}}
    pairs["is_identical"] = (pairs["first"].map(sha256) == pairs["second"].map(sha256)).astype(bool)
    return pairs.sort_values(["correlation", "first", "second"], ascending=[False, True, True], ignore_index=True)


def hash_slices(slices: np.ndarray) -> np.ndarray:
    """Returns the perceptual hash of each slice (N, H, W): (N,) uint64.

    A bit says whether one of the 8 x 8 lowest frequencies of the discrete cosine transform is above their median
    (pHash, Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", section 3.2.1).
    """
    low = np.empty((len(slices), _LOW * _LOW), np.float32)
    for start in range(0, len(slices), _BATCH):
        spectrum = fft.dctn(slices[start : start + _BATCH].astype(np.float32), axes=(1, 2))
        low[start : start + _BATCH] = spectrum[:, :_LOW, :_LOW].reshape(-1, _LOW * _LOW)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def _shrink(store: Store) -> np.ndarray:
    """Returns all slices of the store, each with its centre of mass in the middle, as (N, 48, 48) uint8."""
    small = np.empty((len(store.records), _SIDE, _SIDE), np.uint8)
    for start in range(0, len(small), _BATCH):
        rows = range(start, min(start + _BATCH, len(small)))
        for row, one in zip(rows, store.batch(rows), strict=True):
            small[row] = _centred(one)
    return small


def _centred(one: np.ndarray) -> np.ndarray:
    """Returns a slice (H, W) about its centre of mass, as (48, 48), so that a shift changes neither hash nor pixels."""
    height, width = one.shape
    total = max(int(one.sum()), 1)
    y = one.sum(axis=1) @ (np.arange(height) + 0.5) / total
    x = one.sum(axis=0) @ (np.arange(width) + 0.5) / total
    padded = Image.fromarray(np.pad(one, ((height, height), (width, width))))
    box = (x + width / 2, y + height / 2, x + 3 * width / 2, y + 3 * height / 2)
    return np.asarray(padded.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, box=box))


def _transformed(small: np.ndarray, is_mirrored: bool, degrees: int) -> np.ndarray:
    """Returns slices (N, 48, 48) mirrored, then rotated."""
    flipped = small[:, :, ::-1] if is_mirrored else small
    quarters, rest = round(degrees / 90), degrees - 90 * round(degrees / 90)
    turned = np.rot90(flipped, quarters, axes=(1, 2))
    return ndimage.rotate(turned, rest, axes=(1, 2), reshape=False, order=1) if rest else np.ascontiguousarray(turned)


def _name(is_mirrored: bool, degrees: int) -> str:
    turned = [f"rotated by {(degrees + 179) % 360 - 179} degrees"] if degrees else []
    return " and ".join(["mirrored"] * is_mirrored + turned)


def _near_hashes(hashes: np.ndarray, others: np.ndarray, groups: np.ndarray) -> Iterator[np.ndarray]:
    """Yields pairs (K, 3) of rows of different groups whose hashes differ in few bits, and in how many."""
    height = max(1, _CELLS // len(hashes))
    for start in range(0, len(hashes), height):
        differing = np.bitwise_count(hashes[start : start + height, None] ^ others[None, start:])
        first, second = np.nonzero(differing <= _MAX_BITS)
        bits = differing[first, second]
        first, second = first + start, second + start
        keep = np.flatnonzero((first < second) & (groups[first] != groups[second]))
        for block in range(0, len(keep), _PAIRS):
            chosen = keep[block : block + _PAIRS]
            yield np.stack([first[chosen], second[chosen], bits[chosen]], axis=1)


def _correlate(small: np.ndarray, moved: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
    """Returns the pairs (K, 3) with the correlation of their pixels inside the union of their heads."""
    left, right = small[rows[:, 0]].reshape(len(rows), -1), moved[rows[:, 1]].reshape(len(rows), -1)
    inside = (left > HEAD_LEVEL * 255) | (right > HEAD_LEVEL * 255)
    left, right = _unit(left, inside), _unit(right, inside)
    table = pd.DataFrame(rows, columns=_PAIR_COLUMNS)
    return table.assign(correlation=np.einsum("nd,nd->n", left, right).round(5))


def _unit(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Returns rows (N, D) less their mean inside, 0 outside and of length 1, as float32; without contrast, zeros."""
    masked = values.astype(np.float32) * inside
    masked -= masked.sum(axis=1, keepdims=True) / np.maximum(inside.sum(axis=1, keepdims=True), 1) * inside
    return masked / np.maximum(np.linalg.norm(masked, axis=1, keepdims=True), 1e-6)
