"""Figures of a classifier on test groups, each with an interval from a bootstrap over groups."""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from sslmri.errors import ManifestError, ModelError

MIN_GROUPS = 5  # test groups of a class below which its figures say more about those people than about the class
N_RESAMPLES = 1000
_PERCENTILES = (2.5, 97.5)


class Interval(TypedDict):
    """A figure with its 95 % interval.

    ``raw`` is what the test slices give, None where even that does not exist. ``value``, ``low`` and ``high`` are None
    where the figure is not estimable, and ``reason`` says why.
    """

    value: float | None
    low: float | None
    high: float | None
    raw: float | None
    reason: str | None


class ClassFigures(TypedDict):
    """Figures of one class against the rest."""

    slices: int
    groups: int
    precision: Interval
    recall: Interval
    f1: Interval
    auroc: Interval


class SubjectFigures(TypedDict):
    """Figures where each group is one case, with the mean probabilities of its slices."""

    accuracy: Interval
    auroc: Interval
    confusion: list[list[int]]


class Figures(TypedDict):
    """All figures of one disease; rows of a confusion matrix are the truth, columns what was predicted."""

    n_slices: int
    n_groups: int
    accuracy: Interval
    balanced_accuracy: Interval
    auroc: Interval
    confusion: list[list[int]]
    per_class: list[ClassFigures]
    subject: SubjectFigures


@dataclass(frozen=True)
class _Sample:
    """Slices sorted by group, with how often each resample draws each group.

    Attributes:
        probabilities: (N, C).
        sizes: (G,) slices of each group; the rows of group g follow those of group g - 1.
        labels: (G,) class of each group.
        draws: (B, G).
    """

    probabilities: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    draws: np.ndarray

    @property
    def n_classes(self) -> int:
        """C."""
        return int(self.probabilities.shape[1])

    @property
    def starts(self) -> np.ndarray:
        """First row of each group: (G,)."""
        starts: np.ndarray = np.cumsum(self.sizes) - self.sizes
        return starts


def compute_figures(
    truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Figures:
    """Returns all figures of a classifier; the class with the highest probability is predicted.

    The bootstrap draws whole groups with replacement, class by class, so that every resample has each class; the
    intervals are the 2.5th and 97.5th percentiles. ``auroc`` is of any disease (1 - p of class 0) against class 0.

    Args:
        truth: (N,) class indices; the slices of a group share theirs.
        probabilities: (N, C).
        groups: (N,) names.
        n_resamples: B.
        seed: of the bootstrap.

    Raises:
        ManifestError: a group with two classes.
        ModelError: probabilities that are not finite, or not one row for each slice.
    """
    sample = _draw(np.asarray(truth), np.asarray(probabilities), np.asarray(groups), n_resamples, seed)
    subjects = _subjects(sample)
    resampled, resampled_subjects = _confusions(sample, sample.draws), _confusions(subjects, subjects.draws)
    total, total_subjects = _total(sample), _total(subjects)
    reason = _shortage(len(sample.labels))
    return {
        "n_slices": len(truth),
        "n_groups": len(sample.labels),
        "accuracy": _interval(_accuracy(total), _accuracy(resampled), reason),
        "balanced_accuracy": _interval(_balanced_accuracy(total), _balanced_accuracy(resampled), reason),
        "auroc": _disease_auroc(sample),
        "confusion": total.tolist(),
        "per_class": [_class_figures(sample, index, total, resampled) for index in range(sample.n_classes)],
        "subject": {
            "accuracy": _interval(_accuracy(total_subjects), _accuracy(resampled_subjects), reason),
            "auroc": _disease_auroc(subjects),
            "confusion": total_subjects.tolist(),
        },
    }


def _draw(truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray, n_resamples: int, seed: int) -> _Sample:
    _check(truth, probabilities, groups)
    names, first, member = np.unique(groups, return_index=True, return_inverse=True)
    labels = truth[first].astype(np.int64)
    mixed = np.unique(member[truth != labels[member]])
    if len(mixed):
        raise ManifestError(
            f"Expected slices of one class in each group, got several in {len(mixed)} groups, first {names[mixed[0]]}: "
            "split the group or correct a label."
        )
    generator = np.random.default_rng(seed)
    draws = np.zeros((n_resamples, len(names)), dtype=np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        draws[:, own] = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), size=n_resamples)
    order = np.argsort(member, kind="stable")
    return _Sample(probabilities[order].astype(np.float64), np.bincount(member, minlength=len(names)), labels, draws)


def _check(truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray) -> None:
    if probabilities.ndim != 2 or not len(truth) == len(probabilities) == len(groups):
        raise ModelError(
            f"Expected probabilities of shape ({len(truth)}, C) and {len(truth)} groups, got {probabilities.shape} and "
            f"{len(groups)}: predict the test slices again."
        )
    if not np.isfinite(probabilities).all():
        raise ModelError("Expected finite probabilities, got some that are no numbers: the training has failed.")
    if len(truth) and not (truth.min() >= 0 and truth.max() < probabilities.shape[1]):
        raise ModelError(
            f"Expected classes 0 to {probabilities.shape[1] - 1}, got {truth.min()} to {truth.max()}: "
            "the labels belong to another head."
        )


def _subjects(sample: _Sample) -> _Sample:
    """Returns the sample with each group as one case: the mean probabilities of its slices."""
    if len(sample.sizes) == 0:
        return sample
    means = np.add.reduceat(sample.probabilities, sample.starts) / sample.sizes[:, np.newaxis]
    means = means.round(12)  # means of equal values must tie, whatever the group's size
    return _Sample(means, np.ones_like(sample.sizes), sample.labels, sample.draws)


def _total(sample: _Sample) -> np.ndarray:
    """Returns the confusion matrix (C, C) of the sample as it is."""
    once = np.ones((1, len(sample.labels)), dtype=np.int64)
    total: np.ndarray = _confusions(sample, once)[0]
    return total


def _confusions(sample: _Sample, draws: np.ndarray) -> np.ndarray:
    """Returns the confusion matrix of each resample: (B, C, C), from the counts of each group."""
    counts = np.zeros((len(sample.labels), sample.n_classes), dtype=np.int64)
    owner = np.repeat(np.arange(len(sample.labels)), sample.sizes)
    np.add.at(counts, (owner, sample.probabilities.argmax(axis=1)), 1)
    rows = [draws[:, own] @ counts[own] for own in (sample.labels == label for label in range(sample.n_classes))]
    return np.stack(rows, axis=1)


def _accuracy(confusion: np.ndarray) -> np.ndarray:
    """Returns the share on the diagonal of confusion matrices (..., C, C), NaN where these are empty."""
    return _ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum(axis=(-2, -1)), np.nan)


def _balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Returns the mean recall over the classes present, of confusion matrices (..., C, C)."""
    n_present = np.count_nonzero(confusion.sum(axis=-1), axis=-1)
    return _ratio(_recall(confusion).sum(axis=-1), n_present, np.nan)


def _precision(confusion: np.ndarray) -> np.ndarray:
    """Returns the precision of each class (..., C), 0 where it is never predicted."""
    return _ratio(_hits(confusion), confusion.sum(axis=-2), 0.0)


def _recall(confusion: np.ndarray) -> np.ndarray:
    """Returns the recall of each class (..., C), 0 where it is absent."""
    return _ratio(_hits(confusion), confusion.sum(axis=-1), 0.0)


def _f1(confusion: np.ndarray) -> np.ndarray:
    """Returns the harmonic mean of precision and recall of each class (..., C), 0 where nothing is right."""
    return _ratio(2 * _hits(confusion), confusion.sum(axis=-1) + confusion.sum(axis=-2), 0.0)


def _hits(confusion: np.ndarray) -> np.ndarray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _ratio(part: np.ndarray, whole: np.ndarray, otherwise: float) -> np.ndarray:
    """Returns part / whole, and ``otherwise`` where whole is 0."""
    empty = np.asarray(whole) == 0
    return np.where(empty, otherwise, part / np.where(empty, 1, whole))


def _class_figures(sample: _Sample, index: int, total: np.ndarray, resampled: np.ndarray) -> ClassFigures:
    is_class = sample.labels == index
    n_groups, n_others = int(is_class.sum()), int((~is_class).sum())
    reason = _shortage(n_groups)

    def of_class(figure: np.ndarray, figures: np.ndarray) -> Interval:
        return _interval(figure[index] if n_groups else np.array(np.nan), figures[:, index], reason)

    return {
        "slices": int(sample.sizes[is_class].sum()),
        "groups": n_groups,
        "precision": of_class(_precision(total), _precision(resampled)),
        "recall": of_class(_recall(total), _recall(resampled)),
        "f1": of_class(_f1(total), _f1(resampled)),
        "auroc": _auroc(
            sample, is_class, sample.probabilities[:, index], reason or _shortage(n_others, " of the other classes")
        ),
    }


def _disease_auroc(sample: _Sample) -> Interval:
    """Returns the AUROC of any disease against the reference class."""
    is_disease = sample.labels != 0
    n_disease, n_reference = int(is_disease.sum()), int((~is_disease).sum())
    reason = _shortage(n_reference, " of the reference class") or _shortage(n_disease, " with disease")
    return _auroc(sample, is_disease, 1.0 - sample.probabilities[:, 0], reason)


def _auroc(sample: _Sample, is_positive: np.ndarray, score: np.ndarray, reason: str | None) -> Interval:
    """Returns the AUROC of a score (N,) for the groups that are positive (G,), exact in every resample.

    The AUROC is the share of rightly ordered pairs of slices, so its resamples are weighted sums of the counts of
    ordered pairs between two groups.
    """
    if is_positive.all() or not is_positive.any():
        return _interval(np.array(np.nan), np.empty(0), reason)
    wins = _wins(sample, is_positive, score)
    positive, negative = sample.draws[:, is_positive], sample.draws[:, ~is_positive]
    n_pairs = (positive @ sample.sizes[is_positive]) * (negative @ sample.sizes[~is_positive])
    resampled = np.einsum("bn,bn->b", positive @ wins, negative) / n_pairs
    total = sample.sizes[is_positive].sum() * sample.sizes[~is_positive].sum()
    return _interval(wins.sum() / total, resampled, reason)


def _wins(sample: _Sample, is_positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Returns for each positive and negative group how many pairs of their slices are in order, ties half: (P, Q)."""
    negative = score[np.repeat(~is_positive, sample.sizes)]
    sizes = sample.sizes[~is_positive]
    rows = []
    for group in np.flatnonzero(is_positive):
        start = sample.starts[group]
        own = np.sort(score[start : start + sample.sizes[group]])
        below = (np.searchsorted(own, negative, "left") + np.searchsorted(own, negative, "right")) / 2
        rows.append(np.add.reduceat(len(own) - below, np.cumsum(sizes) - sizes))
    return np.stack(rows)


def _shortage(n_groups: int, of: str = "") -> str | None:
    """Returns why a figure is not estimable from so many test groups, or None if it is."""
    if n_groups >= MIN_GROUPS:
        return None
    return f"not estimable: {n_groups} test group{'' if n_groups == 1 else 's'}{of}, {MIN_GROUPS} needed"


def _interval(raw: np.ndarray, resampled: np.ndarray, reason: str | None) -> Interval:
    kept = None if np.isnan(raw) else float(raw)
    if reason is not None or kept is None:
        return {"value": None, "low": None, "high": None, "raw": kept, "reason": reason}
    low, high = np.percentile(resampled, _PERCENTILES)
    return {"value": kept, "low": float(low), "high": float(high), "raw": kept, "reason": None}
