"""How the thresholds and prediction sets of a classifier perform on test groups."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sslmri.cohorts.registry import MIN_GROUPS
from sslmri.evidence.intervals import estimate, shortage
from sslmri.evidence.sample import Sample
from sslmri.evidence.verdict import Verdict, prediction_sets, verdicts
from sslmri.models.cards import Decisions
from sslmri.models.metrics import Estimate, OperatingPoint, SetCoverage, SetMetrics, ThresholdMetrics, Thresholds


class CaseDecisions(NamedTuple):
    """The decisions of a classifier for cases of one kind, slices or groups.

    Attributes:
        overall: of the classifier.
        by_fold: those fitted on the other folds, for the cases of each fold, where the classifier is cross-validated.
    """

    overall: Decisions
    by_fold: Mapping[int, Decisions] | None = None


def threshold_metrics(sample: Sample, of_slices: CaseDecisions, of_groups: CaseDecisions) -> Thresholds:
    """Returns sensitivity and specificity of any disease at both thresholds, of slices and of groups.

    At the lower threshold a case is positive unless its verdict is *not flagged*; at the upper one only where it is
    *flagged*.
    """
    groups = sample.by_group()
    by_case = (sample, _verdicts(sample, of_slices)), (groups, _verdicts(groups, of_groups))

    def at(name: str, *positive: Verdict) -> ThresholdMetrics:
        slices, groups = (operating_point(cases, given, positive) for cases, given in by_case)
        threshold, of_group = (getattr(each.overall, f"threshold_{name}") for each in (of_slices, of_groups))
        return ThresholdMetrics(threshold, slices, groups, of_group)

    return Thresholds(low=at("low", Verdict.FLAGGED, Verdict.INCONCLUSIVE), high=at("high", Verdict.FLAGGED))


def set_metrics(sample: Sample, of_slices: CaseDecisions, of_groups: CaseDecisions) -> SetMetrics:
    """Returns how often the sets contain the true class and how large they are, of slices and of groups."""
    return SetMetrics(
        dict(of_slices.overall.set_thresholds),
        _coverage(sample, of_slices),
        _coverage(sample.by_group(), of_groups),
    )


def _verdicts(sample: Sample, decisions: CaseDecisions) -> np.ndarray:
    given = np.array(verdicts(sample.probabilities, decisions.overall), dtype=object)
    for fold, decided in (decisions.by_fold or {}).items():
        rows = sample.folds[sample.owner] == fold
        given[rows] = verdicts(sample.probabilities[rows], decided)
    return given


def operating_point(sample: Sample, given: np.ndarray, positive: Sequence[Verdict]) -> OperatingPoint:
    """Returns sensitivity and specificity of the verdicts given to the N cases (N,), some of which are positive."""
    is_positive, is_disease = np.array([verdict in positive for verdict in given], dtype=bool), sample.labels != 0
    n_disease, n_reference = int(is_disease.sum()), int((~is_disease).sum())
    return OperatingPoint(
        sensitivity=estimate(sample.mean(is_positive, is_disease), shortage(n_disease, " with disease"), n_disease),
        specificity=estimate(
            sample.mean(~is_positive, ~is_disease), shortage(n_reference, " of the reference class"), n_reference
        ),
    )


def _coverage(sample: Sample, decisions: CaseDecisions) -> SetCoverage:
    set_thresholds = decisions.overall.set_thresholds
    sets = prediction_sets(sample.probabilities, set_thresholds)
    for fold, decided in (decisions.by_fold or {}).items():
        rows = sample.folds[sample.owner] == fold
        sets[rows] = prediction_sets(sample.probabilities[rows], decided.set_thresholds)
    is_covered = sets[np.arange(len(sets)), sample.truth]
    sizes = sets.sum(axis=1)
    always = f"in every set: fewer than {MIN_GROUPS} validation groups"

    def of_class(index: int, threshold: float | None) -> Estimate:
        is_class = sample.labels == index
        n_groups = int(is_class.sum())
        return estimate(
            sample.mean(is_covered, is_class), always if threshold is None else shortage(n_groups), n_groups
        )

    reason = shortage(len(sample.labels))
    return SetCoverage(
        coverage={label: of_class(index, limit) for index, (label, limit) in enumerate(set_thresholds.items())},
        mean_size=estimate(sample.mean(sizes), reason),
        empty=estimate(sample.mean(sizes == 0), reason, len(sample.labels)),
    )
