"""Metrics of a classifier on test cases, each with an interval from a bootstrap over groups.

Confusion matrices (..., C, C) have the truth in rows and what was predicted in columns; how well a score ranks is exact
in every resample; whether probabilities mean what they say is the Brier score and the expected calibration error.
"""

from collections.abc import Sequence

import numpy as np

from sslmri.evidence.intervals import disease_shortage, estimate, shortage
from sslmri.evidence.sample import Sample, ratio
from sslmri.models.metrics import CaseMetrics, ClassMetrics, Estimate, ReliabilityBin

_ROWS = 128  # resamples weighed at a time: bounds memory, whatever the number of slices
N_BINS = 15
BINS_RULE = f"{N_BINS} bins of equal width on the highest probability (Guo et al. 2017)"
_EDGES = np.linspace(0, 1, N_BINS + 1)


def case_metrics(sample: Sample, labels: Sequence[str]) -> CaseMetrics:
    """Returns all metrics of the cases of a sample: slices, or groups as from ``Sample.by_group``.

    The class with the highest probability is predicted; ``auroc`` and ``average_precision`` are of any disease
    (1 - p of class 0) against class 0. Intervals are the 2.5th and 97.5th percentiles over the resamples.
    """
    counts = confusions(sample)
    n_groups, is_disease = len(sample.labels), sample.labels != 0
    reason, against = shortage(n_groups), disease_shortage(sample.labels)
    score = 1.0 - sample.probabilities[:, 0]
    return CaseMetrics(
        n_cases=len(sample.probabilities),
        n_groups=n_groups,
        accuracy=estimate(accuracy(counts), reason, n_groups),
        balanced_accuracy=estimate(balanced_accuracy(counts), reason),
        auroc=estimate(aurocs(sample, is_disease, score), against),
        average_precision=estimate(average_precisions(sample, is_disease, score), against),
        brier=estimate(briers(sample), reason),
        ece=estimate(calibration_errors(sample), reason),
        confusion=tuple(map(tuple, counts[0].tolist())),
        reliability=reliability_bins(sample),
        per_class={label: _class_metrics(sample, index, counts) for index, label in enumerate(labels)},
    )


def _class_metrics(sample: Sample, index: int, counts: np.ndarray) -> ClassMetrics:
    is_class = sample.labels == index
    score = sample.probabilities[:, index]
    n_groups, n_others = int(is_class.sum()), int((~is_class).sum())
    reason, against = shortage(n_groups), shortage(n_others, " of the other classes")

    def of_class(values: np.ndarray) -> Estimate:
        return estimate(values[:, index] if is_class.any() else np.full(len(values), np.nan), reason, n_groups)

    return ClassMetrics(
        n_cases=int(sample.sizes[is_class].sum()),
        n_groups=n_groups,
        precision=of_class(precision(counts)),
        recall=of_class(recall(counts)),
        specificity=estimate(specificity(counts)[:, index], against, n_others),
        f1=of_class(f1(counts)),
        auroc=estimate(aurocs(sample, is_class, score), reason or against),
        average_precision=estimate(average_precisions(sample, is_class, score), reason or against),
    )


def confusions(sample: Sample) -> np.ndarray:
    """Returns the confusion matrix of the sample and of each resample: (1 + B, C, C), from the counts of each group.

    The class with the highest probability is predicted.
    """
    counts = sample.sums(np.eye(sample.n_classes)[sample.probabilities.argmax(axis=1)]).astype(np.int64)
    labels = range(sample.n_classes)
    rows = [sample.weights[:, is_label] @ counts[is_label] for is_label in (sample.labels == label for label in labels)]
    return np.stack(rows, axis=1)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Returns the fraction on the diagonal, NaN where the matrix is empty."""
    return ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum(axis=(-2, -1)), np.nan)


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Returns the mean recall over the classes present."""
    n_present = np.count_nonzero(confusion.sum(axis=-1), axis=-1)
    return ratio(recall(confusion).sum(axis=-1), n_present, np.nan)


def precision(confusion: np.ndarray) -> np.ndarray:
    """Returns the precision of each class (..., C), 0 where it is never predicted."""
    return ratio(_hits(confusion), confusion.sum(axis=-2), 0.0)


def recall(confusion: np.ndarray) -> np.ndarray:
    """Returns the recall, which is the sensitivity, of each class (..., C), 0 where it is absent."""
    return ratio(_hits(confusion), confusion.sum(axis=-1), 0.0)


def specificity(confusion: np.ndarray) -> np.ndarray:
    """Returns the fraction of the other classes' cases not taken for each class (..., C), NaN where there are none."""
    others = confusion.sum(axis=(-2, -1))[..., np.newaxis] - confusion.sum(axis=-1)
    taken = confusion.sum(axis=-2) - _hits(confusion)
    return ratio(others - taken, others, np.nan)


def f1(confusion: np.ndarray) -> np.ndarray:
    """Returns the harmonic mean of precision and recall of each class (..., C), 0 where nothing is right."""
    return ratio(2 * _hits(confusion), confusion.sum(axis=-1) + confusion.sum(axis=-2), 0.0)


def _hits(confusion: np.ndarray) -> np.ndarray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def aurocs(sample: Sample, is_positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Returns the AUROC of a score as it is and in each resample: (1 + B,), NaN where one side is empty.

    The AUROC is the fraction of correctly ordered pairs of slices, so its resamples are weighted sums of the counts of
    ordered pairs between two groups. The score (N,) should rank high the groups that are positive, (G,) bool.
    """
    if is_positive.all() or not is_positive.any():
        return np.full(len(sample.weights), np.nan)
    positive, negative = sample.weights[:, is_positive], sample.weights[:, ~is_positive]
    n_pairs = (positive @ sample.sizes[is_positive]) * (negative @ sample.sizes[~is_positive])
    in_order = np.einsum("bn,bn->b", positive @ _wins(sample, is_positive, score), negative)
    return ratio(in_order, n_pairs, np.nan)


def average_precisions(sample: Sample, is_positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Returns the average precision of a score as it is and in each resample: (1 + B,), NaN where one side is empty.

    The mean of the precision at every threshold, weighted by the gain in recall, as in scikit-learn; equal scores
    share a threshold. Arguments are as for ``aurocs``.
    """
    if is_positive.all() or not is_positive.any():
        return np.full(len(sample.weights), np.nan)
    order = np.argsort(-score, kind="stable")
    owner = sample.owner[order]
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    values = []
    for start in range(0, len(sample.weights), _ROWS):
        drawn = sample.weights[start : start + _ROWS, owner]
        hits = np.cumsum(drawn * is_positive[owner], axis=1)[:, ends]
        called = np.maximum(np.cumsum(drawn, axis=1)[:, ends], 1)
        values.append((np.diff(hits, axis=1, prepend=0) * hits / called).sum(axis=1) / hits[:, -1])
    return np.concatenate(values)


def _wins(sample: Sample, is_positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Returns for each positive and negative group how many pairs of their slices are in order, ties half: (P, Q)."""
    negative = score[np.repeat(~is_positive, sample.sizes)]
    sizes = sample.sizes[~is_positive]
    rows = []
    for group in np.flatnonzero(is_positive):
        start = sample.starts[group]
        group_scores = np.sort(score[start : start + sample.sizes[group]])
        below = (np.searchsorted(group_scores, negative, "left") + np.searchsorted(group_scores, negative, "right")) / 2
        rows.append(np.add.reduceat(len(group_scores) - below, np.cumsum(sizes) - sizes))
    return np.stack(rows)


def briers(sample: Sample) -> np.ndarray:
    """Returns the Brier score as it is and in each resample: (1 + B,), 0 at best and 2 at worst.

    The squared distance to the truth summed over the classes, as in Brier 1950: with two classes twice that of one.
    """
    distance = sample.probabilities - np.eye(sample.n_classes)[sample.truth]
    return sample.mean((distance**2).sum(axis=1))


def calibration_errors(sample: Sample) -> np.ndarray:
    """Returns the expected calibration error (ECE) as it is and in each resample: (1 + B,).

    The distance between the highest probability and the accuracy of the cases, in 15 bins of equal
    width, weighted by their cases (Guo et al. 2017, eq. 3, arXiv:1706.04599). In few cases chance alone sets the two
    apart, so the ECE of few groups is too high, and that of their resamples more so.
    """
    gaps = sample.sums(_in_bins(sample, sample.probabilities.max(axis=1) - _is_right(sample)))
    return ratio(np.abs(sample.weights @ gaps).sum(axis=1), sample.weights @ sample.sizes, np.nan)


def reliability_bins(sample: Sample) -> tuple[ReliabilityBin, ...]:
    """Returns the bins of the expected calibration error that hold a case."""
    top = sample.probabilities.max(axis=1)
    counts, probabilities, right = (
        _in_bins(sample, values) for values in (np.ones(len(top)), top, _is_right(sample).astype(float))
    )
    n_groups = np.count_nonzero(sample.sums(counts), axis=0)
    totals = counts.sum(axis=0)
    return tuple(
        ReliabilityBin(
            low=float(_EDGES[index]),
            high=float(_EDGES[index + 1]),
            probability=float(probabilities[:, index].sum() / totals[index]),
            accuracy=float(right[:, index].sum() / totals[index]),
            n_cases=int(totals[index]),
            n_groups=int(n_groups[index]),
        )
        for index in np.flatnonzero(totals)
    )


def _is_right(sample: Sample) -> np.ndarray:
    return sample.probabilities.argmax(axis=1) == sample.truth


def _in_bins(sample: Sample, values: np.ndarray) -> np.ndarray:
    """Returns a value of each case in the column of its bin: (N,) -> (N, 15)."""
    bins = np.digitize(sample.probabilities.max(axis=1), _EDGES[1:-1], right=True)
    return np.where(np.arange(N_BINS) == bins[:, np.newaxis], values[:, np.newaxis], 0.0)
