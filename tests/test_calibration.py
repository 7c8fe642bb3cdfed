"""Temperatures are the likeliest and thresholds keep what their rule promises."""

import numpy as np
import pytest
from scipy.special import log_softmax

from sslmri.diseases import DISEASES
from sslmri.evidence.calibration import (
    fit_bias,
    fit_decisions,
    fit_set_thresholds,
    fit_temperature,
    fit_thresholds,
    fit_volume_decisions,
    group_logits,
)
from sslmri.evidence.verdict import abstaining, pool_slices, prediction_sets
from sslmri.models.cards import Decisions


def overconfident(temperature: float, n: int = 6000, n_classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits that are ``temperature`` times too large for the labels drawn from them."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(n, n_classes)) * 2
    shares = np.exp(log_softmax(logits, axis=1))
    truth = np.array([generator.choice(n_classes, p=share) for share in shares])
    return logits * temperature, truth


def mean_loss(logits: np.ndarray, truth: np.ndarray, temperature: float) -> float:
    """Returns the mean negative log-likelihood, by a loop."""
    return -float(np.mean([log_softmax(row / temperature)[label] for row, label in zip(logits, truth, strict=True)]))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_temperature_of_overconfident_logits_is_found(temperature: float) -> None:
    assert fit_temperature(*overconfident(temperature)) == pytest.approx(temperature, rel=0.1)


def test_temperature_is_better_than_any_other_on_a_grid() -> None:
    logits, truth = overconfident(3.0, n=100)
    fitted = mean_loss(logits, truth, fit_temperature(logits, truth))
    assert all(fitted <= mean_loss(logits, truth, t) + 1e-6 for t in np.geomspace(0.25, 20, 30))


def test_temperature_stays_in_bounds_for_perfect_and_for_hopeless_logits() -> None:
    truth = np.array([0, 1, 0, 1])
    right = np.eye(2)[truth] * 10
    assert 0.25 <= fit_temperature(right, truth) < 0.3
    assert 19.5 < fit_temperature(-right * 100, truth) <= 20


@pytest.mark.parametrize("truth", [[], [1, 1, 1]])
def test_temperature_is_one_without_two_classes(truth: list[int]) -> None:
    assert fit_temperature(np.ones((len(truth), 3), np.float32), np.array(truth, dtype=int)) == 1.0


def leaning(n_groups: int, bias: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns logits that lack a bias for each class, with the labels they lead to and groups of 20 slices of a class.

    Slices of a group share a part of their logits, as those of one person do.
    """
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(n_groups) % len(bias), 20)
    groups = np.repeat([f"g{index:03d}" for index in range(n_groups)], 20)
    person = np.repeat(generator.normal(size=(n_groups, len(bias))), 20, axis=0)
    logits = np.eye(len(bias))[truth] * 2 + 0.3 * person + 0.5 * generator.normal(size=(len(truth), len(bias)))
    return logits - bias, truth, groups


def test_biases_give_back_the_class_mix_that_logits_lack() -> None:
    bias = np.array([1.5, -0.5, -1.0])
    logits, truth, groups = leaning(60, bias)
    found = fit_bias(logits, truth, groups)
    assert found - found.mean() == pytest.approx(bias, abs=0.4)
    fitted, plain = logits + found, logits
    assert (fitted.argmax(axis=1) == truth).mean() > (plain.argmax(axis=1) == truth).mean() + 0.05


def test_biases_that_do_not_hold_on_groups_left_out_are_not_used() -> None:
    generator = np.random.default_rng(1)
    truth = np.repeat(np.arange(12) % 3, 30)
    groups = np.repeat([f"g{index:02d}" for index in range(12)], 30)
    person = np.repeat(generator.normal(size=(12, 3)) * 3, 30, axis=0)  # all there is to learn is who is who
    assert not fit_bias(person, truth, groups).any()


@pytest.mark.parametrize("n_groups", [0, 1, 4])
def test_too_few_groups_of_a_class_give_no_bias(n_groups: int) -> None:
    logits, truth, groups = leaning(n_groups, np.array([3.0, -3.0]))
    assert not fit_bias(logits, truth, groups).any()


def test_a_class_without_validation_slices_keeps_its_logit() -> None:
    logits, truth, groups = leaning(60, np.array([1.5, -1.5]))
    found = fit_bias(np.column_stack([logits, np.full(len(logits), -6e4)]), truth, groups)
    assert found[2] == 0
    assert found[0] > 0 > found[1]


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


def people(n_groups: int, generator: np.random.Generator, largest: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Returns the probabilities that slices of people give their class, alike within a person, and the people."""
    sizes = generator.integers(1, largest + 1, size=n_groups)
    own = generator.normal(1, 1.5, size=n_groups).repeat(sizes) + generator.normal(0, 0.5, size=sizes.sum())
    return 1 / (1 + np.exp(-own)), np.arange(n_groups).repeat(sizes).astype(str)


def threshold_of(probability: np.ndarray, groups: np.ndarray) -> float | None:
    """Returns the set threshold of the only class present."""
    probabilities = np.stack([1 - probability, probability], axis=1)
    found = fit_set_thresholds(probabilities, np.ones(len(groups), dtype=int), groups, ("a", "b"))
    assert found["a"] is None
    return found["b"]


def test_set_threshold_is_the_highest_that_leaves_enough_weight() -> None:
    """The reference tries every probability: the mean over people of their share at or above it, one more person."""
    probability, groups = people(25, np.random.default_rng(1))
    names = sorted(set(groups.tolist()))
    kept = [
        bar
        for bar in probability
        if sum(np.mean(probability[groups == name] >= bar) for name in names) / (len(names) + 1) >= 0.9
    ]
    assert threshold_of(probability, groups) == max(kept)


@pytest.mark.parametrize(("n_groups", "promise"), [(9, 0.9), (30, 0.9), (5, 5 / 6), (8, 8 / 9)])
def test_sets_hold_the_class_of_new_people_as_often_as_promised(n_groups: int, promise: float) -> None:
    generator = np.random.default_rng(0)
    new, owner = people(2000, generator)
    weights = 1 / np.bincount(owner.astype(int))[owner.astype(int)]
    covered = []
    for _ in range(400):
        bar = threshold_of(*people(n_groups, generator))
        assert bar is not None
        covered.append(np.average(new >= bar, weights=weights))
    assert promise - 0.01 <= np.mean(covered) <= promise + 0.1


def test_slices_of_one_person_are_not_taken_for_many() -> None:
    probability, groups = people(12, np.random.default_rng(2), largest=1)
    once = threshold_of(probability, groups)
    assert threshold_of(probability.repeat(50), groups.repeat(50)) == once


def test_a_class_with_under_five_groups_has_no_threshold_and_is_in_every_set() -> None:
    generator = np.random.default_rng(3)
    probability, groups = people(4, generator)
    assert threshold_of(probability, groups) is None
    probability, groups = people(5, generator)
    assert threshold_of(probability, groups) == probability.min()
    bars = {"a": 0.4, "b": None, "c": 0.5}
    assert abstaining(bars) == ("b",)
    sets = prediction_sets(np.array([[0.9, 0.0, 0.1], [0.3, 0.2, 0.5], [0.3, 0.3, 0.4]]), bars)
    assert sets.tolist() == [[True, True, False], [False, True, True], [False, True, False]]


def test_set_may_be_empty() -> None:
    assert not prediction_sets(np.array([[0.5, 0.5]]), {"a": 0.9, "b": 0.8}).any()


def test_without_validation_slices_no_class_is_ever_excluded() -> None:
    found = fit_set_thresholds(np.zeros((0, 2)), np.array([], dtype=int), np.array([], dtype=str), ("a", "b"))
    assert found == {"a": None, "b": None}


def people_with_logits(n_people: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns overconfident logits (N, 2) of 20 slices of each person, with the classes and names (N,)."""
    generator = np.random.default_rng(seed)
    truth = np.arange(n_people) % 2
    own = truth * 2.0 - 1 + generator.normal(0, 1.5, n_people)
    scores = own.repeat(20) + generator.normal(0, 3, 20 * n_people)
    names = np.array([f"p{number:03}" for number in range(n_people)])
    return np.stack([-scores, scores], axis=1), truth.repeat(20), names.repeat(20)


def test_decisions_for_volumes_are_calibrated_on_people() -> None:
    logits, truth, groups = people_with_logits(80, 0)
    cases = group_logits(logits, truth, groups, "mean")
    assert cases.names.tolist() == sorted(set(groups))
    expected = [logits[groups == name].mean(axis=0) for name in cases.names]
    np.testing.assert_allclose(cases.logits, expected)
    people_fit, slice_fit = (
        fit_volume_decisions(cases, DISEASES["ms"]),
        fit_decisions(logits, truth, groups, ("a", "b")),
    )
    assert people_fit is not None
    new = group_logits(*people_with_logits(400, 1), "mean")

    def loss(decisions: Decisions) -> float:
        return -float(np.log(decisions.probabilities(new.logits)[np.arange(400), new.truth]).mean())

    assert loss(people_fit) < loss(slice_fit)
    for limit, rows in ((people_fit.threshold_high, cases.truth == 0), (people_fit.threshold_low, cases.truth == 1)):
        any_disease = 1 - people_fit.probabilities(cases.logits)[rows, 0]
        assert max(np.mean(any_disease < limit), np.mean(any_disease >= limit)) >= 0.85


def test_few_people_give_no_decisions_of_their_own() -> None:
    for n_people, is_fitted in ((18, False), (20, True)):
        cases = group_logits(*people_with_logits(n_people, 2), "mean")
        assert (fit_volume_decisions(cases, DISEASES["ms"]) is not None) == is_fitted
        assert fit_volume_decisions(cases, DISEASES["tumours"]) is None


def test_a_lesion_in_few_slices_is_not_averaged_away() -> None:
    logits = np.array([[0.0, -3.0]] * 19 + [[0.0, 6.0]])
    pooled, mean = pool_slices(logits, "log-mean-exp"), pool_slices(logits, "mean")
    np.testing.assert_allclose(np.exp(pooled), np.exp(logits).mean(axis=0))
    assert pooled[1] > pooled[0]
    assert mean[1] < mean[0]
    np.testing.assert_allclose(pool_slices(logits[-1:], "log-mean-exp"), logits[-1])
