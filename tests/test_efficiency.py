"""Label-efficiency curves: figures, intervals and differences against independent calculations and planted cases."""

from dataclasses import astuple

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError, ModelError
from sslmri.evidence.efficiency import (
    BASELINE,
    PIXELS,
    PROBE,
    RANDOM,
    SIMCLR,
    Fit,
    compare_fits,
    small_classes_note,
)
from sslmri.evidence.sample import draw_sample
from sslmri.evidence.subsets import measures_of
from sslmri.models.evidence import DiseaseEfficiency, LabelEfficiency
from sslmri.training.report import report_efficiency
from tests.test_metrics import group_metrics_of, metrics_of

TUMOURS, MS = DISEASES["tumours"], DISEASES["ms"]


def side_of(n_classes: int, n_groups: int, n_slices: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Returns truth and groups of ``n_groups`` groups a class."""
    truth = np.repeat(np.arange(n_classes), n_groups * n_slices)
    groups = np.array([f"g{number:04}" for number in np.repeat(np.arange(n_classes * n_groups), n_slices)])
    return truth, groups


def guess(truth: np.ndarray, n_classes: int, strength: float, seed: int) -> np.ndarray:
    """Returns probabilities (N, C) that know the truth as well as ``strength`` says."""
    logits = np.random.default_rng(seed).normal(size=(len(truth), n_classes)) + strength * np.eye(n_classes)[truth]
    powers = np.exp(logits)
    return (powers / powers.sum(axis=1, keepdims=True)).round(2)  # with ties


def test_figures_are_those_of_scikit_learn_in_every_resample() -> None:
    truth, groups = side_of(4, 6)
    probabilities = guess(truth, 4, 1.0, 0)
    sample = draw_sample(truth, probabilities, groups, 20)
    found = {name: measure(sample) for name, measure in measures_of(TUMOURS).items()}
    for number, draws in enumerate(sample.weights):
        rows = np.repeat(np.arange(len(truth)), draws[sample.owner])
        assert found["auroc"][number] == pytest.approx(roc_auc_score(truth[rows] > 0, 1 - probabilities[rows, 0]))
        expected = balanced_accuracy_score(truth[rows], probabilities[rows].argmax(axis=1))
        assert found["balanced_accuracy"][number] == pytest.approx(expected)
        shown = rows[truth[rows] > 0]
        types = balanced_accuracy_score(truth[shown], 1 + probabilities[shown, 1:].argmax(axis=1))
        assert found["types_balanced_accuracy"][number] == pytest.approx(types)


def test_figures_and_intervals_are_those_of_evaluate() -> None:
    truth, groups = side_of(2, 8)
    probabilities = guess(truth, 2, 0.7, 1)
    fits = {Fit(SIMCLR, PROBE, 25, 0): probabilities}
    rows = {row.measure: row for row in compare_fits(MS, truth, groups, fits)[0]}
    figures = metrics_of(truth, probabilities, groups)
    pairs = [
        (rows["auroc"], figures.auroc),
        (rows["group_auroc"], group_metrics_of(truth, probabilities, groups).auroc),
        (rows["balanced_accuracy"], figures.balanced_accuracy),
    ]
    for point, expected in pairs:
        assert astuple(point.estimate) == pytest.approx(astuple(expected))


def test_a_planted_gain_has_its_interval_above_nought_and_none_has_not() -> None:
    truth, groups = side_of(2, 12)
    fits = {}
    for seed in range(3):
        fits[Fit(SIMCLR, PROBE, 25, seed)] = guess(truth, 2, 2.0, seed)
        fits[Fit(RANDOM, PROBE, 25, seed)] = guess(truth, 2, 0.0, 10 + seed)
        fits[Fit(SIMCLR, PROBE, 450, seed)] = guess(truth, 2, 1.0, 20 + seed)
        fits[Fit(RANDOM, PROBE, 450, seed)] = guess(truth, 2, 1.0, 30 + seed)
    gains = {
        (row.labels, row.measure): row for row in compare_fits(MS, truth, groups, fits)[1] if row.against == RANDOM
    }
    assert gains[25, "auroc"].estimate.low > 0
    assert gains[450, "auroc"].estimate.low < 0 < gains[450, "auroc"].estimate.high


def test_a_difference_is_the_mean_over_seeds_within_each_resample() -> None:
    truth, groups = side_of(2, 7)
    own, rival = ([guess(truth, 2, strength, seed) for seed in range(2)] for strength in (1.0, 0.5))
    fits = {Fit(SIMCLR, PROBE, 50, seed): p for seed, p in enumerate(own)}
    fits |= {Fit(PIXELS, BASELINE, 50, seed): p for seed, p in enumerate(rival)}
    (row,) = [r for r in compare_fits(MS, truth, groups, fits)[1] if r.measure == "auroc"]
    assert row.against == PIXELS
    sample = draw_sample(truth, own[0], groups)
    resampled = []
    for draws in sample.weights:
        rows = np.repeat(np.arange(len(truth)), draws[sample.owner])
        area = [
            [mannwhitneyu(p[rows, 1][truth[rows] == 1], p[rows, 1][truth[rows] == 0]).statistic for p in side]
            for side in (own, rival)
        ]
        resampled.append((np.mean(area[0]) - np.mean(area[1])) / 28**2)
    assert row.estimate.value == pytest.approx(resampled[0])
    assert (row.estimate.low, row.estimate.high) == pytest.approx(tuple(np.percentile(resampled[1:], (2.5, 97.5))))


def test_an_encoder_less_sure_by_chance_is_paired_more_tightly_than_two_intervals_suggest() -> None:
    truth, groups = side_of(2, 10)
    shaky = np.random.default_rng(0).normal(size=20)[np.unique(groups, return_inverse=True)[1]]  # of whole groups
    score = shaky + 1.0 * truth
    better = score + 0.15 * truth
    sigmoid = {name: 1 / (1 + np.exp(-own)) for name, own in ((SIMCLR, better), (RANDOM, score))}
    fits = {Fit(name, PROBE, 25, 0): np.stack([1 - own, own], axis=1) for name, own in sigmoid.items()}
    curves, differences = compare_fits(MS, truth, groups, fits)
    gain = next(row.estimate for row in differences if row.measure == "auroc")
    curve = next(row.estimate for row in curves if row.measure == "auroc")
    assert gain.high - gain.low < (curve.high - curve.low) / 2


def test_too_few_groups_are_not_estimable() -> None:
    truth, groups = side_of(2, 4)
    (row,) = [
        r
        for r in compare_fits(MS, truth, groups, {Fit(SIMCLR, PROBE, 25, 0): guess(truth, 2, 1.0, 0)})[0]
        if r.measure == "auroc"
    ]
    assert row.estimate.value is row.estimate.low is None
    assert row.estimate.reason == "not estimable: 4 test groups of the reference class, 5 needed"
    assert row.estimate.raw == row.seeds[0]
    assert small_classes_note(MS, truth, groups)[0].startswith(
        "Fewer than 5 test groups: normal (4), multiple sclerosis (4)."
    )


def test_a_test_side_of_one_class_has_no_area() -> None:
    truth, groups = np.zeros(12, dtype=int), np.repeat([f"g{n}" for n in range(6)], 2)
    curves, _ = compare_fits(MS, truth, groups, {Fit(SIMCLR, PROBE, 25, 0): guess(truth, 2, 1.0, 0)})
    assert {row.measure for row in curves} == {"balanced_accuracy", "group_balanced_accuracy"}
    assert all(row.estimate.value is None for row in curves)


def test_groups_of_two_classes_and_odd_probabilities_are_refused() -> None:
    truth, groups = side_of(2, 2)
    with pytest.raises(ManifestError, match="Expected slices of one class in each group, got several"):
        compare_fits(MS, truth, np.full(16, "a"), {Fit(SIMCLR, PROBE, 25, 0): np.full((16, 2), 0.5)})
    with pytest.raises(ModelError, match="Expected finite probabilities"):
        compare_fits(MS, truth, groups, {Fit(SIMCLR, PROBE, 25, 0): np.full((16, 2), np.nan)})


def test_the_report_has_one_row_a_point_and_says_what_was_not_run() -> None:
    truth, groups = side_of(2, 6)
    fits = {Fit(SIMCLR, PROBE, n, 0): guess(truth, 2, 1.0, n) for n in (25, 50)}
    result = DiseaseEfficiency("subject", 12, len(truth), {}, *compare_fits(MS, truth, groups, fits), ())
    header = dict.fromkeys(("encoder_sha256", "created", "encoder_created", "groups_sha256"), "")
    rest = {"protocol": "group-disjoint", "settings": {}, "not_run": (), "notes": (), "diseases": {"ms": result}}
    lines = report_efficiency(LabelEfficiency(**header, **rest)).splitlines()
    assert len(lines) == 2 + 2 * 4
    assert lines[2].startswith("| Multiple sclerosis | AUROC of any disease, subjects | linear-probe | 25 | SimCLR ")
