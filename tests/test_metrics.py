"""Figures agree with scikit-learn, and their intervals with what they claim."""

import time
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from sslmri.errors import ManifestError, ModelError
from sslmri.evidence.metrics import MIN_GROUPS, Interval, compute_figures

Cases = tuple[np.ndarray, np.ndarray, np.ndarray]


def cases(groups_per_class: list[int], strength: float = 1.0, per_group: int = 6, seed: int = 0) -> Cases:
    """Returns truth, probabilities and shuffled groups of 1 to ``per_group`` slices that resemble each other."""
    generator = np.random.default_rng(seed)
    n_classes = len(groups_per_class)
    truth, logits, groups = [], [], []
    for label, n_groups in enumerate(groups_per_class):
        for group in range(n_groups):
            own = generator.normal(size=n_classes) + strength * np.eye(n_classes)[label]
            for _ in range(generator.integers(1, per_group + 1)):
                truth.append(label)
                logits.append(own + generator.normal(size=n_classes) * 0.7)
                groups.append(f"c/{label}-{group}")
    order = generator.permutation(len(truth))
    exponents = np.exp(np.array(logits))
    probabilities = (exponents / exponents.sum(axis=1, keepdims=True)).round(2)  # rounded: with ties
    return np.array(truth)[order], probabilities[order], np.array(groups)[order]


def by_subject(truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns label and mean probabilities of each group, by a loop."""
    names = sorted(set(groups.tolist()))
    means = np.array([probabilities[groups == name].mean(axis=0) for name in names])
    return np.array([truth[groups == name][0] for name in names]), means


def raw(interval: Interval) -> float:
    """Returns the raw figure, which must be there."""
    assert interval["raw"] is not None
    return interval["raw"]


def bounds(interval: Interval) -> tuple[float, float]:
    """Returns the ends of an interval, which must be there."""
    assert interval["low"] is not None
    assert interval["high"] is not None
    return interval["low"], interval["high"]


def nothing(n_groups: str) -> dict[str, Any]:
    """Returns the figure of a class that is not there."""
    reason = f"not estimable: {n_groups}, 5 needed"
    return {"value": None, "low": None, "high": None, "raw": None, "reason": reason}


@pytest.mark.parametrize("groups_per_class", [[6, 5], [9, 7, 6, 5], [8, 2, 1]])
def test_slice_figures_are_those_of_scikit_learn(groups_per_class: list[int]) -> None:
    truth, probabilities, groups = cases(groups_per_class)
    predicted = probabilities.argmax(axis=1)
    figures = compute_figures(truth, probabilities, groups, n_resamples=10)
    assert figures["confusion"] == metrics.confusion_matrix(truth, predicted).tolist()
    assert raw(figures["accuracy"]) == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert raw(figures["balanced_accuracy"]) == pytest.approx(metrics.balanced_accuracy_score(truth, predicted))
    assert raw(figures["auroc"]) == pytest.approx(metrics.roc_auc_score(truth > 0, 1 - probabilities[:, 0]))
    table = np.array(metrics.precision_recall_fscore_support(truth, predicted, zero_division=0)).T
    for label, (found, expected) in enumerate(zip(figures["per_class"], table, strict=True)):
        got = [raw(found["precision"]), raw(found["recall"]), raw(found["f1"]), found["slices"]]
        assert got == pytest.approx(expected)
        assert raw(found["auroc"]) == pytest.approx(metrics.roc_auc_score(truth == label, probabilities[:, label]))
        assert found["groups"] == groups_per_class[label]


def test_subject_figures_are_those_of_the_mean_probabilities() -> None:
    truth, probabilities, groups = cases([9, 7, 6])
    label, means = by_subject(truth, probabilities, groups)
    subject = compute_figures(truth, probabilities, groups, n_resamples=10)["subject"]
    assert subject["confusion"] == metrics.confusion_matrix(label, means.argmax(axis=1)).tolist()
    assert raw(subject["accuracy"]) == pytest.approx(metrics.accuracy_score(label, means.argmax(axis=1)))
    assert raw(subject["auroc"]) == pytest.approx(metrics.roc_auc_score(label > 0, 1 - means[:, 0]))


def test_intervals_are_those_of_resampled_slices() -> None:
    """The reference draws whole groups in a loop, gathers their slices and asks scikit-learn."""
    truth, probabilities, groups = cases([8, 6])
    generator = np.random.default_rng(1)
    names = [sorted(set(groups[truth == label].tolist())) for label in (0, 1)]
    found = []
    for _ in range(300):
        drawn = [name for own in names for name in generator.choice(own, len(own))]
        rows = np.concatenate([np.flatnonzero(groups == name) for name in drawn])
        t, p = truth[rows], probabilities[rows]
        guess = p.argmax(axis=1)
        found.append([metrics.f1_score(t, guess), metrics.roc_auc_score(t, p[:, 1]), metrics.accuracy_score(t, guess)])
    expected = np.percentile(found, (2.5, 97.5), axis=0).T
    figures = compute_figures(truth, probabilities, groups, n_resamples=2000)
    one = figures["per_class"][1]
    got = [bounds(one["f1"]), bounds(one["auroc"]), bounds(figures["accuracy"])]
    assert np.allclose(got, expected, atol=0.04)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    truth, probabilities, _ = cases([2000, 2000], seed=99)
    true = metrics.roc_auc_score(truth, probabilities[:, 1])
    inside = 0
    for seed in range(60):
        low, high = bounds(compute_figures(*cases([30, 30], seed=seed), n_resamples=200)["auroc"])
        inside += low <= true <= high
    assert 50 <= inside <= 60


def test_interval_shrinks_with_more_groups() -> None:
    widths = []
    for n_groups in (10, 40, 160):
        figures = compute_figures(*cases([n_groups, n_groups]), n_resamples=500)
        widths.append([high - low for low, high in map(bounds, (figures["accuracy"], figures["auroc"]))])
    assert np.all(np.diff(widths, axis=0) < 0)


def test_more_slices_of_the_same_people_do_not_shrink_the_interval() -> None:
    truth, probabilities, groups = cases([12, 12])
    once = compute_figures(truth, probabilities, groups)
    many = compute_figures(truth.repeat(10), probabilities.repeat(10, axis=0), groups.repeat(10))
    assert bounds(many["accuracy"]) == pytest.approx(bounds(once["accuracy"]))
    assert bounds(many["auroc"]) == pytest.approx(bounds(once["auroc"]))


def test_labels_dealt_at_random_give_an_auroc_about_one_half() -> None:
    _, probabilities, groups = cases([150, 150], strength=2.0)
    names = sorted(set(groups.tolist()))
    dealt = dict(zip(names, np.random.default_rng(0).permutation(np.arange(len(names)) % 2), strict=True))
    figures = compute_figures(np.array([dealt[name] for name in groups]), probabilities, groups)
    for interval in (figures["auroc"], figures["subject"]["auroc"]):
        low, high = bounds(interval)
        assert low < 0.5 < high
        assert raw(interval) == pytest.approx(0.5, abs=0.1)


def test_same_seed_gives_the_same_intervals_whatever_the_order_of_rows() -> None:
    truth, probabilities, groups = cases([7, 6, 5])
    order = np.random.default_rng(5).permutation(len(truth))
    first = compute_figures(truth, probabilities, groups, seed=3)
    second = compute_figures(truth[order], probabilities[order], groups[order], seed=3)
    assert bounds(first["accuracy"]) == bounds(second["accuracy"])
    assert bounds(first["auroc"]) == pytest.approx(bounds(second["auroc"]))
    assert bounds(first["accuracy"]) != bounds(compute_figures(truth, probabilities, groups, seed=4)["accuracy"])


def test_class_with_under_five_groups_is_not_estimable_but_keeps_its_raw_value() -> None:
    figures = compute_figures(*cases([9, 7, MIN_GROUPS - 1]))
    for name in ("precision", "recall", "f1", "auroc"):
        rare: Interval = figures["per_class"][2][name]
        assert (rare["value"], rare["low"], rare["high"]) == (None, None, None)
        assert rare["reason"] == "not estimable: 4 test groups, 5 needed"
        assert rare["raw"] is not None
        assert figures["per_class"][0][name]["value"] is not None


def test_auroc_against_too_few_others_is_not_estimable() -> None:
    figures = compute_figures(*cases([2, 7]))
    assert figures["auroc"]["reason"] == "not estimable: 2 test groups of the reference class, 5 needed"
    assert figures["per_class"][1]["auroc"]["reason"] == "not estimable: 2 test groups of the other classes, 5 needed"
    assert figures["per_class"][1]["recall"]["value"] is not None
    assert raw(figures["auroc"]) > 0


def test_one_class_alone_has_accuracy_but_no_auroc() -> None:
    truth, probabilities, groups = cases([6, 0])
    figures = compute_figures(truth, probabilities, groups)
    assert figures["accuracy"]["value"] == pytest.approx(np.mean(probabilities.argmax(axis=1) == 0))
    assert figures["balanced_accuracy"]["value"] == figures["accuracy"]["value"]
    assert figures["auroc"] == nothing("0 test groups with disease")
    assert figures["per_class"][1]["f1"] == nothing("0 test groups")


def test_one_group_alone_is_not_estimable() -> None:
    figures = compute_figures(*cases([1, 0]))
    assert figures["n_groups"] == 1
    assert figures["accuracy"]["value"] is None
    assert figures["accuracy"]["raw"] is not None
    assert figures["accuracy"]["reason"] == "not estimable: 1 test group, 5 needed"


def test_no_slices_give_zeros_and_no_figure() -> None:
    figures = compute_figures(np.array([], dtype=int), np.zeros((0, 3)), np.array([], dtype=str))
    assert figures["confusion"] == figures["subject"]["confusion"] == [[0] * 3] * 3
    assert figures["accuracy"] == figures["subject"]["accuracy"] == nothing("0 test groups")
    assert figures["per_class"][2]["auroc"] == nothing("0 test groups")


def test_two_thousand_slices_take_seconds_only() -> None:
    parts = cases([140, 140, 140, 140], per_group=7)
    assert len(parts[0]) > 2000
    start = time.perf_counter()
    compute_figures(*parts)
    assert time.perf_counter() - start < 10


def test_group_of_two_classes_is_refused() -> None:
    with pytest.raises(ManifestError, match="first c/a"):
        compute_figures(np.array([0, 1]), np.full((2, 2), 0.5), np.array(["c/a", "c/a"]))


def test_probabilities_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ModelError, match="finite"):
        compute_figures(np.array([0]), np.array([[np.nan, 1.0]]), np.array(["c/a"]))


def test_probabilities_of_other_shape_or_classes_are_refused() -> None:
    with pytest.raises(ModelError, match=r"shape \(2, C\)"):
        compute_figures(np.array([0, 1]), np.full((3, 2), 0.5), np.array(["c/a", "c/b"]))
    with pytest.raises(ModelError, match="Expected classes 0 to 1, got 2 to 2"):
        compute_figures(np.array([2]), np.full((1, 2), 0.5), np.array(["c/a"]))
