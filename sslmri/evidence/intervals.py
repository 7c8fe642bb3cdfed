"""A metric with its 95 % interval, or the reason why it cannot be estimated."""

import numpy as np
from scipy.stats import binomtest

from sslmri.cohorts.registry import MIN_GROUPS
from sslmri.evidence.sample import draw_weights, ratio
from sslmri.models.metrics import Estimate, Rate

_PERCENTILES = (2.5, 97.5)


def estimate(values: np.ndarray, reason: str | None = None, n_groups: int = 0) -> Estimate:
    """Returns a metric with the 2.5th and 97.5th percentiles of its resamples.

    Where every group is right, or every one wrong, all resamples are alike, although the next group may differ. The
    interval of a proportion then is that of Clopper & Pearson (1934) for as many groups. Values are (1 + B,), the
    metric and then its value in each resample, NaN where it does not exist. A reason says why it cannot be estimated;
    ``n_groups`` is 0 but for a proportion.
    """
    raw = None if np.isnan(values[0]) else float(values[0])
    if reason is not None or raw is None:
        return Estimate(None, None, None, raw, reason)
    low, high = np.percentile(values[1:], _PERCENTILES)
    if n_groups and low == high and raw in (0.0, 1.0):
        low, high = binomtest(round(raw * n_groups), n_groups).proportion_ci(method="exact")
    return Estimate(raw, float(low), float(high), raw, None)


def rate_of(values: np.ndarray, groups: np.ndarray, cohorts: np.ndarray | None = None) -> Rate:
    """Returns the mean over slices of a proportion or of another value.

    The bootstrap draws whole groups with replacement, within their cohort where it is given, so that each resample has
    the mix of cohorts. Any of four independent classifiers of 95 % specificity would flag 1 - 0.95 ** 4 = 18.5 %.
    Values, names of groups, unique across cohorts, and of cohorts are (N,); slices of one group depend on each other.
    """
    names, first, member = np.unique(groups, return_index=True, return_inverse=True)
    weights = draw_weights(np.zeros(len(names)) if cohorts is None else cohorts[first])
    sums, sizes = np.bincount(member, weights=values), np.bincount(member)
    n_groups = len(names) if np.isin(values, (0, 1)).all() else 0
    rates = ratio(weights @ sums, weights @ sizes, np.nan)
    return Rate(estimate(rates, shortage(len(names)), n_groups), len(groups), len(names))


def shortage(n_groups: int, of: str = "") -> str | None:
    """Returns why a metric cannot be estimated from so many test groups, or None if it can."""
    if n_groups >= MIN_GROUPS:
        return None
    return f"not estimable: {n_groups} test group{'' if n_groups == 1 else 's'}{of}, {MIN_GROUPS} needed"


def disease_shortage(labels: np.ndarray) -> str | None:
    """Returns why disease cannot be compared with the reference class on groups of these classes (G,), or None."""
    n_reference = int(np.count_nonzero(labels == 0))
    with_disease = shortage(len(labels) - n_reference, " with disease")
    return shortage(n_reference, " of the reference class") or with_disease
