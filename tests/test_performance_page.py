"""The performance page: every disease, both protocols, and what a group is."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sslmri.dashboard.text import escape_markdown
from sslmri.diseases import DISEASES
from sslmri.evidence.decisions import Answers, answer
from sslmri.evidence.predictions import read_predictions
from sslmri.evidence.verdict import decisions_for
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Metrics, read_evidence, write_evidence
from sslmri.models.metrics import Estimate
from tests.pages import choose, open_page, show, table_of, words_of
from tests.test_evaluate import evaluated

DISJOINT, RANDOM_SPLIT = "patient-disjoint split", "random image split (as published)"


@pytest.fixture
def own(configured: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Metrics]:
    """Returns the evidence of a copy of the model that the pages show, to be replaced."""
    folder = tmp_path / "model"
    shutil.copytree(configured.folder, folder, ignore=shutil.ignore_patterns("pretrain", "finetune"))
    monkeypatch.setenv("SSLMRI_MODEL", str(folder))
    return folder / "evidence", metrics_of(configured)


def metrics_of(card: ModelCard) -> Metrics:
    metrics = read_evidence(card.folder / "evidence", Metrics)
    assert metrics is not None
    return metrics


def test_performance_shows_every_disease(configured: ModelCard) -> None:
    app = open_page("pages/performance.py")
    metrics = metrics_of(configured)
    for key in configured.heads:
        choose(app, "Disease", key)
        assert any(DISEASES[key].title in str(part.value) for part in app.header)
        grade = metrics.diseases[key].grade
        words = words_of(app)
        assert f"**{grade.grade.capitalize()} evidence.** {escape_markdown(grade.reason)}" in words
        for tab, title in (
            ("Per class", "Confusion matrix, slices"),
            ("Curves", "Precision and recall of each class"),
            ("Calibration", "Prediction sets of 90 %"),
            ("Shortcuts", "Shortcuts, false alarms and localisation were not measured"),
            ("Label efficiency", "Whether pre-training helps has not been measured"),
            ("Errors", "test slices misclassified"),
        ):
            assert title not in words_of(app)
            show(app, tab)
            assert title in words_of(app)
        show(app, "Summary")


def test_performance_names_the_grade_of_each_disease(configured: ModelCard) -> None:
    app = open_page("pages/performance.py")
    group = next(group for group in app.button_group if group.label == "Disease")
    metrics = metrics_of(configured)
    assert group.options == [f"{DISEASES[key].title} · {metrics.diseases[key].grade.grade}" for key in DISEASES]


def test_protocol_that_was_not_measured_says_so_in_one_line(configured: ModelCard) -> None:
    app = open_page("pages/performance.py")
    line = "Not measured for this model on the random image split (as published): images are split at random"
    assert any(line in str(caption.value) for caption in app.caption)
    assert RANDOM_SPLIT not in table_of(app, DISJOINT)
    choose(app, "Split", "as-published")
    for tab in ("Summary", "Per class", "Curves", "Calibration", "Errors"):
        show(app, tab)
        assert line in app.info[0].value


def test_sets_and_thresholds_are_those_of_the_head_card(configured: ModelCard, own: tuple[Path, Metrics]) -> None:
    folder, metrics = own
    head = configured.heads["tumours"]
    set_thresholds: dict[str, float | None] = dict.fromkeys(head.classes, 0.25)

    frame = read_predictions(folder, DISEASES["tumours"])

    def of_slices(limits: dict[str, float | None]) -> Answers:
        decisions = replace(decisions_for(head, 1), set_thresholds=limits)
        return answer(frame[list(head.classes)].to_numpy(), decisions)

    result = evaluated(DISEASES["tumours"], frame, None, of_slices(set_thresholds))
    write_evidence(folder, replace(metrics, diseases=metrics.diseases | {"tumours": result}))
    app = open_page("pages/performance.py")
    choose(app, "Disease", "tumours")
    show(app, "Calibration")
    sets = table_of(app, "coverage, slices").set_index("class")
    assert sets["in the set from"].tolist() == ["0.25", "0.25", "0.25", "0.25"]
    overall = table_of(app, "subjects")["measure"].tolist()
    assert f"Specificity at the upper threshold ({head.threshold_high:.2f})" in overall
    without = {**set_thresholds, "no_tumour": None}
    result = evaluated(DISEASES["tumours"], frame, None, of_slices(without))
    write_evidence(folder, replace(metrics, diseases=metrics.diseases | {"tumours": result}))
    app = open_page("pages/performance.py")
    choose(app, "Disease", "tumours")
    show(app, "Calibration")
    sets = table_of(app, "coverage, slices").set_index("class")
    assert sets["in the set from"].tolist() == ["", "0.25", "0.25", "0.25"]
    assert sets.loc["no tumour", "coverage, slices"].startswith("in every set")


def test_both_protocols_are_always_in_sight(own: tuple[Path, Metrics]) -> None:
    folder, metrics = own
    result = metrics.diseases["tumours"]
    accuracy = Estimate(0.987, 0.987, 0.99, 0.987, None)
    slices = replace(result.slices, accuracy=accuracy, n_cases=4321)
    shared = replace(
        metrics, protocol="as-published", diseases={"tumours": replace(result, slices=slices, n_shared_groups=7)}
    )
    write_evidence(folder / "as-published", shared)
    app = open_page("pages/performance.py")
    choose(app, "Disease", "tumours")
    for protocol, said in (
        ("group-disjoint", "no labelled patient (or image group) is in both"),
        ("as-published", "patients are shared"),
    ):
        choose(app, "Split", protocol)
        assert said in words_of(app)
        rows = table_of(app, DISJOINT).set_index("measure").loc["Accuracy, slices"]
        assert rows[RANDOM_SPLIT].startswith("0.99")
        assert rows[DISJOINT] == "not estimable"  # of few groups
        words = words_of(app).replace("\\", "")
        assert "4,321 test slices" in words
        assert "patients shared: 7 groups" in words
        assert "patients shared: none" in words


@pytest.mark.parametrize(("unit", "says"), [("subject", "one subject"), ("group", "A group is one subject where")])
def test_performance_says_what_a_group_is(unit: str, says: str, own: tuple[Path, Metrics]) -> None:
    folder, metrics = own
    diseases = {key: replace(result, unit=unit) for key, result in metrics.diseases.items()}
    write_evidence(folder, replace(metrics, diseases=diseases))
    app = open_page("pages/performance.py")
    assert says in words_of(app)
    show(app, "Per class")
    assert f"Confusion matrix, {unit}s" in words_of(app)
