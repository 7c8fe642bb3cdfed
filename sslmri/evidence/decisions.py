"""What a head's thresholds and prediction sets are worth on test groups."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sslmri.evidence.intervals import MIN_GROUPS, Interval, interval, shortage
from sslmri.evidence.sample import Sample
from sslmri.evidence.verdict import Verdict, abstaining, prediction_sets, verdicts


def threshold_result(sample: Sample, low: float, high: float) -> dict[str, Any]:
    """Returns sensitivity and specificity of any disease at both thresholds, ``slices`` and ``subject``, for JSON.

    At ``low`` a case is positive unless its verdict is *not flagged*; at ``high`` only where it is *flagged*.
    """
    by_slice, by_group = ((case, verdicts(case.probabilities, high, low)) for case in (sample, sample.by_group()))
    return {
        name: {
            "threshold": value,
            "slices": _sensitivity_and_specificity(by_slice[0], np.isin(by_slice[1], positive)),
            "subject": _sensitivity_and_specificity(by_group[0], np.isin(by_group[1], positive)),
        }
        for name, value, positive in (
            ("low", low, [Verdict.FLAGGED, Verdict.INCONCLUSIVE]),
            ("high", high, [Verdict.FLAGGED]),
        )
    }


def set_result(sample: Sample, set_thresholds: Mapping[str, float | None]) -> dict[str, Any]:
    """Returns how often the sets hold the true class and how large they are, ``slices`` and ``subject``, for JSON.

    The thresholds were chosen on slices; a group's set is that of the mean probabilities of its slices, as in a
    screening.
    """
    return {
        "thresholds": dict(set_thresholds),
        "abstaining": list(abstaining(set_thresholds)),
        "slices": _sets_of(sample, set_thresholds),
        "subject": _sets_of(sample.by_group(), set_thresholds),
    }


def _sensitivity_and_specificity(sample: Sample, is_positive: np.ndarray) -> dict[str, Interval]:
    is_disease = sample.labels != 0
    n_disease, n_reference = int(is_disease.sum()), int((~is_disease).sum())
    return {
        "sensitivity": interval(sample.mean(is_positive, is_disease), shortage(n_disease, " with disease"), n_disease),
        "specificity": interval(
            sample.mean(~is_positive, ~is_disease), shortage(n_reference, " of the reference class"), n_reference
        ),
    }


def _sets_of(sample: Sample, set_thresholds: Mapping[str, float | None]) -> dict[str, Any]:
    sets = prediction_sets(sample.probabilities, set_thresholds)
    is_covered = sets[np.arange(len(sets)), sample.truth]
    sizes = sets.sum(axis=1)
    coverage = {}
    for index, label in enumerate(set_thresholds):
        own = sample.labels == index
        silent = f"no set: under {MIN_GROUPS} validation groups of a class" if abstaining(set_thresholds) else None
        found = interval(sample.mean(is_covered, own), silent or shortage(int(own.sum())), int(own.sum()))
        coverage[label] = {"groups": int(own.sum()), **found}
    reason = shortage(len(sample.labels))
    return {
        "coverage": coverage,
        "mean_size": interval(sample.mean(sizes), reason),
        "empty": interval(sample.mean(sizes == 0), reason, len(sample.labels)),
    }
