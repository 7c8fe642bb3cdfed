"""How far two readings of the same scans agree, with intervals."""

import numpy as np

from sslmri.cohorts.registry import MIN_GROUPS
from sslmri.evidence.intervals import estimate
from sslmri.evidence.sample import draw_weights, ratio
from sslmri.models.metrics import Estimate
from sslmri.text import count


def agreement_of(first: np.ndarray, second: np.ndarray) -> tuple[Estimate, Estimate]:
    """Returns the fraction of scans read alike, and Cohen's kappa (Cohen 1960, unweighted), by a bootstrap over scans.

    Both readings are (N,) labels of the same scans. Kappa does not exist where both use the same class throughout: such
    resamples are left out of its interval. Where all scans are read alike every resample is, so that the bootstrap
    gives kappa no interval.
    """
    n = len(first)
    labels, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    cell = codes[:n] * len(labels) + codes[n:]
    tables = draw_weights(np.zeros(n)) @ np.eye(len(labels) ** 2)[cell]
    tables = tables.reshape(-1, len(labels), len(labels))
    observed = tables.trace(axis1=1, axis2=2) / n
    expected = (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1) / n**2
    kappa = ratio(observed - expected, 1 - expected, np.nan)
    is_defined = ~np.isnan(kappa)
    is_defined[0] = True
    few = f"not estimable: {count(n, 'scan')}, {MIN_GROUPS} needed" if n < MIN_GROUPS else None
    same = "not defined: one class only" if len(labels) == 1 else "no interval: all alike" if observed[0] == 1 else None
    return estimate(observed, few, n), estimate(kappa[is_defined], few or same)
