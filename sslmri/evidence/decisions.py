"""How the thresholds and prediction sets of a classifier perform on test groups."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sslmri.cohorts.registry import MIN_GROUPS
from sslmri.evidence.intervals import estimate, shortage
from sslmri.evidence.sample import Sample
from sslmri.evidence.verdict import Decisions, Verdict, prediction_sets, verdicts
from sslmri.models.metrics import Estimate, OperatingPoint, SetCoverage, SetMetrics, ThresholdMetrics, Thresholds

FoldDecisions = Mapping[int, Decisions]  # by fold: what was fitted on the other folds


class GroupCases(NamedTuple):
    """The G groups as cases of their own, in the order of their names.

    Attributes:
        probabilities: (G, C).
        decisions: of the classifier for a case of several slices.
        by_fold: what judges the groups of each fold in their place, where the classifier is cross-validated.
    """

    probabilities: np.ndarray
    decisions: Decisions
    by_fold: FoldDecisions | None = None


def threshold_metrics(
    sample: Sample, low: float, high: float, by_fold: FoldDecisions | None = None, grouped: GroupCases | None = None
) -> Thresholds:
    """Returns sensitivity and specificity of any disease at both thresholds, of slices and of groups.

    At ``low`` a case is positive unless its verdict is *not flagged*; at ``high`` only where it is *flagged*.

    Args:
        sample: the test slices.
        low: threshold of the classifier.
        high: threshold of the classifier.
        by_fold: what judges the cases of each fold in their place, where the classifier is cross-validated.
        grouped: the groups as cases with thresholds of their own; None: those of slices.
    """
    decided = (grouped.decisions.low, grouped.decisions.high, grouped.by_fold) if grouped else (low, high, by_fold)
    groups, limits = sample.by_group(), decided[:2]
    by_case = (sample, _verdicts(sample, low, high, by_fold)), (groups, _verdicts(groups, *decided))

    def at(threshold: float, of_group: float, *positive: Verdict) -> ThresholdMetrics:
        of_slices, of_groups = (_operating_point(cases, given, positive) for cases, given in by_case)
        return ThresholdMetrics(threshold, of_slices, of_groups, of_group if grouped else None)

    return Thresholds(
        low=at(low, limits[0], Verdict.FLAGGED, Verdict.INCONCLUSIVE), high=at(high, limits[1], Verdict.FLAGGED)
    )


def set_metrics(
    sample: Sample,
    set_thresholds: Mapping[str, float | None],
    by_fold: FoldDecisions | None = None,
    grouped: GroupCases | None = None,
) -> SetMetrics:
    """Returns how often the sets hold the true class and how large they are, of slices and of groups.

    With ``by_fold`` the cases of each fold have the sets of thresholds fitted on the others; the groups have those of
    slices unless they are ``grouped``.
    """
    of_groups = (grouped.decisions.set_thresholds, grouped.by_fold) if grouped else (set_thresholds, by_fold)
    return SetMetrics(
        dict(set_thresholds), _coverage(sample, set_thresholds, by_fold), _coverage(sample.by_group(), *of_groups)
    )


def _verdicts(sample: Sample, low: float, high: float, by_fold: FoldDecisions | None) -> np.ndarray:
    given = np.array(verdicts(sample.probabilities, high, low), dtype=object)
    for fold, decided in (by_fold or {}).items():
        rows = sample.folds[sample.owner] == fold
        given[rows] = verdicts(sample.probabilities[rows], decided.high, decided.low)
    return given


def _operating_point(sample: Sample, given: np.ndarray, positive: Sequence[Verdict]) -> OperatingPoint:
    is_positive, is_disease = np.array([verdict in positive for verdict in given], dtype=bool), sample.labels != 0
    n_disease, n_reference = int(is_disease.sum()), int((~is_disease).sum())
    return OperatingPoint(
        sensitivity=estimate(sample.mean(is_positive, is_disease), shortage(n_disease, " with disease"), n_disease),
        specificity=estimate(
            sample.mean(~is_positive, ~is_disease), shortage(n_reference, " of the reference class"), n_reference
        ),
    )


def _coverage(sample: Sample, set_thresholds: Mapping[str, float | None], by_fold: FoldDecisions | None) -> SetCoverage:
    sets = prediction_sets(sample.probabilities, set_thresholds)
    for fold, decided in (by_fold or {}).items():
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
