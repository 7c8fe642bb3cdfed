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


class Answers(NamedTuple):
    """What a classifier answers to N cases of one kind, slices or groups.

    Attributes:
        decisions: by which it answers new cases.
        probabilities: (N, C), calibrated.
        verdicts: (N,) of ``Verdict``.
        sets: (N, C) bool, the classes in each prediction set.
    """

    decisions: Decisions
    probabilities: np.ndarray
    verdicts: np.ndarray
    sets: np.ndarray


def answer(probabilities: np.ndarray, decisions: Decisions) -> Answers:
    """Returns the answers to cases of calibrated probabilities (N, C)."""
    given = np.array(verdicts(probabilities, decisions), dtype=object)
    return Answers(decisions, probabilities, given, prediction_sets(probabilities, decisions.set_thresholds))


def threshold_metrics(sample: Sample, of_slices: Answers, of_groups: Answers) -> Thresholds:
    """Returns sensitivity and specificity of any disease at both thresholds, of slices and of groups.

    Slices are in the order that the sample was drawn from. At the lower threshold a case is positive unless its verdict
    is *not flagged*; at the upper one only where it is *flagged*.
    """
    by_case = (sample, of_slices.verdicts[sample.order]), (sample.by_group(), of_groups.verdicts)

    def at(name: str, *positive: Verdict) -> ThresholdMetrics:
        slices, groups = (operating_point(cases, given, positive) for cases, given in by_case)
        threshold, of_group = (getattr(each.decisions, f"threshold_{name}") for each in (of_slices, of_groups))
        return ThresholdMetrics(threshold, slices, groups, of_group)

    return Thresholds(low=at("low", Verdict.FLAGGED, Verdict.INCONCLUSIVE), high=at("high", Verdict.FLAGGED))


def set_metrics(sample: Sample, of_slices: Answers, of_groups: Answers) -> SetMetrics:
    """Returns how often the sets contain the true class and how large they are, of slices and of groups."""
    slices, groups = of_slices.decisions.set_thresholds, of_groups.decisions.set_thresholds
    return SetMetrics(
        dict(slices),
        _coverage(sample, of_slices.sets[sample.order], slices),
        _coverage(sample.by_group(), of_groups.sets, groups),
    )


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


def _coverage(sample: Sample, sets: np.ndarray, set_thresholds: Mapping[str, float | None]) -> SetCoverage:
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
