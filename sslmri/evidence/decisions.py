"""What a head's thresholds and prediction sets are worth on test groups."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sslmri.evidence.calibration import abstaining, prediction_sets
from sslmri.evidence.intervals import MIN_GROUPS, Interval, interval, shortage
from sslmri.evidence.sample import Sample


def threshold_result(sample: Sample, low: float, high: float) -> dict[str, Any]:
    """Returns sensitivity and specificity of any disease at both thresholds, ``slices`` and ``subject``, for JSON.

    A case is positive at or above a threshold. At ``low`` the sensitivity counts those not left as *not flagged*; at
    ``high`` the specificity counts those not *flagged*.
    """
    return {
        name: {
            "threshold": value,
            "slices": _at_threshold(sample, value),
            "subject": _at_threshold(sample.by_group(), value),
        }
        for name, value in (("low", low), ("high", high))
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


def _at_threshold(sample: Sample, threshold: float) -> dict[str, Interval]:
    is_positive = 1 - sample.probabilities[:, 0] >= threshold
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
    for index, (label, bar) in enumerate(set_thresholds.items()):
        own = sample.labels == index
        silent = f"abstains: always in the set, under {MIN_GROUPS} validation groups" if bar is None else None
        found = interval(sample.mean(is_covered, own), silent or shortage(int(own.sum())), int(own.sum()))
        coverage[label] = {"groups": int(own.sum()), **found}
    reason = shortage(len(sample.labels))
    return {
        "coverage": coverage,
        "mean_size": interval(sample.mean(sizes), reason),
        "empty": interval(sample.mean(sizes == 0), reason, len(sample.labels)),
    }
