"""How well a score ranks: the areas under the ROC and the precision-recall curve, exact in every resample."""

import numpy as np

from sslmri.evidence.sample import Sample, ratio

_ROWS = 128  # resamples weighed at a time: bounds memory, whatever the number of slices


def aurocs(sample: Sample, is_positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Returns the AUROC of a score as it is and in each resample: (1 + B,), NaN where one side is empty.

    The AUROC is the fraction of correctly ordered pairs of slices, so its resamples are weighted sums of the counts of
    ordered pairs between two groups.

    Args:
        sample: the slices by group.
        is_positive: (G,) bool, the groups that the score should rank high.
        score: (N,).
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
    share a threshold.

    Args:
        sample: the slices by group.
        is_positive: (G,) bool, the groups that the score should rank high.
        score: (N,).
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
