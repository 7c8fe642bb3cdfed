"""Recovers who is who in the 6,400-image Alzheimer's set, whose file names hold no subject.

The files of a class stand slice by slice and within a slice subject by subject: first the public test part, which holds
the upper slices, then the public training part. Where the class was cut in two, the block of one slice is divided: the
training part ends with some of its subjects, the test part begins with the others. So for n subjects the files are

    test part:      the other subjects, all n, all n, ..., all n    the whole blocks in one order
    training part:  all n, all n, ..., all n, some subjects         the whole blocks in another, which numbers subjects

and each block shows the slice above the one before it. The orders are settled by matching the images of neighbouring
blocks one to one by their distance, and checked by matching all of them: where a subject's slice is not nearest to its
next one, nothing is guessed.

The slices of a subject are numbered 0 to 31. Of 160 subjects that could be checked, none lacks a slice where the parts
meet: images differ there as much as any two neighbours (0.89 to 1.08 of a subject's median step; two steps: 1.64 or
more).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from sslmri.errors import ManifestError
from sslmri.scans import read_scan

# Half the least margin of 160 of the 200 subjects laid out in this order: 0.51 over all pairs of neighbouring slices.
_MIN_MARGIN = 0.25
_SIDE = 64  # pixels: half those of the set, which costs no certainty and saves time
_DETAIL = 2.0  # pixels: what is wider is intensity, which the set scales slice by slice, and shape that subjects share


@dataclass(frozen=True)
class Layout:
    """How the files of one class stand: those of the public test part first."""

    n_subjects: int
    n_test: int
    n_slices: int = 32


LAYOUTS = {
    "non_demented": Layout(100, 640),
    "very_mild_demented": Layout(70, 448),
    "mild_demented": Layout(28, 179),
    "moderate_demented": Layout(2, 12),
}


def group_6400(folder: Path, label: str, files: list[PurePosixPath]) -> Iterator[tuple[PurePosixPath, str, str]]:
    """Yields each file of a class with its recovered subject and slice.

    The subjects are those of OASIS-1: never put this cohort and ``oasis`` into one manifest. The files of the class are
    given from the folder of the set on, in natural order.

    Raises:
        ManifestError: the files are not those of the set, or not in its order.
    """
    expected = LAYOUTS[label].n_subjects * LAYOUTS[label].n_slices
    if len(files) != expected:
        raise ManifestError(
            f"Expected {expected} images of {label} in the 6,400-image set, got {len(files)}: the subjects follow from "
            f"the positions in the whole set, so download it again, without augmented copies."
        )
    _check_names(label, files)
    subjects, slices = recover_subjects(np.stack([read_small(folder / file) for file in files]), LAYOUTS[label], label)
    for file, subject, number in zip(files, subjects, slices, strict=True):
        yield file, f"{label}-{subject:03d}", str(number)


def read_small(path: Path) -> np.ndarray:
    """Returns the image of a file as it is matched: (64, 64) float32, averaged down."""
    image = Image.fromarray(read_scan(path.read_bytes(), path.name).voxels[0])
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX))


def recover_subjects(images: np.ndarray, layout: Layout, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns subject and slice of each image of a class, both (N,).

    Subjects are numbered in the order of the training part, slices from 0 for the lowest on. Images (N, H, W), made
    small, are in the order of the files.

    Raises:
        ManifestError: a slice of a subject is not nearest to its next one, or hardly nearer than to another.
    """
    n, features = layout.n_subjects, _detail(images)
    files = np.arange(len(images))
    start, end = layout.n_test % n, len(files) - (len(files) - layout.n_test) % n
    test, train = files[start : layout.n_test].reshape(-1, n), files[layout.n_test : end].reshape(-1, n)
    divided = np.concatenate([files[end:], files[:start]])
    if len(divided):
        divided = divided[np.argsort(_match(features[divided], features[train[-1]])[0])]
        train = np.concatenate([train, divided[None]])
    order = np.argsort(_match(features[test[0]], features[train[-1]])[0])
    blocks = np.concatenate([train, test[:, order]])  # (slices, subjects)
    for lower, upper in pairwise(blocks):
        found, margins = _match(features[upper], features[lower])
        is_odd = (found != np.arange(n)) | (margins < _MIN_MARGIN)
        if is_odd.any():
            at = int(is_odd.argmax())
            raise ManifestError(
                f"Expected image {upper[at] + 1} of {label} to be nearer to image {lower[at] + 1} than to others by "
                f"{_MIN_MARGIN:.0%} or more, got another order of subjects: download the 6,400-image set again, in its "
                "own order."
            )
    subjects, slices = np.empty((2, files.size), dtype=int)
    slices[blocks], subjects[blocks] = np.indices(blocks.shape)
    return subjects, slices


def _detail(images: np.ndarray) -> np.ndarray:
    """Returns images (N, H, W) as (N, H W) of unit length: fine detail, as strong in dark regions as in bright ones.

    Plain intensities put 4 of 2480 real neighbours wrong, because some slices of a subject are windowed differently.
    """
    blur = (0, _DETAIL, _DETAIL)
    detail = images - ndimage.gaussian_filter(images, blur)
    detail /= np.sqrt(ndimage.gaussian_filter(detail**2, blur)) + detail.std(axis=(1, 2), keepdims=True) + 1e-9
    flat = detail.reshape(len(detail), -1)
    return flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-9)


def _match(block: np.ndarray, onto: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each image (n, pixels) its partner among those of another slice, and the margin of each pair.

    The margin is the fraction by which a pair is nearer than the next best one of either image.
    """
    distances = cdist(block, onto)
    rows, found = linear_sum_assignment(distances)
    own = distances[rows, found]
    distances[rows, found] = np.inf
    next_best = np.minimum(distances.min(axis=1), distances.min(axis=0)[found])
    return found, (next_best - own) / np.maximum(next_best, 1e-9)


def _check_names(label: str, files: list[PurePosixPath]) -> None:
    """Refuses names that do not number the files of a class: the subjects follow from the numbers."""
    stem = files[0].stem
    names = {str(files[0].with_name(f"{stem}_{i}{files[0].suffix}")) for i in range(2, len(files) + 1)}
    if {str(file) for file in files[1:]} != names:
        raise ManifestError(
            f"Expected files of {label} named like non.jpg, non_2.jpg, ..., non_{len(files)}.jpg in one folder, got "
            f"{files[0]}, {files[1]}, ...: the subjects follow from these numbers, so download the version with them."
        )
