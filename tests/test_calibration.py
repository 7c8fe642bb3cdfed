"""Temperatures are the likeliest and thresholds keep what their rule promises."""

import numpy as np
import pytest
from scipy.special import log_softmax

from sslmri.evidence.calibration import fit_temperature, fit_thresholds


def overconfident(temperature: float, n: int = 6000, n_classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits that are ``temperature`` times too large for the labels drawn from them."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(n, n_classes)) * 2
    shares = np.exp(log_softmax(logits, axis=1))
    truth = np.array([generator.choice(n_classes, p=share) for share in shares])
    return logits * temperature, truth


def balanced_loss(logits: np.ndarray, truth: np.ndarray, temperature: float) -> float:
    """Returns the mean over classes of the mean negative log-likelihood, by a double loop."""
    losses = []
    for label in set(truth.tolist()):
        own = [log_softmax(row / temperature)[label] for row in logits[truth == label]]
        losses.append(-sum(own) / len(own))
    return float(np.mean(losses))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_temperature_of_overconfident_logits_is_found(temperature: float) -> None:
    assert fit_temperature(*overconfident(temperature)) == pytest.approx(temperature, rel=0.1)


def test_temperature_is_better_than_any_other_on_a_grid() -> None:
    logits, truth = overconfident(3.0, n=100)
    fitted = balanced_loss(logits, truth, fit_temperature(logits, truth))
    assert all(fitted <= balanced_loss(logits, truth, t) + 1e-6 for t in np.geomspace(0.25, 20, 30))


def test_temperature_does_not_depend_on_how_often_a_class_was_drawn() -> None:
    logits, truth = overconfident(2.0, n=300)
    often = np.concatenate([np.arange(len(truth)), *[np.flatnonzero(truth == 0)] * 5])
    assert fit_temperature(logits[often], truth[often]) == pytest.approx(fit_temperature(logits, truth), rel=1e-3)


def test_temperature_stays_in_bounds_for_perfect_and_for_hopeless_logits() -> None:
    truth = np.array([0, 1, 0, 1])
    right = np.eye(2)[truth] * 10
    assert 0.25 <= fit_temperature(right, truth) < 0.3
    assert 19.5 < fit_temperature(-right * 100, truth) <= 20


@pytest.mark.parametrize("truth", [[], [1, 1, 1]])
def test_temperature_is_one_without_two_classes(truth: list[int]) -> None:
    assert fit_temperature(np.ones((len(truth), 3), np.float32), np.array(truth, dtype=int)) == 1.0


def searched_thresholds(probability: np.ndarray, is_disease: np.ndarray) -> tuple[float, float]:
    """Returns (low, high) by trying every threshold that lies on a probability or just above one."""
    candidates = sorted([*probability, *np.nextafter(probability, np.inf)])
    sensitive, specific = [], []
    for threshold in candidates:
        found = sum(p >= threshold for p, d in zip(probability, is_disease, strict=True) if d)
        spared = sum(p < threshold for p, d in zip(probability, is_disease, strict=True) if not d)
        if found / is_disease.sum() >= 0.9:
            sensitive.append(threshold)
        if spared / (~is_disease).sum() >= 0.9:
            specific.append(threshold)
    low, high = max(sensitive), min(specific)
    return (low, high) if low <= high else ((low + high) / 2,) * 2


@pytest.mark.parametrize("seed", range(20))
def test_thresholds_are_those_of_an_exhaustive_search(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n = int(generator.integers(2, 60))
    is_disease = np.arange(n) % 3 == 0
    is_disease[:2] = True, False
    probability = np.clip(generator.normal(0.4 + 0.1 * (seed % 5) * is_disease, 0.2), 0, 1).round(2)
    assert fit_thresholds(probability, is_disease) == pytest.approx(searched_thresholds(probability, is_disease))


def test_thresholds_of_separate_classes_are_one_midpoint() -> None:
    low, high = fit_thresholds(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]))
    assert low == high == pytest.approx(0.5)


def test_thresholds_of_float32_probabilities_hold_in_float32() -> None:
    probability = np.random.default_rng(1).random(500).astype(np.float32)
    is_disease = np.random.default_rng(2).random(500) < 0.5
    low, high = fit_thresholds(probability, is_disease)
    assert np.mean(probability[is_disease] >= low) >= 0.9
    assert np.mean(probability[~is_disease] < high) >= 0.9


def test_exactly_ninety_percent_is_enough() -> None:
    low, _ = fit_thresholds(np.r_[np.arange(110) / 110, 1.0], np.r_[np.ones(110, bool), False])
    assert low == pytest.approx(11 / 110)  # 99 of 110 lie at or above it


@pytest.mark.parametrize("is_disease", [[True, True], [False, False], []])
def test_thresholds_without_one_side_are_a_half(is_disease: list[bool]) -> None:
    assert fit_thresholds(np.full(len(is_disease), 0.3), np.array(is_disease, dtype=bool)) == (0.5, 0.5)
