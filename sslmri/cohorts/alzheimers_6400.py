"""Recovers who is who in the 6,400-image Alzheimer's set, whose file names hold no subject.

The files of a class stand slice by slice and within a slice subject by subject: first the public test part, which holds
the upper slices, then the public training part. Where the class was cut in two, the block of one slice is divided: the
training part ends with some of its subjects, the test part begins with the others. So for n subjects the files are

    test part:      the other subjects, all n, all n, ..., all n    the whole blocks in one order
    training part:  all n, all n, ..., all n, some subjects         the whole blocks in another, which numbers subjects

and each block shows the slice above the one before it. Images of neighbouring blocks are matched one to one by their
distance. That settles the orders and checks the rule; where a check fails, nothing is guessed.

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

from sslmri.errors import ManifestError, ScanError
from sslmri.scans import read_scan

# Half the least margin of 160 of the 200 subjects laid out in this order: 0.51 over all pairs of neighbouring slices.
MIN_MARGIN = 0.25
_SIDE = 64  # pixels: half those of the set, which costs no certainty and saves time
_DETAIL = 2.0  # pixels: what is wider is intensity, which the set scales slice by slice, and shape that subjects share
_DOWNLOAD_AGAIN = "download the 6,400-image set again, in its own order."
_MATCHINGS = 3  # between the two parts, three slices apart, no image in two of them


@dataclass(frozen=True)
class Layout:
    """How the files of one class stand.

    Attributes:
        n_subjects: subjects of the class.
        n_test: files of the public test part, which stand first.
        n_slices: slices of each subject.
    """

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

    The subjects are those of OASIS-1: never put this cohort and ``oasis`` into one manifest.

    Args:
        folder: the folder of the set.
        label: the class.
        files: its files, from the folder on, in natural order.

    Raises:
        ManifestError: the files are not those of the set, or not in its order.
    """
    _check_size(label, len(files), LAYOUTS[label])
    _check_names(label, files)
    images = np.stack([read_small(folder / file) for file in files])
    subjects, slices, _ = recover_subjects(images, LAYOUTS[label], label)
    for file, subject, number in zip(files, subjects, slices, strict=True):
        yield file, f"{label}-{subject:03d}", str(number)


def read_small(path: Path) -> np.ndarray:
    """Returns the image of a file as it is matched: (64, 64) float32, averaged down.

    Raises:
        ManifestError: the file cannot be read as an image.
    """
    try:
        image = Image.fromarray(read_scan(path.read_bytes(), path.name).voxels[0])
    except ScanError as error:
        raise ManifestError(str(error)) from error
    except OSError as error:
        raise ManifestError(
            f"Expected a readable file at {path}, got: {error.strerror}. Download the set again."
        ) from error
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX))


def recover_subjects(images: np.ndarray, layout: Layout, label: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns subject and slice of each image of a class, both (N,), and the margin of the least clear match.

    Subjects are numbered in the order of the training part, slices from 0 for the lowest on. Every block is matched
    with its neighbours; the margin is the fraction by which a match is nearer than the next best one.

    Args:
        images: (N, H, W) in the order of the files, made small.
        layout: how they stand.
        label: the class, as an error names it.

    Raises:
        ManifestError: the number of images is another, a block has its subjects in another order, the matchings
            between the two parts disagree, or a match is hardly nearer than the next best one.
    """
    _check_size(label, len(images), layout)
    matcher = _Matcher(_detail(images), label)
    test, train, halves = _blocks(layout)
    for block, following in [*pairwise(test), *pairwise(train)]:
        matcher.expect_same_order(following, block)
    if len(halves[0]):
        train.append(matcher.join(halves, train[-1]))
    order = matcher.match_neighbours(test[0], train[-1])
    for block, onto in zip(test[:_MATCHINGS], train[-_MATCHINGS:], strict=True):
        matcher.expect_agreement(block, onto, order)
    files = np.stack([*train, *(block[np.argsort(order)] for block in test)])  # (slices, subjects)
    subjects, slices = np.empty((2, files.size), dtype=int)
    slices[files], subjects[files] = np.indices(files.shape)
    return subjects, slices, matcher.margin


def _detail(images: np.ndarray) -> np.ndarray:
    """Returns images (N, H, W) as (N, H W) of unit length: fine detail, as strong in dark regions as in bright ones.

    Plain intensities put 4 of 2480 real neighbours wrong, because some slices of a subject are windowed differently.
    """
    blur = (0, _DETAIL, _DETAIL)
    detail = images - ndimage.gaussian_filter(images, blur)
    detail /= np.sqrt(ndimage.gaussian_filter(detail**2, blur)) + detail.std(axis=(1, 2), keepdims=True) + 1e-9
    flat = detail.reshape(len(detail), -1)
    return flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-9)


def _blocks(layout: Layout) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Returns the file indices of the test part's blocks, the training part's, and the two of the block between."""
    n = layout.n_subjects
    files = np.arange(n * layout.n_slices)
    start, end = layout.n_test % n, len(files) - (len(files) - layout.n_test) % n
    test, train = files[start : layout.n_test].reshape(-1, n), files[layout.n_test : end].reshape(-1, n)
    return list(test), list(train), [files[end:], files[:start]]


@dataclass
class _Matcher:
    """Matches blocks of files one to one and refuses what does not fit.

    Attributes:
        images: (N, pixels) of all files of the class.
        label: the class.
        margin: the least of all pairs of neighbouring slices so far.
    """

    images: np.ndarray
    label: str
    margin: float = np.inf

    def match(self, block: np.ndarray, onto: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the position in ``onto`` of each image of a block that is not longer, and the margin of each pair.

        The margin is the fraction by which a pair is nearer than the next best one of either image.
        """
        distances = cdist(self.images[block], self.images[onto])
        rows, found = linear_sum_assignment(distances)
        own = distances[rows, found]
        distances[rows, found] = np.inf
        next_best = np.minimum(distances.min(axis=1), distances.min(axis=0)[found])
        return found, (next_best - own) / np.maximum(next_best, 1e-9)

    def match_neighbours(self, block: np.ndarray, onto: np.ndarray) -> np.ndarray:
        """Returns the position in ``onto``, one slice away, of each image of a block, refusing unclear pairs."""
        found, margins = self.match(block, onto)
        worst = int(margins.argmin())
        if margins[worst] < MIN_MARGIN:
            raise ManifestError(
                f"Expected image {block[worst] + 1} of {self.label} to be nearer to image {onto[found[worst]] + 1} "
                f"than to others by {MIN_MARGIN:.0%} or more, got {margins[worst]:.0%}: the subjects cannot be "
                f"recovered, so {_DOWNLOAD_AGAIN}"
            )
        self.margin = min(self.margin, float(margins[worst]))
        return found

    def expect_same_order(self, block: np.ndarray, onto: np.ndarray) -> None:
        """Refuses a block whose images match others than those at their own positions."""
        found = self.match_neighbours(block, onto)
        moved = np.flatnonzero(found != np.arange(len(block)))
        if len(moved):
            at = moved[0]
            raise ManifestError(
                f"Expected images {block[0] + 1} to {block[-1] + 1} of {self.label} in the order of subjects of "
                f"{onto[0] + 1} to {onto[-1] + 1}, got {len(moved)} elsewhere, such as {block[at] + 1} with the "
                f"subject of {onto[found[at]] + 1}: {_DOWNLOAD_AGAIN}"
            )

    def join(self, halves: list[np.ndarray], onto: np.ndarray) -> np.ndarray:
        """Returns two parts of a block as one in the order of ``onto``, refusing subjects in both or in neither.

        Each part is matched among all subjects: that the other part holds those it lacks is not assumed.
        """
        divided = np.concatenate(halves)
        found = np.concatenate([self.match_neighbours(half, onto) for half in halves])
        _, first, times = np.unique(found, return_index=True, return_counts=True)
        if (times > 1).any():
            raise ManifestError(
                f"Expected the first {len(halves[1])} images of {self.label} and the last {len(halves[0])} to be of "
                f"different subjects, got {(times > 1).sum()} in both, such as in image "
                f"{divided[first[times > 1][0]] + 1}: {_DOWNLOAD_AGAIN}"
            )
        return divided[np.argsort(found)]

    def expect_agreement(self, block: np.ndarray, onto: np.ndarray, order: np.ndarray) -> None:
        """Refuses a test block that matches a training block in another order than the neighbouring slices did."""
        found, _ = self.match(block, onto)
        differing = np.flatnonzero(found != order)
        if len(differing):
            raise ManifestError(
                f"Expected all matchings of the test part of {self.label} with the training part to agree, got "
                f"{len(differing)} of {len(order)} subjects matched differently, such as in image "
                f"{block[differing[0]] + 1}: {_DOWNLOAD_AGAIN}"
            )


def _check_size(label: str, n_files: int, layout: Layout) -> None:
    expected = layout.n_subjects * layout.n_slices
    if n_files != expected:
        raise ManifestError(
            f"Expected {expected} images of {label} in the 6,400-image set, got {n_files}: the subjects follow from "
            f"the positions in the whole set, so download it again, without augmented copies."
        )


def _check_names(label: str, files: list[PurePosixPath]) -> None:
    """Refuses names that do not number the files of a class: the subjects follow from the numbers."""
    stem = files[0].stem
    names = {str(files[0].with_name(f"{stem}_{i}{files[0].suffix}")) for i in range(2, len(files) + 1)}
    if {str(file) for file in files[1:]} != names:
        raise ManifestError(
            f"Expected files of {label} named like non.jpg, non_2.jpg, ..., non_{len(files)}.jpg in one folder, got "
            f"{files[0]}, {files[1]}, ...: the subjects follow from these numbers, so download the version with them."
        )
