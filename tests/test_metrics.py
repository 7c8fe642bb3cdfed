"""Metrics agree with scikit-learn, and their intervals with what they claim."""

import time

import numpy as np
import pytest
from sklearn import metrics

from sslmri.cohorts.registry import MIN_GROUPS
from sslmri.errors import ManifestError, ModelError
from sslmri.evidence.metrics import case_metrics
from sslmri.evidence.sample import draw_sample
from sslmri.models.metrics import CaseMetrics, Estimate

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


def metrics_of(truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray, **settings: int) -> CaseMetrics:
    """Returns the metrics of slices, their classes named by their indices."""
    return case_metrics(
        draw_sample(truth, probabilities, groups, **settings), list(map(str, range(probabilities.shape[1])))
    )


def group_metrics_of(truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray) -> CaseMetrics:
    """Returns the metrics of groups."""
    sample = draw_sample(truth, probabilities, groups).by_group()
    return case_metrics(sample, list(map(str, range(probabilities.shape[1]))))


def by_subject(truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns label and mean probabilities of each group, by a loop."""
    names = sorted(set(groups.tolist()))
    means = np.array([probabilities[groups == name].mean(axis=0) for name in names]).round(12)  # equal means tie
    return np.array([truth[groups == name][0] for name in names]), means


def raw(estimate: Estimate) -> float:
    """Returns the raw figure, which must be there."""
    assert estimate.raw is not None
    return estimate.raw


def bounds(estimate: Estimate) -> tuple[float, float]:
    """Returns the ends of an interval, which must be there."""
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low, estimate.high


def nothing(n_groups: str) -> Estimate:
    """Returns the metric of a class that is not there."""
    return Estimate(None, None, None, None, f"not estimable: {n_groups}, 5 needed")


def expected_ece(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the expected calibration error by a loop over 15 bins, open below and closed above."""
    top, is_right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    gap = 0.0
    for number in range(15):
        own = (top > number / 15) & (top <= (number + 1) / 15)
        if own.any():
            gap += own.mean() * abs(top[own].mean() - is_right[own].mean())
    return gap


def check_against_scikit_learn(figures: CaseMetrics, truth: np.ndarray, probabilities: np.ndarray) -> None:
    """Asserts that every figure is scikit-learn's, or that of a plain loop where it has none."""
    predicted = probabilities.argmax(axis=1)
    score = 1 - probabilities[:, 0]
    assert figures.confusion == tuple(map(tuple, metrics.confusion_matrix(truth, predicted).tolist()))
    assert raw(figures.accuracy) == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert raw(figures.balanced_accuracy) == pytest.approx(metrics.balanced_accuracy_score(truth, predicted))
    assert raw(figures.auroc) == pytest.approx(metrics.roc_auc_score(truth > 0, score))
    assert raw(figures.average_precision) == pytest.approx(metrics.average_precision_score(truth > 0, score))
    one_hot = np.eye(probabilities.shape[1])[truth]
    assert raw(figures.brier) == pytest.approx(((probabilities - one_hot) ** 2).sum() / len(truth))
    assert raw(figures.ece) == pytest.approx(expected_ece(truth, probabilities))
    table = np.array(metrics.precision_recall_fscore_support(truth, predicted, zero_division=0)).T
    for label, (found, expected) in enumerate(zip(figures.per_class.values(), table, strict=True)):
        got = [raw(found.precision), raw(found.recall), raw(found.f1), found.n_cases]
        assert got == pytest.approx(expected)
        own, is_class = probabilities[:, label], truth == label
        assert raw(found.specificity) == pytest.approx(metrics.recall_score(~is_class, predicted != label))
        assert raw(found.auroc) == pytest.approx(metrics.roc_auc_score(is_class, own))
        assert raw(found.average_precision) == pytest.approx(metrics.average_precision_score(is_class, own))


@pytest.mark.parametrize("groups_per_class", [[6, 5], [9, 7, 6, 5], [8, 2, 1]])
def test_slice_figures_are_those_of_scikit_learn(groups_per_class: list[int]) -> None:
    truth, probabilities, groups = cases(groups_per_class)
    figures = metrics_of(truth, probabilities, groups, n_resamples=10)
    check_against_scikit_learn(figures, truth, probabilities)
    assert [own.n_groups for own in figures.per_class.values()] == groups_per_class


@pytest.mark.parametrize("groups_per_class", [[6, 5], [9, 7, 6]])
def test_subject_figures_are_those_of_the_mean_probabilities(groups_per_class: list[int]) -> None:
    truth, probabilities, groups = cases(groups_per_class)
    label, means = by_subject(truth, probabilities, groups)
    subject = group_metrics_of(truth, probabilities, groups)
    check_against_scikit_learn(subject, label, means)


def test_two_class_brier_is_twice_that_of_scikit_learn_for_one_class() -> None:
    truth, probabilities, groups = cases([6, 5])
    probabilities[:, 0] = 1 - probabilities[:, 1]
    figures = metrics_of(truth, probabilities, groups, n_resamples=10)
    assert raw(figures.brier) == pytest.approx(2 * metrics.brier_score_loss(truth, probabilities[:, 1]))


def test_bins_of_the_reliability_curve_make_up_the_calibration_error() -> None:
    truth, probabilities, groups = cases([9, 7, 6])
    figures = metrics_of(truth, probabilities, groups, n_resamples=10)
    bins = figures.reliability
    assert sum(own.n_cases for own in bins) == len(truth)
    gap = sum(own.n_cases * abs(own.probability - own.accuracy) for own in bins) / len(truth)
    assert gap == pytest.approx(raw(figures.ece))
    top = probabilities.max(axis=1)
    for own in bins:
        inside = (top > own.low) & (top <= own.high)
        assert (own.n_cases, own.n_groups) == (inside.sum(), len(set(groups[inside].tolist())))


def test_model_as_sure_as_it_is_right_has_a_small_calibration_error() -> None:
    generator = np.random.default_rng(0)
    probability = generator.uniform(size=8000)
    truth = (generator.uniform(size=8000) < probability).astype(int)
    probabilities = np.stack([1 - probability, probability], axis=1)
    groups = np.array([f"{label}-{number % 50}" for number, label in enumerate(truth)])
    assert raw(metrics_of(truth, probabilities, groups, n_resamples=2).ece) < 0.025
    surer = np.clip(probabilities * 3 - 1, 0, 1)
    assert raw(metrics_of(truth, surer, groups, n_resamples=2).ece) > 0.1


def test_intervals_are_those_of_resampled_slices() -> None:
    """The reference repeats the slices of each group as often as it was drawn and asks scikit-learn."""
    truth, probabilities, groups = cases([8, 6])
    found = []
    for weights in draw_sample(truth, probabilities, groups, n_resamples=60, seed=1).weights[1:]:
        assert [weights[:8].sum(), weights[8:].sum()] == [8, 6]  # group names sort by class
        drawn = np.repeat(np.unique(groups), weights)
        rows = np.concatenate([np.flatnonzero(groups == name) for name in drawn])
        t, p = truth[rows], probabilities[rows]
        guess = p.argmax(axis=1)
        one = [metrics.f1_score(t, guess), metrics.roc_auc_score(t, p[:, 1]), metrics.accuracy_score(t, guess)]
        brier = ((p - np.eye(2)[t]) ** 2).sum(axis=1).mean()
        found.append([*one, metrics.average_precision_score(t, p[:, 1]), brier, expected_ece(t, p)])
    expected = np.percentile(found, (2.5, 97.5), axis=0).T
    figures = metrics_of(truth, probabilities, groups, n_resamples=60, seed=1)
    one = figures.per_class["1"]
    got = [bounds(own) for own in (one.f1, one.auroc, figures.accuracy, one.average_precision)]
    assert np.allclose([*got, bounds(figures.brier), bounds(figures.ece)], expected)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    truth, probabilities, _ = cases([2000, 2000], seed=99)
    true = metrics.roc_auc_score(truth, probabilities[:, 1])
    inside = 0
    for seed in range(60):
        low, high = bounds(metrics_of(*cases([30, 30], seed=seed), n_resamples=200).auroc)
        inside += low <= true <= high
    assert 50 <= inside <= 60


def test_interval_shrinks_with_more_groups() -> None:
    widths = []
    for n_groups in (10, 40, 160):
        figures = metrics_of(*cases([n_groups, n_groups]), n_resamples=500)
        widths.append([high - low for low, high in map(bounds, (figures.accuracy, figures.auroc))])
    assert np.all(np.diff(widths, axis=0) < 0)


def test_more_slices_of_the_same_people_do_not_shrink_the_interval() -> None:
    truth, probabilities, groups = cases([12, 12])
    once = metrics_of(truth, probabilities, groups)
    many = metrics_of(truth.repeat(10), probabilities.repeat(10, axis=0), groups.repeat(10))
    assert bounds(many.accuracy) == pytest.approx(bounds(once.accuracy))
    assert bounds(many.auroc) == pytest.approx(bounds(once.auroc))


def test_labels_dealt_at_random_give_an_auroc_about_one_half() -> None:
    _, probabilities, groups = cases([150, 150], strength=2.0)
    names = sorted(set(groups.tolist()))
    dealt = dict(zip(names, np.random.default_rng(0).permutation(np.arange(len(names)) % 2), strict=True))
    parts = (np.array([dealt[name] for name in groups]), probabilities, groups)
    for auroc in (metrics_of(*parts).auroc, group_metrics_of(*parts).auroc):
        low, high = bounds(auroc)
        assert low < 0.5 < high
        assert raw(auroc) == pytest.approx(0.5, abs=0.1)


def test_same_seed_gives_the_same_intervals_whatever_the_order_of_rows() -> None:
    truth, probabilities, groups = cases([7, 6, 5])
    order = np.random.default_rng(5).permutation(len(truth))
    first = metrics_of(truth, probabilities, groups, seed=3)
    second = metrics_of(truth[order], probabilities[order], groups[order], seed=3)
    assert bounds(first.accuracy) == bounds(second.accuracy)
    assert bounds(first.auroc) == pytest.approx(bounds(second.auroc))
    assert bounds(first.accuracy) != bounds(metrics_of(truth, probabilities, groups, seed=4).accuracy)


def test_class_with_under_five_groups_is_not_estimable_but_keeps_its_raw_value() -> None:
    figures = metrics_of(*cases([9, 7, MIN_GROUPS - 1]))
    for name in ("precision", "recall", "f1", "auroc", "average_precision"):
        rare: Estimate = getattr(figures.per_class["2"], name)
        assert (rare.value, rare.low, rare.high) == (None, None, None)
        assert rare.reason == "not estimable: 4 test groups, 5 needed"
        assert rare.raw is not None
        assert getattr(figures.per_class["0"], name).value is not None
    assert figures.per_class["2"].specificity.value is not None  # it is of the others, of whom there are enough


def test_auroc_against_too_few_others_is_not_estimable() -> None:
    figures = metrics_of(*cases([2, 7]))
    assert figures.auroc.reason == "not estimable: 2 test groups of the reference class, 5 needed"
    for name in ("auroc", "average_precision", "specificity"):
        reason = "not estimable: 2 test groups of the other classes, 5 needed"
        assert getattr(figures.per_class["1"], name).reason == reason
    assert figures.per_class["1"].recall.value is not None
    assert raw(figures.auroc) > 0


def test_one_class_alone_has_accuracy_but_no_auroc() -> None:
    truth, probabilities, groups = cases([6, 0])
    figures = metrics_of(truth, probabilities, groups)
    assert figures.accuracy.value == pytest.approx(np.mean(probabilities.argmax(axis=1) == 0))
    assert figures.balanced_accuracy.value == figures.accuracy.value
    assert figures.auroc == figures.average_precision == nothing("0 test groups with disease")
    assert figures.per_class["1"].f1 == nothing("0 test groups")


def test_one_group_alone_is_not_estimable() -> None:
    figures = metrics_of(*cases([1, 0]))
    assert figures.n_groups == 1
    assert figures.accuracy.value is None
    assert figures.accuracy.raw is not None
    assert figures.accuracy.reason == "not estimable: 1 test group, 5 needed"


def test_no_slices_give_zeros_and_no_metric() -> None:
    nobody = (np.array([], dtype=int), np.zeros((0, 3)), np.array([], dtype=str))
    for figures in (metrics_of(*nobody), group_metrics_of(*nobody)):
        assert figures.confusion == ((0, 0, 0),) * 3
        for estimate in (figures.accuracy, figures.balanced_accuracy, figures.brier, figures.ece):
            assert estimate == nothing("0 test groups")
        assert figures.reliability == ()
        assert figures.per_class["2"].auroc == nothing("0 test groups")


def test_two_thousand_slices_take_seconds_only() -> None:
    parts = cases([140, 140, 140, 140], per_group=7)
    assert len(parts[0]) > 2000
    start = time.process_time()
    metrics_of(*parts)
    assert time.process_time() - start < 10


def test_group_of_two_classes_is_refused() -> None:
    with pytest.raises(ManifestError, match="first c/a"):
        metrics_of(np.array([0, 1]), np.full((2, 2), 0.5), np.array(["c/a", "c/a"]))


def test_probabilities_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ModelError, match="finite"):
        metrics_of(np.array([0]), np.array([[np.nan, 1.0]]), np.array(["c/a"]))
