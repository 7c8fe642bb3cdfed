"""A shortcut is found where it was planted and nowhere else; shares have the interval of a bootstrap over groups."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sslmri.diseases import DISEASES
from sslmri.errors import ModelError, TrainingError
from sslmri.evidence.metrics import compute_metrics
from sslmri.evidence.shortcuts import (
    CONTROLS_FILE,
    FORMAT,
    blank_head,
    compare_with_shortcuts,
    control_probabilities,
    false_alarms,
    file_traits,
    mean_figure,
    read_controls,
    thumbnails,
)

MS = DISEASES["ms"]
TRUTH = np.repeat([0, 1], 60)
GROUPS = np.array([f"g{row // 3:02}" for row in range(120)])


def sure(predicted: np.ndarray, n_classes: int = 2) -> np.ndarray:
    """Returns all probability on the predicted classes (N,): (N, C)."""
    return np.eye(n_classes)[predicted]


def wrong_on(share: float) -> np.ndarray:
    """Returns probabilities that are wrong on a share of the groups of each class."""
    in_class = np.array([int(name[1:]) % 20 for name in GROUPS])
    return sure(np.where(in_class < share * 20, 1 - TRUTH, TRUTH))


def test_blanked_slices_keep_the_corner_and_lose_the_head_with_a_margin(phantom):
    slice_ = np.rint(phantom / 4).astype(np.uint8)
    slice_[:6, :6] = 200  # a burned-in mark
    blank = blank_head(slice_[None])[0]
    assert (blank[:6, :6] == 200).all()
    assert blank[7:].sum() == 0
    rows, columns = np.mgrid[0:96, 0:80]
    radius = ((rows - 50) / 36) ** 2 + ((columns - 41) / 27) ** 2
    grey = np.where((radius >= 1) & (radius < 1.06), 12, slice_)  # beside the head, and darker
    assert blank_head(grey[None].astype(np.uint8))[0][7:].sum() == 0
    assert blank_head(np.zeros((0, 8, 8), np.uint8)).shape == (0, 8, 8)


def test_thumbnail_is_the_mean_of_each_block():
    slices = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    means = slices.reshape(3, 8, 8, 8, 8).mean(axis=(2, 4)).reshape(3, 64) / 255
    assert np.abs(thumbnails(slices) - means).max() <= 1 / 255  # rounded to grey values along each side
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
    found = control_probabilities(train, truth, test, 4)
    assert found[:, :3] == pytest.approx(model.predict_proba(scaler.transform(test)), abs=1e-3)
    assert (found[:, 3] == 0).all()


def test_control_of_one_class_says_that_class_and_of_none_is_refused():
    assert (control_probabilities(np.ones((3, 2)), np.array([1, 1, 1]), np.ones((2, 2)), 2) == [[0, 1], [0, 1]]).all()
    with pytest.raises(TrainingError, match="Expected training slices for the controls"):
        control_probabilities(np.ones((0, 2)), np.zeros(0, int), np.ones((2, 2)), 2)


def test_verdict_and_sentence_follow_the_rule():
    controls = {"background": wrong_on(0.1), "thumbnail": wrong_on(0.3), "file": wrong_on(0.5)}
    result = compare_with_shortcuts(MS, TRUTH, wrong_on(0.05), controls, GROUPS)
    assert result["chance"] == 0.5
    assert {name: own["verdict"] for name, own in result["controls"].items()} == {
        "background": "carries",
        "thumbnail": "part",
        "file": "nothing",
    }
    carries, part, nothing = result["sentences"]
    assert carries.startswith("Background only alone: balanced accuracy 0.90 (")
    assert carries.endswith("a shortcut carries the result.")
    assert "below the model's 0.95 (" in part
    assert "an interval that includes chance (0.50): not shown to carry the result." in nothing
    own = compute_metrics(TRUTH, wrong_on(0.05), GROUPS)
    assert result["model"] == {"balanced_accuracy": own["balanced_accuracy"], "auroc": own["auroc"]}
    json.dumps(result, allow_nan=False)


def test_few_test_groups_leave_the_verdict_open():
    result = compare_with_shortcuts(MS, TRUTH[:9], wrong_on(0)[:9], {"file": wrong_on(0)[:9]}, GROUPS[:9])
    assert result["controls"]["file"]["verdict"] == "unknown"
    assert "cannot be told" in result["sentences"][0]
    kept = np.r_[0:60, 60:66]  # two groups with disease
    found = compare_with_shortcuts(MS, TRUTH[kept], wrong_on(0)[kept], {"file": wrong_on(0)[kept]}, GROUPS[kept])
    assert "multiple sclerosis (2)" in found["sentences"][-1]


def test_a_class_of_too_few_groups_leaves_the_verdict_open():
    kept = np.r_[0:60, 60:66]  # two groups with disease
    found = compare_with_shortcuts(MS, TRUTH[kept], wrong_on(0)[kept], {"file": wrong_on(0.5)[kept]}, GROUPS[kept])
    assert found["controls"]["file"]["verdict"] == "unknown"
    assert "cannot be told" in found["sentences"][0]


def test_share_that_all_groups_agree_on_reaches_as_far_as_their_number_allows():
    all_hit, none_hit = (mean_figure(np.full(120, value), GROUPS) for value in (1.0, 0.0))
    low = float(beta.ppf(0.025, 40, 1))  # Clopper & Pearson
    assert (all_hit["low"], all_hit["high"]) == (pytest.approx(low), 1.0)
    assert (none_hit["low"], none_hit["high"]) == (0.0, pytest.approx(1 - low))


def test_mean_of_a_share_has_the_interval_of_the_metrics():
    is_hit = np.random.default_rng(0).random(120) < 0.3
    figures = compute_metrics(np.zeros(120, int), sure(1 - is_hit.astype(int)), GROUPS)
    assert mean_figure(is_hit.astype(float), GROUPS) == pytest.approx(figures["accuracy"])


def test_mean_of_whole_groups_spreads_as_the_groups_do():
    values = np.repeat(np.random.default_rng(0).normal(size=40), 3)
    found = mean_figure(values, GROUPS)
    error = values[::3].std() / np.sqrt(40)
    assert found["value"] == pytest.approx(values.mean())
    assert (found["high"] - found["low"]) / 3.92 == pytest.approx(error, rel=0.1)


def test_share_of_few_groups_or_none_is_not_estimable():
    few = mean_figure(np.ones(12), GROUPS[:12])
    assert (few["value"], few["raw"], few["reason"]) == (None, 1.0, "not estimable: 4 test groups, 5 needed")
    none = mean_figure(np.zeros(0), np.zeros(0, str))
    assert (none["value"], none["raw"], none["reason"]) == (None, None, "not estimable: 0 test groups, 5 needed")
    assert false_alarms(np.zeros(0, bool), np.zeros(0, str), np.zeros(0, str)) == {}


def test_false_alarms_are_counted_by_cohort():
    cohorts = np.repeat(["a", "b"], 60)
    found = false_alarms(np.arange(120) < 30, cohorts, GROUPS)
    assert {name: own["flagged"]["value"] for name, own in found.items()} == {"a": 0.5, "b": 0.0}
    assert {(own["n_slices"], own["n_groups"]) for own in found.values()} == {(60, 20)}


def test_controls_are_read_back_and_damaged_ones_refused(tmp_path: Path):
    assert read_controls(tmp_path) is None
    content = {"format": FORMAT, "created": "", "encoder_sha256": "", "rules": {}, "diseases": {}, "family_wise": {}}
    path = tmp_path / CONTROLS_FILE
    path.write_text(json.dumps(content))
    assert read_controls(tmp_path) == content
    for damaged in ("", "[]", json.dumps(content | {"format": "other"}), json.dumps({"format": FORMAT})):
        path.write_text(damaged)
        with pytest.raises(ModelError, match=r"controls\.json.*run `python train.py controls` again"):
            read_controls(tmp_path)
