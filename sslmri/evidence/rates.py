"""Means over slices, such as how often healthy scans are flagged, with intervals from a bootstrap over groups."""

import numpy as np

from sslmri.evidence.intervals import estimate, shortage
from sslmri.evidence.sample import draw_weights, ratio
from sslmri.models.metrics import Rate


def rate_of(values: np.ndarray, groups: np.ndarray, cohorts: np.ndarray | None = None) -> Rate:
    """Returns the mean over slices of a proportion or of another value.

    The bootstrap draws whole groups with replacement, within their cohort where it is given, so that each resample has
    the mix of cohorts. Any of four independent classifiers of 95 % specificity would flag 1 - 0.95 ** 4 = 18.5 %.

    Args:
        values: (N,), bool or of any number.
        groups: (N,) names, unique across cohorts; slices of one group depend on each other.
        cohorts: (N,) names.
    """
    names, first, member = np.unique(groups, return_index=True, return_inverse=True)
    weights = draw_weights(np.zeros(len(names)) if cohorts is None else cohorts[first])
    sums, sizes = np.bincount(member, weights=values), np.bincount(member)
    n_groups = len(names) if np.isin(values, (0, 1)).all() else 0
    rates = ratio(weights @ sums, weights @ sizes, np.nan)
    return Rate(estimate(rates, shortage(len(names)), n_groups), len(groups), len(names))
