"""How often healthy scans raise an alarm when several heads look at each of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sslmri.errors import ModelError
from sslmri.evidence.intervals import interval, shortage
from sslmri.evidence.sample import N_RESAMPLES, draw_weights


def family_wise_false_alarms(
    flagged: Mapping[str, np.ndarray],
    cohorts: np.ndarray,
    groups: np.ndarray,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns how many healthy scans at least one head flags, for JSON.

    Keys ``rate`` with its 95 % interval, ``n_scans`` and ``n_groups``. The bootstrap draws whole groups
    with replacement within their cohort, so that each resample has its mix of cohorts. Four independent heads of 95 %
    specificity would flag 1 - 0.95 ** 4 = 18.5 %.

    Args:
        flagged: by head, (N,) bool, whether it flags each healthy test scan; False where the head does not speak.
        cohorts: (N,) cohort of each scan.
        groups: (N,) names; scans of one group depend on each other.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ModelError: no head, or not one flag, cohort and group for each scan.
    """
    lengths = {len(groups), len(cohorts), *map(len, flagged.values())}
    if not flagged or len(lengths) > 1:
        raise ModelError(
            f"Expected the flags of one head or more for {len(groups)} scans, got {len(flagged)} heads and "
            f"{len(cohorts)} cohorts: screen the same scans with every head."
        )
    alarms = np.any([np.asarray(own, dtype=bool) for own in flagged.values()], axis=0)
    return share_of_scans(alarms, np.asarray(cohorts), groups, n_resamples, seed)


def share_of_scans(
    chosen: np.ndarray, cohorts: np.ndarray, groups: np.ndarray, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Returns the share of scans that are chosen, bool (N,), as ``rate`` with its interval; see above for the rest."""
    names = np.array([f"{cohort}\0{group}" for cohort, group in zip(cohorts, groups, strict=True)], dtype=str)
    _, first, member = np.unique(names, return_index=True, return_inverse=True)
    weights = draw_weights(cohorts[first], n_resamples, seed)
    sizes, raised = np.bincount(member), np.bincount(member, weights=chosen)
    rates = weights @ raised / (weights @ sizes) if len(names) else np.full(len(weights), np.nan)
    rate = interval(rates, shortage(len(first)), len(first))
    return {"rate": rate, "n_scans": len(names), "n_groups": len(first)}
