"""The performance page: every disease, both protocols, and what a group is."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sslmri.dashboard.text import escape_markdown
from sslmri.diseases import DISEASES
from sslmri.evidence.decisions import CaseDecisions
from sslmri.evidence.evaluate import evaluate_disease
from sslmri.evidence.predictions import read_predictions
from sslmri.evidence.verdict import decisions_for
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Metrics, read_evidence, write_evidence
from sslmri.models.metrics import Estimate
from tests.pages import choose, open_page, table_of, words_of

RANDOM_SPLIT = "random image split (as published)"


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
        assert any(DISEASES[key].title in str(part.value) for part in app.markdown)
        grade = metrics.diseases[key].grade
        words = words_of(app)
        assert f"**{grade.grade.capitalize()} evidence.** {escape_markdown(grade.reason)}" in words
        for title in ("Precision and recall of each class", "Reliability of the probabilities", "rediction sets"):
            assert title in words


def test_performance_names_the_grade_of_each_disease(configured: ModelCard) -> None:
    app = open_page("pages/performance.py")
    group = next(group for group in app.button_group if group.label == "Disease")
    metrics = metrics_of(configured)
    assert group.options == [f"{DISEASES[key].title} · {metrics.diseases[key].grade.grade}" for key in DISEASES]


def test_protocol_that_was_not_measured_says_so_in_one_line(configured: ModelCard) -> None:
    app = open_page("pages/performance.py")
    line = "Not measured for this model on the random image split (as published): images are split at random"
    assert any(line in str(caption.value) for caption in app.caption)
    assert set(table_of(app, "patients shared")["split"]) == {"patient-disjoint split"}
    choose(app, "Split", "as-published")
    assert line in app.info[0].value
    assert set(table_of(app, "patients shared")["split"]) == {"patient-disjoint split"}
    assert "NT-Xent loss by epoch" not in words_of(app)


def test_sets_and_thresholds_are_those_of_the_head_card(configured: ModelCard, own: tuple[Path, Metrics]) -> None:
    folder, metrics = own
    head = configured.heads["tumours"]
    set_thresholds: dict[str, float | None] = dict.fromkeys(head.classes, 0.25)

    def of_slices(limits: dict[str, float | None]) -> CaseDecisions:
        return CaseDecisions(replace(decisions_for(head, 1), set_thresholds=limits))

    frame = read_predictions(folder, DISEASES["tumours"])
    result = evaluate_disease(DISEASES["tumours"], frame, None, of_slices(set_thresholds))
    write_evidence(folder, replace(metrics, diseases=metrics.diseases | {"tumours": result}))
    app = open_page("pages/performance.py")
    choose(app, "Disease", "tumours")
    sets = table_of(app, "coverage, slices").set_index("class")
    assert sets["in the set from"].tolist() == ["0.25", "0.25", "0.25", "0.25"]
    overall = table_of(app, "subjects")["measure"].tolist()
    assert f"Specificity at the upper threshold ({head.threshold_high:.2f})" in overall
    without = {**set_thresholds, "no_tumour": None}
    result = evaluate_disease(DISEASES["tumours"], frame, None, of_slices(without))
    write_evidence(folder, replace(metrics, diseases=metrics.diseases | {"tumours": result}))
    app = open_page("pages/performance.py")
    choose(app, "Disease", "tumours")
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
        table = table_of(app, "patients shared")
        rows = table[table["measure"] == "Accuracy, slices"].set_index("split")
        assert rows.loc[RANDOM_SPLIT, "value (95 % interval)"].startswith("0.99")
        assert rows["patients shared"].to_dict() == {"patient-disjoint split": "no", RANDOM_SPLIT: "yes (7 groups)"}
        assert rows.loc[RANDOM_SPLIT, "test slices"] == 4321
        assert {"majority class", "1-NN on pixels", "PCA + logistic regression", "test groups"} <= set(table.columns)


@pytest.mark.parametrize(("unit", "says"), [("subject", "one subject"), ("group", "A group is one subject where")])
def test_performance_says_what_a_group_is(unit: str, says: str, own: tuple[Path, Metrics]) -> None:
    folder, metrics = own
    diseases = {key: replace(result, unit=unit) for key, result in metrics.diseases.items()}
    write_evidence(folder, replace(metrics, diseases=diseases))
    words = words_of(open_page("pages/performance.py"))
    assert says in words
    assert f"Confusion matrix, {unit}s" in words
