"""A shortcut is found where it was planted; proportions have the interval of a bootstrap over groups."""

from dataclasses import astuple

import numpy as np
import pytest
from PIL import Image
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sslmri.diseases import DISEASES
from sslmri.errors import TrainingError
from sslmri.evidence.baselines import trait_probabilities
from sslmri.evidence.intervals import rate_of
from sslmri.evidence.shortcuts import (
    blank_head,
    compare_with_shortcuts,
    file_traits,
    thumbnails,
)
from tests.test_metrics import metrics_of

MS = DISEASES["ms"]
TRUTH = np.repeat([0, 1], 60)
GROUPS = np.array([f"g{row // 3:02}" for row in range(120)])


def sure(predicted: np.ndarray, n_classes: int = 2) -> np.ndarray:
    """Returns all probability on the predicted classes (N,): (N, C)."""
    return np.eye(n_classes)[predicted]


def wrong_on(fraction: float) -> np.ndarray:
    """Returns probabilities that are wrong on a fraction of the groups of each class."""
    in_class = np.array([int(name[1:]) % 20 for name in GROUPS])
    return sure(np.where(in_class < fraction * 20, 1 - TRUTH, TRUTH))


def test_blanked_slices_keep_the_corner_and_lose_the_head_with_a_margin(phantom):
    slice_ = np.rint(phantom / 4).astype(np.uint8)
    slice_[:6, :6] = 200  # a burned-in marker
    blank = blank_head(slice_[None])[0]
    assert (blank[:6, :6] == 200).all()
    assert blank[7:].sum() == 0
    rows, columns = np.mgrid[0:96, 0:80]
    radius = ((rows - 50) / 36) ** 2 + ((columns - 41) / 27) ** 2
    grey = np.where((radius >= 1) & (radius < 1.06), 12, slice_)  # next to the head, and darker
    assert blank_head(grey[None].astype(np.uint8))[0][7:].sum() == 0
    assert blank_head(np.zeros((0, 8, 8), np.uint8)).shape == (0, 8, 8)


def test_thumbnail_is_the_mean_of_each_block():
    slices = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    means = slices.reshape(3, 8, 8, 8, 8).mean(axis=(2, 4)).reshape(3, 64) / 255
    assert np.abs(thumbnails(slices) - means).max() <= 1 / 255  # rounded to intensities along each side
    assert thumbnails(slices[:0]).shape == (0, 64)


def test_file_traits_are_size_sides_format_and_mode(tmp_path):
    Image.new("L", (20, 10)).save(tmp_path / "a.png")
    Image.new("RGB", (30, 40)).save(tmp_path / "b.jpg")
    (tmp_path / "c.dcm").write_bytes(b"no picture")
    paths = [tmp_path / name for name in ("a.png", "b.jpg", "c.dcm")]
    traits = file_traits(paths)
    assert np.expm1(traits[:, 0]) == pytest.approx([path.stat().st_size for path in paths])
    assert np.expm1(traits[:, 1:3]) == pytest.approx(np.array([[20, 10], [30, 40], [0, 0]]))
    assert traits[:, 3:].sum(axis=1).tolist() == [2, 2, 2]  # one format and one mode each
    assert len(np.unique(traits[:, 3:], axis=0)) == 3
    with pytest.raises(TrainingError, match=r"gone\.png, got: No such file"):
        file_traits([tmp_path / "gone.png"])


def test_control_is_a_balanced_logistic_regression_on_standardised_traits():
    generator = np.random.default_rng(0)
    train, truth = generator.normal(size=(200, 5)) * [1, 10, 0.1, 3, 1], generator.integers(0, 3, 200)
    train[:, 0] += truth
    test = generator.normal(size=(9, 5))
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(class_weight="balanced").fit(scaler.transform(train), truth)
    found = trait_probabilities(train, truth, test, 4)
    assert found[:, :3] == pytest.approx(model.predict_proba(scaler.transform(test)), abs=1e-3)
    assert (found[:, 3] == 0).all()


def test_control_of_one_class_says_that_class():
    assert (trait_probabilities(np.ones((3, 2)), np.array([1, 1, 1]), np.ones((2, 2)), 2) == [[0, 1], [0, 1]]).all()


def test_verdict_and_message_follow_the_rule():
    controls = {"background": wrong_on(0.1), "thumbnail": wrong_on(0.3), "file": wrong_on(0.5)}
    chance, model, shortcuts, messages = compare_with_shortcuts(MS, TRUTH, wrong_on(0.05), controls, GROUPS)
    assert chance == 0.5
    assert {name: metrics.verdict for name, metrics in shortcuts.items()} == {
        "background": "carries",
        "thumbnail": "part",
        "file": "nothing",
    }
    carries, part, nothing = messages
    assert carries.startswith("Background only alone: balanced accuracy 0.90 (")
    assert carries.endswith("a shortcut explains this result.")
    assert "but below the model (0.95 (" in part
    assert "not above chance (0.50): no sign of this shortcut." in nothing
    expected = metrics_of(TRUTH, wrong_on(0.05), GROUPS)
    assert (model.balanced_accuracy, model.auroc) == (expected.balanced_accuracy, expected.auroc)


@pytest.mark.parametrize("kept", [np.r_[0:9], np.r_[0:60, 60:66]], ids=["one class", "two groups with disease"])
def test_few_test_groups_leave_the_verdict_open(kept):
    _, _, shortcuts, messages = compare_with_shortcuts(
        MS, TRUTH[kept], wrong_on(0)[kept], {"file": wrong_on(0.5)[kept]}, GROUPS[kept]
    )
    assert shortcuts["file"].verdict == "unknown"
    assert "too few test groups" in messages[0]
    assert "with fewer than 5 test groups" in messages[-1]


def test_proportion_that_all_groups_agree_on_has_an_exact_interval():
    all_hit, none_hit = (rate_of(np.full(120, value), GROUPS).rate for value in (1.0, 0.0))
    low = float(beta.ppf(0.025, 40, 1))  # Clopper & Pearson
    assert (all_hit.low, all_hit.high) == (pytest.approx(low), 1.0)
    assert (none_hit.low, none_hit.high) == (0.0, pytest.approx(1 - low))


def test_mean_of_a_proportion_has_the_interval_of_the_metrics():
    is_hit = np.random.default_rng(0).random(120) < 0.3
    figures = metrics_of(np.zeros(120, int), sure(1 - is_hit.astype(int)), GROUPS)
    assert astuple(rate_of(is_hit.astype(float), GROUPS).rate) == pytest.approx(astuple(figures.accuracy))


def test_mean_of_whole_groups_varies_as_the_groups_do():
    values = np.repeat(np.random.default_rng(0).normal(size=40), 3)
    found = rate_of(values, GROUPS).rate
    error = values[::3].std() / np.sqrt(40)
    assert found.value == pytest.approx(values.mean())
    assert (found.high - found.low) / 3.92 == pytest.approx(error, rel=0.1)


def test_proportion_of_few_groups_or_none_is_not_estimable():
    few = rate_of(np.ones(12), GROUPS[:12]).rate
    assert (few.value, few.raw, few.reason) == (None, 1.0, "not estimable: 4 test groups, 5 needed")
    none = rate_of(np.zeros(0), np.zeros(0, str)).rate
    assert (none.value, none.raw, none.reason) == (None, None, "not estimable: 0 test groups, 5 needed")
