"""Metrics of a classifier on test cases, each with an interval from a bootstrap over groups."""

from collections.abc import Sequence

import numpy as np

from sslmri.evidence import confusion
from sslmri.evidence.intervals import disease_shortage, estimate, shortage
from sslmri.evidence.ranking import aurocs, average_precisions
from sslmri.evidence.reliability import briers, calibration_errors, reliability_bins
from sslmri.evidence.sample import Sample
from sslmri.models.metrics import CaseMetrics, ClassMetrics, Estimate


def case_metrics(sample: Sample, labels: Sequence[str]) -> CaseMetrics:
    """Returns all metrics of the cases of a sample: slices, or groups as from ``Sample.by_group``.

    The class with the highest probability is predicted; ``auroc`` and ``average_precision`` are of any disease
    (1 - p of class 0) against class 0. Intervals are the 2.5th and 97.5th percentiles over the resamples.

    Args:
        sample: of N cases.
        labels: the C class keys.
    """
    counts = confusion.confusions(sample)
    n_groups, is_disease = len(sample.labels), sample.labels != 0
    reason, against = shortage(n_groups), disease_shortage(sample.labels)
    score = 1.0 - sample.probabilities[:, 0]
    return CaseMetrics(
        n_cases=len(sample.probabilities),
        n_groups=n_groups,
        accuracy=estimate(confusion.accuracy(counts), reason, n_groups),
        balanced_accuracy=estimate(confusion.balanced_accuracy(counts), reason),
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
        precision=of_class(confusion.precision(counts)),
        recall=of_class(confusion.recall(counts)),
        specificity=estimate(confusion.specificity(counts)[:, index], against, n_others),
        f1=of_class(confusion.f1(counts)),
        auroc=estimate(aurocs(sample, is_class, score), reason or against),
        average_precision=estimate(average_precisions(sample, is_class, score), reason or against),
    )
