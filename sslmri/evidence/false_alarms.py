"""How often healthy scans are flagged."""

from collections.abc import Mapping

import numpy as np

from sslmri.errors import ModelError
from sslmri.evidence.intervals import estimate, shortage
from sslmri.evidence.sample import draw_weights, ratio
from sslmri.models.metrics import Estimate, Rate


def family_wise_false_alarms(flagged: Mapping[str, np.ndarray], cohorts: np.ndarray, groups: np.ndarray) -> Rate:
    """Returns which fraction of healthy scans at least one classifier flags.

    The bootstrap draws whole groups with replacement within their cohort, so that each resample has its mix of
    cohorts. Four independent classifiers of 95 % specificity would flag 1 - 0.95 ** 4 = 18.5 %.

    Args:
        flagged: by classifier, (N,) bool, whether it flags each healthy test scan; False where it gives no result.
        cohorts: (N,) cohort of each scan.
        groups: (N,) names; scans of one group depend on each other.

    Raises:
        ModelError: no classifier, or not one flag, cohort and group for each scan.
    """
    lengths = {len(groups), len(cohorts), *map(len, flagged.values())}
    if not flagged or len(lengths) > 1:
        raise ModelError(
            f"Expected the flags of one classifier or more for {len(groups)} scans, got {len(flagged)} classifiers and "
            f"{len(cohorts)} cohorts: screen the same scans with every classifier."
        )
    alarms = np.any([np.asarray(flags, dtype=bool) for flags in flagged.values()], axis=0)
    return rate_of(alarms, np.asarray(cohorts), groups)


def false_alarms(flagged: np.ndarray, cohorts: np.ndarray, groups: np.ndarray) -> dict[str, Rate]:
    """Returns which fraction of healthy slices one classifier flags, by cohort.

    Args:
        flagged: (N,) bool.
        cohorts: (N,) names.
        groups: (N,) names.
    """
    rows = {str(name): cohorts == name for name in np.unique(cohorts)}
    return {name: rate_of(flagged[part], cohorts[part], groups[part]) for name, part in rows.items()}


def rate_of(chosen: np.ndarray, cohorts: np.ndarray, groups: np.ndarray) -> Rate:
    """Returns the fraction of slices that are chosen, bool (N,); see ``family_wise_false_alarms`` for the rest."""
    names = np.array([f"{cohort}\0{group}" for cohort, group in zip(cohorts, groups, strict=True)], dtype=str)
    _, first, member = np.unique(names, return_index=True, return_inverse=True)
    weights = draw_weights(cohorts[first])
    sizes, raised = np.bincount(member), np.bincount(member, weights=chosen)
    rates = weights @ raised / (weights @ sizes) if len(names) else np.full(len(weights), np.nan)
    return Rate(estimate(rates, shortage(len(first)), len(first)), len(names), len(first))


def mean_over_slices(values: np.ndarray, groups: np.ndarray) -> Estimate:
    """Returns the mean over slices with its interval from a bootstrap over groups, of proportions and other values.

    Args:
        values: (N,).
        groups: (N,) names.
    """
    names, member = np.unique(groups, return_inverse=True)
    weights = draw_weights(np.zeros(len(names)))
    sums, sizes = np.bincount(member, weights=values), np.bincount(member)
    n_groups = len(names) if np.isin(values, (0, 1)).all() else 0
    return estimate(ratio(weights @ sums, weights @ sizes, np.nan), shortage(len(names)), n_groups)
