"""A figure with its 95 % interval, or the reason why it has none."""

from typing import TypedDict

import numpy as np

from sslmri.cohorts import registry

MIN_GROUPS = registry.MIN_GROUPS
_PERCENTILES = (2.5, 97.5)


class Interval(TypedDict):
    """A figure with its 95 % interval.

    ``raw`` is what the test slices give, None where even that does not exist. ``value``, ``low`` and ``high`` are None
    where the figure is not estimable, and ``reason`` says why.
    """

    value: float | None
    low: float | None
    high: float | None
    raw: float | None
    reason: str | None


def interval(values: np.ndarray, reason: str | None = None, n_groups: int = 0) -> Interval:
    """Returns a figure with the 2.5th and 97.5th percentiles of its resamples.

    Where every group is right, or every one wrong, all resamples are alike, although the next group may be another.
    The interval of a share then reaches as far as that of Clopper & Pearson (1934) for as many groups.

    Args:
        values: (1 + B,), the figure itself and then its value in each resample; NaN where it does not exist.
        reason: why the figure is not estimable, or None if it is.
        n_groups: behind a share; 0 for a figure that is none.
    """
    kept = None if np.isnan(values[0]) else float(values[0])
    if reason is not None or kept is None:
        return {"value": None, "low": None, "high": None, "raw": kept, "reason": reason}
    low, high = np.percentile(values[1:], _PERCENTILES)
    if n_groups and low == high and kept in (0.0, 1.0):
        reach = 1 - (_PERCENTILES[0] / 100) ** (1 / n_groups)
        low, high = (0.0, reach) if kept == 0.0 else (1 - reach, 1.0)
    return {"value": kept, "low": float(low), "high": float(high), "raw": kept, "reason": None}


def shortage(n_groups: int, of: str = "") -> str | None:
    """Returns why a figure is not estimable from so many test groups, or None if it is."""
    if n_groups >= MIN_GROUPS:
        return None
    return f"not estimable: {n_groups} test group{'' if n_groups == 1 else 's'}{of}, {MIN_GROUPS} needed"


def disease_shortage(labels: np.ndarray) -> str | None:
    """Returns why disease and the reference class cannot be told apart on groups of these classes (G,), or None."""
    n_reference = int(np.count_nonzero(labels == 0))
    with_disease = shortage(len(labels) - n_reference, " with disease")
    return shortage(n_reference, " of the reference class") or with_disease
