"""Figures of a classifier on test groups, each with an interval from a bootstrap over groups."""

from typing import TypedDict

import numpy as np

from sslmri.evidence import confusion
from sslmri.evidence.intervals import Interval, disease_shortage, interval, shortage
from sslmri.evidence.ranking import aurocs, average_precisions
from sslmri.evidence.reliability import Bin, briers, calibration_errors, reliability_bins
from sslmri.evidence.sample import N_RESAMPLES, Sample, draw_sample


class ClassFigures(TypedDict):
    """Figures of one class against the rest; recall is its sensitivity.

    ``slices`` counts the cases: groups, where each group is one case.
    """

    slices: int
    groups: int
    precision: Interval
    recall: Interval
    specificity: Interval
    f1: Interval
    auroc: Interval
    average_precision: Interval


class CaseMetrics(TypedDict):
    """Figures of one kind of case; rows of the confusion matrix are the truth, columns what was predicted."""

    accuracy: Interval
    balanced_accuracy: Interval
    auroc: Interval
    average_precision: Interval
    brier: Interval
    ece: Interval
    confusion: list[list[int]]
    reliability: list[Bin]
    per_class: list[ClassFigures]


class Metrics(CaseMetrics):
    """All figures of one disease: of its slices, and of each group with the mean probabilities of its slices."""

    n_slices: int
    n_groups: int
    subject: CaseMetrics


def compute_metrics(
    truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Metrics:
    """Returns all figures of a classifier; the class with the highest probability is predicted.

    The bootstrap draws whole groups with replacement, class by class, so that every resample has each class; the
    intervals are the 2.5th and 97.5th percentiles. ``auroc`` and ``average_precision`` are of any disease (1 - p of
    class 0) against class 0.

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
    sample = draw_sample(np.asarray(truth), np.asarray(probabilities), np.asarray(groups), n_resamples, seed)
    return {
        "n_slices": len(truth),
        "n_groups": len(sample.labels),
        **_case_figures(sample),
        "subject": _case_figures(sample.by_group()),
    }


def _case_figures(sample: Sample) -> CaseMetrics:
    counts = confusion.confusions(sample)
    reason, is_disease = shortage(len(sample.labels)), sample.labels != 0
    against = disease_shortage(sample.labels)
    score = 1.0 - sample.probabilities[:, 0]
    return {
        "accuracy": interval(confusion.accuracy(counts), reason, len(sample.labels)),
        "balanced_accuracy": interval(confusion.balanced_accuracy(counts), reason),
        "auroc": interval(aurocs(sample, is_disease, score), against),
        "average_precision": interval(average_precisions(sample, is_disease, score), against),
        "brier": interval(briers(sample), reason),
        "ece": interval(calibration_errors(sample), reason),
        "confusion": counts[0].tolist(),
        "reliability": reliability_bins(sample),
        "per_class": [_class_figures(sample, index, counts) for index in range(sample.n_classes)],
    }


def _class_figures(sample: Sample, index: int, counts: np.ndarray) -> ClassFigures:
    is_class = sample.labels == index
    score = sample.probabilities[:, index]
    n_own, n_others = int(is_class.sum()), int((~is_class).sum())
    reason, against = shortage(n_own), shortage(n_others, " of the other classes")

    def of_class(values: np.ndarray) -> Interval:
        return interval(values[:, index] if is_class.any() else np.full(len(values), np.nan), reason, n_own)

    return {
        "slices": int(sample.sizes[is_class].sum()),
        "groups": n_own,
        "precision": of_class(confusion.precision(counts)),
        "recall": of_class(confusion.recall(counts)),
        "specificity": interval(confusion.specificity(counts)[:, index], against, n_others),
        "f1": of_class(confusion.f1(counts)),
        "auroc": interval(aurocs(sample, is_class, score), reason or against),
        "average_precision": interval(average_precisions(sample, is_class, score), reason or against),
    }
