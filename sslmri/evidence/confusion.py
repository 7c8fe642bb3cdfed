"""What confusion matrices (..., C, C) say; rows are the truth, columns what was predicted."""

import numpy as np

from sslmri.evidence.sample import Sample, ratio


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
