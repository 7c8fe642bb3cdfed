"""Chooses on validation groups how logits become probabilities and probabilities become a status."""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

THRESHOLD_RULE = (
    "Chosen on slices of the validation groups: the lower threshold is the largest that still finds 90 % of the slices "
    "with disease, the upper one the smallest that leaves 90 % of the reference slices alone, and where the lower "
    "would lie above the upper both become their midpoint."
)
_TEMPERATURES = (0.25, 20.0)  # beyond these the fit only follows a handful of slices


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Returns the temperature by which logits are divided: the one with the least negative log-likelihood.

    Guo et al. 2017, section 4.2, arXiv:1706.04599; here every class present weighs the same, as in fine-tuning. With
    fewer than two classes present there is nothing to calibrate and 1.0 comes back.

    Args:
        logits: (N, C), of validation slices.
        truth: (N,) class indices.
    """
    counts = np.bincount(truth, minlength=logits.shape[1])
    if np.count_nonzero(counts) < 2:
        return 1.0
    weights = 1.0 / counts[truth]
    rows = np.arange(len(truth))
    values = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        likelihood = log_softmax(values / math.exp(log_temperature), axis=1)[rows, truth]
        return -float(weights @ likelihood)

    bounds = (math.log(_TEMPERATURES[0]), math.log(_TEMPERATURES[1]))
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)


def fit_thresholds(
    probability: np.ndarray, is_disease: np.ndarray, sensitivity: float = 0.9, specificity: float = 0.9
) -> tuple[float, float]:
    """Returns (low, high): not flagged below low, flagged from high on, indeterminate in between.

    Low is the largest threshold that reaches the sensitivity, high the smallest that reaches the specificity; a slice
    counts as positive at or above a threshold. Where low > high both become their midpoint; (0.5, 0.5) where there
    are no slices with disease or none without.

    Args:
        probability: (N,) of any disease class, of validation slices.
        is_disease: (N,) bool.
        sensitivity: share of the slices with disease that must lie at or above low.
        specificity: share of the other slices that must lie below high.
    """
    diseased, healthy = np.sort(probability[is_disease]), np.sort(probability[~is_disease])
    if len(diseased) == 0 or len(healthy) == 0:
        return 0.5, 0.5
    low = float(diseased[len(diseased) - _count(sensitivity, len(diseased))])
    # in the precision of the input: a float64 step above a float32 value would round back onto it
    high = float(np.nextafter(healthy[_count(specificity, len(healthy)) - 1], np.inf))
    if low > high:
        low = high = (low + high) / 2
    return low, high


def _count(share: float, total: int) -> int:
    """Returns how many of ``total`` make up a share: 99 of 110 for 0.9, although 0.9 * 110 > 99 in floating point."""
    return max(1, math.ceil(share * total - 1e-9))
