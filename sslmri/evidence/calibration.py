"""Chooses on validation groups how logits become probabilities, and probabilities a verdict and a prediction set."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from sslmri.cohorts.registry import MIN_GROUPS
from sslmri.diseases import Disease
from sslmri.evidence.verdict import pool_slices
from sslmri.models.cards import MASKED, Decisions, Pooling

SET_COVERAGE = 0.9
_THRESHOLD_FRACTION = 0.9  # sensitivity at the lower threshold, specificity at the upper one
_TEMPERATURES = (0.25, 20.0)  # beyond these the fit only follows a handful of slices
_MAX_BIAS, _BIAS_PENALTY = 3.0, 0.01
MIN_PEOPLE = 10  # with the disease, and without
_FOLDS, _MIN_GROUPS_OF_BIAS = 4, 3  # with two groups of a class, one left out, the other is the class


class GroupedLogits(NamedTuple):
    """The slices of each group as one case: names (G,) in order, pooled logits (G, C) and class indices (G,)."""

    names: np.ndarray
    logits: np.ndarray
    truth: np.ndarray


def group_logits(logits: np.ndarray, truth: np.ndarray, groups: np.ndarray, pooling: Pooling) -> GroupedLogits:
    """Returns the cases of the N slices' groups: logits (N, C), truth and groups (N,)."""
    names, first, member = np.unique(groups, return_index=True, return_inverse=True)
    pooled = [pool_slices(logits[member == number], pooling) for number in range(len(names))]
    return GroupedLogits(names, np.stack(pooled), truth[first])


def fit_decisions(logits: np.ndarray, truth: np.ndarray, groups: np.ndarray, classes: Sequence[str]) -> Decisions:
    """Returns the decisions of one head, fitted on slices of groups that it was not trained on.

    Logits are (N, C) float64, class indices and names of groups (N,).
    """
    kept = logits[np.arange(len(truth)), truth] > MASKED / 2  # a masked class would ask for no certainty at all
    bias = fit_bias(logits[kept], truth[kept], groups[kept])
    temperature = fit_temperature((logits + bias)[kept], truth[kept])
    probabilities = np.asarray(softmax((logits + bias) / temperature, axis=1))
    low, high = (min(limit, 1.0) for limit in fit_thresholds(1 - probabilities[:, 0], truth > 0))
    set_thresholds = fit_set_thresholds(probabilities, truth, groups, classes)
    return Decisions(tuple(bias.tolist()), temperature, low, high, set_thresholds)


def fit_volume_decisions(cases: GroupedLogits, disease: Disease) -> Decisions | None:
    """Returns the decisions of one head for a volume, None where those for a slice hold.

    They do with too few people to fit others on, and for a lesion, which some slices of a person show and others not.
    """
    n_disease = int((cases.truth > 0).sum())
    if disease.is_focal or min(n_disease, len(cases.truth) - n_disease) < MIN_PEOPLE:
        return None
    return fit_decisions(cases.logits, cases.truth, cases.names, disease.classes)


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Returns the temperature by which logits are divided: the one with the least negative log-likelihood.

    Guo et al. 2017, section 4.2, arXiv:1706.04599: every slice weighs the same. Weighing every class the same left a
    larger calibration error when groups of the validation split were held out in turn. With fewer than two classes
    present there is nothing to calibrate and 1.0 comes back. Logits (N, C) and class indices (N,) are of validation
    slices.
    """
    if len(np.unique(truth)) < 2:
        return 1.0
    values = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        return _negative_log_likelihood(values / math.exp(log_temperature), truth) / len(truth)

    bounds = (math.log(_TEMPERATURES[0]), math.log(_TEMPERATURES[1]))
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)


def fit_bias(logits: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Returns what to add to each class's logit for the class frequencies met, where that holds on groups left out.

    Classifiers are trained on as many slices of each class; where one class is three times as common as another they
    lean to the rarer. Bias-corrected temperature scaling (Alexandari, Kundaje & Shrikumar 2020, section 3.1,
    arXiv:1901.06852) corrects it with one number for each class, and with few groups it can follow them instead: zeros
    come back unless, with the groups of each class assigned to folds and each left out in turn, temperature and biases
    give a smaller negative log-likelihood than the temperature alone; and where a class has fewer than three groups.
    Logits (N, C), class indices and names of groups (N,) are of validation slices.
    """
    seen, values = np.unique(truth), logits.astype(np.float64)
    folds = assign_folds(truth, groups, _FOLDS, _MIN_GROUPS_OF_BIAS)
    if len(seen) < 2 or folds is None:
        return np.zeros(logits.shape[1])
    plain, shifted = 0.0, 0.0
    for fold in np.unique(folds):
        out = folds == fold
        plain += _negative_log_likelihood(values[out] / fit_temperature(values[~out], truth[~out]), truth[out])
        temperature, bias = _fit_both(values[~out], truth[~out], seen)
        shifted += _negative_log_likelihood(values[out] / temperature + bias, truth[out])
    if shifted >= plain:
        return np.zeros(logits.shape[1])
    temperature, bias = _fit_both(values, truth, seen)
    return temperature * bias


def assign_folds(truth: np.ndarray, groups: np.ndarray, n_folds: int, min_groups: int = 1) -> np.ndarray | None:
    """Returns a fold for each slice, whole groups assigned class by class; None where a class has too few groups."""
    fold_of: dict[str, int] = {}
    for index in np.unique(truth):
        names = np.unique(groups[truth == index])
        if len(names) < min_groups:
            return None
        fold_of |= {str(group): number % n_folds for number, group in enumerate(names)}
    return np.array([fold_of[str(group)] for group in groups], dtype=np.int64)


def _negative_log_likelihood(values: np.ndarray, truth: np.ndarray) -> float:
    """Returns the sum of negative log-likelihoods of scaled logits (N, C)."""
    return -float(log_softmax(values, axis=1)[np.arange(len(truth)), truth].sum())


def _fit_both(values: np.ndarray, truth: np.ndarray, seen: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns temperature and biases (C,) of the least penalised negative log-likelihood; 0 for classes not seen."""

    def unpack(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        bias = np.zeros(values.shape[1])
        bias[seen] = parameters[1:]
        return math.exp(parameters[0]), bias

    def loss(parameters: np.ndarray) -> float:
        temperature, bias = unpack(parameters)
        penalty = _BIAS_PENALTY * float(np.square(parameters[1:]).sum())
        return _negative_log_likelihood(values / temperature + bias, truth) / len(truth) + penalty

    bounds = [(math.log(_TEMPERATURES[0]), math.log(_TEMPERATURES[1]))] + [(-_MAX_BIAS, _MAX_BIAS)] * len(seen)
    return unpack(minimize(loss, np.zeros(1 + len(seen)), method="L-BFGS-B", bounds=bounds).x)


def fit_thresholds(probability: np.ndarray, is_disease: np.ndarray) -> tuple[float, float]:
    """Returns (low, high): not flagged below low, flagged from high on, inconclusive in between.

    Low is the largest threshold of 90 % sensitivity, high the smallest of 90 % specificity; a slice counts as positive
    at or above a threshold. Where low > high both become their midpoint; (0.5, 0.5) where there are no slices with
    disease or none without. Probabilities of any disease class and whether it is there are (N,), of validation slices.
    """
    diseased, healthy = np.sort(probability[is_disease]), np.sort(probability[~is_disease])
    if len(diseased) == 0 or len(healthy) == 0:
        return 0.5, 0.5
    low = float(diseased[len(diseased) - _count(_THRESHOLD_FRACTION, len(diseased))])
    # in the precision of the input: a float64 step above a float32 value would round back onto it
    high = float(np.nextafter(healthy[_count(_THRESHOLD_FRACTION, len(healthy)) - 1], np.inf))
    if low > high:
        low = high = (low + high) / 2
    return low, high


def fit_set_thresholds(
    probabilities: np.ndarray, truth: np.ndarray, groups: np.ndarray, classes: Sequence[str]
) -> dict[str, float | None]:
    """Returns for each class the probability from which on it is in a 90 % prediction set; None: from any.

    Split-conformal, class by class (Mondrian: Vovk 2012, arXiv:1209.2673; Angelopoulos & Bates 2021, section 4.1,
    arXiv:2107.07511), with 1 - p of the true class as nonconformity. Slices of one group are no independent draws, so
    a group is the unit: each of the K groups of a class weighs 1 / (K + 1), divided among its slices, a new group
    takes the rest as infinitely nonconforming, and the 90 % quantile of that mixture is the threshold. A slice of a
    new group then has its class in the set with probability 0.9 or more, however its slices depend on each other
    (Lee, Barber & Willett 2023, theorem 1, arXiv:2306.06342), as far as test groups come as the validation groups
    did, and the temperature and the stopping epoch, chosen on the same groups, are taken as given.

    Under 9 groups that quantile is infinite: K groups promise no more than K / (K + 1). With 5 to 8 the threshold is
    the lowest probability of the class in any of its slices, which keeps exactly that promise (83 to 89 %). Under 5
    it is in every set. How many slices there are does not matter: a group of one slice counts as much as any other.
    Probabilities (N, C), which are calibrated, class indices and names of groups (N,) are of validation slices.
    """
    return {
        label: _set_threshold(probabilities[truth == index, index], groups[truth == index])
        for index, label in enumerate(classes)
    }


def _set_threshold(probability: np.ndarray, groups: np.ndarray) -> float | None:
    """Returns the threshold of one class from the probabilities (N,) that its slices give it."""
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < MIN_GROUPS:
        return None
    order = np.argsort(-probability, kind="stable")
    covered = np.cumsum(1 / ((len(sizes) + 1) * sizes[member[order]]))
    enough = np.flatnonzero(covered >= SET_COVERAGE - 1e-9)
    return float(probability[order[enough[0] if len(enough) else -1]])


def _count(fraction: float, total: int) -> int:
    """Returns how many of ``total`` make up a fraction: 99 of 110 for 0.9, whatever the rounding of 0.9 * 110."""
    return max(1, math.ceil(fraction * total - 1e-9))
