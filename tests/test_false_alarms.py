"""Family-wise false alarms are counted over all classifiers."""

import numpy as np
import pytest

from sslmri.evidence.intervals import rate_of
from sslmri.models.metrics import Rate

Flags = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]


def flags(n_groups: int = 40, per_group: int = 3, n_heads: int = 4, rate: float = 0.05, seed: int = 0) -> Flags:
    """Returns flags of independent heads, cohorts and groups of scans."""
    generator = np.random.default_rng(seed)
    n = n_groups * per_group
    groups = np.repeat([f"g{number}" for number in range(n_groups)], per_group)
    cohorts = np.where(np.arange(n) < n // 2, "first", "second")
    return {f"head{h}": generator.uniform(size=n) < rate for h in range(n_heads)}, cohorts, groups


def family_wise(found: dict[str, np.ndarray], cohorts: np.ndarray, groups: np.ndarray) -> Rate:
    """Returns the fraction of scans that any head flags."""
    return rate_of(np.any(list(found.values()), axis=0), groups, cohorts)


def test_scan_is_an_alarm_if_any_head_flags_it() -> None:
    found, cohorts, groups = flags()
    result = family_wise(found, cohorts, groups)
    alarms = [any(found[key][scan] for key in found) for scan in range(len(groups))]
    assert result.rate.value == pytest.approx(sum(alarms) / len(alarms))
    assert (result.n_slices, result.n_groups) == (120, 40)


def test_four_independent_heads_of_95_percent_flag_almost_a_fifth() -> None:
    result = family_wise(*flags(n_groups=5000, per_group=1))
    assert result.rate.value == pytest.approx(1 - 0.95**4, abs=0.02)
    assert result.rate.low < 1 - 0.95**4 < result.rate.high


def test_interval_is_that_of_resampled_groups_within_their_cohort() -> None:
    found, cohorts, groups = flags(n_groups=20, rate=0.1)
    generator, rates = np.random.default_rng(3), []
    together = np.any(list(found.values()), axis=0)
    for _ in range(2000):
        rows = []
        for cohort in ("first", "second"):
            own = np.unique(groups[cohorts == cohort])
            rows += [np.flatnonzero(groups == name) for name in generator.choice(own, len(own))]
        rates.append(together[np.concatenate(rows)].mean())
    result = family_wise(found, cohorts, groups).rate
    assert (result.low, result.high) == pytest.approx(np.percentile(rates, (2.5, 97.5)), abs=0.03)


def test_more_scans_of_the_same_people_do_not_shrink_the_interval() -> None:
    found, cohorts, groups = flags()
    many = {key: own.repeat(5) for key, own in found.items()}
    once = family_wise(found, cohorts, groups).rate
    assert family_wise(many, cohorts.repeat(5), groups.repeat(5)).rate == pytest.approx(once)


@pytest.mark.parametrize("n_groups", [0, 4])
def test_under_five_groups_are_not_estimable(n_groups: int) -> None:
    result = family_wise(*flags(n_groups=n_groups))
    assert result.rate.value is None
    assert result.rate.reason == f"not estimable: {n_groups} test groups, 5 needed"
