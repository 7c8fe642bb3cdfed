"""Fits the spaces, machines and thresholds of the applicability judgement."""

import numpy as np
from sklearn.svm import SVC

from sslmri.models.gate_rules import PcaProjection, RbfSvm

_SOFTNESS = 3.0  # inverse strength of the penalty
_EVENING = 0.1  # share of the mean spread added to the spread of each root feature before it divides
_NOTHING = 1e-4  # of the strongest axis: weaker ones hold rounding
_REFUSED, _LET_IN = 0.02, 0.05  # shares of validation slices, own and of others, between which a threshold lies halfway


def root_space(features: np.ndarray, width: int) -> PcaProjection:
    """Returns the principal axes of the roots of features (N, F), each root feature scaled by its spread.

    Spreads along the axes become their square roots, halfway between as they are and all alike.

    Args:
        features: of the slices, and pictures if any, that are to be told apart.
        width: number of axes, fewer where the features hold fewer.
    """
    roots = np.sqrt(np.maximum(features, 0))
    center, spread = roots.mean(axis=0), roots.std(axis=0)
    scale = spread + _EVENING * spread.mean()
    _, strengths, turn = np.linalg.svd((roots - center) / scale, full_matrices=False)
    strengths = strengths[:width][strengths[:width] > _NOTHING * strengths[0]] / np.sqrt(len(roots))
    divisor, turn = np.sqrt(strengths * strengths[0]), turn[: len(strengths)]
    axes = (turn / divisor[:, None]).T / scale[:, None]
    return PcaProjection(center.astype(np.float32), axes.astype(np.float32))


def fit_rule(points: np.ndarray, is_in: np.ndarray) -> RbfSvm:
    """Returns the machine that tells points (N, q) that are in from those that are not; its threshold is 0."""
    gamma = 0.5 / float(points.var() * points.shape[1])
    machine = SVC(C=_SOFTNESS, gamma=gamma, class_weight="balanced").fit(points, is_in)
    return RbfSvm(
        vectors=machine.support_vectors_.astype(np.float32),
        weights=machine.dual_coef_[0].astype(np.float32),
        bias=float(machine.intercept_[0]),
        gamma=gamma,
        threshold=0.0,
    )


def halfway(own: np.ndarray, others: np.ndarray) -> float:
    """Returns the score halfway between refusing 2 % of the own and letting in 5 % of the others.

    Without scores of one side it goes by the other; without any it is 0, where the machine itself decides.
    """
    bounds = [float(np.quantile(own, _REFUSED))] if len(own) else []
    bounds += [float(np.quantile(others, 1 - _LET_IN))] if len(others) else []
    return float(np.mean(bounds)) if bounds else 0.0
