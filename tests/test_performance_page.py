"""The performance page: every disease, both protocols, and what a group is."""

import pytest

from sslmri.dashboard.model_evidence import find_roc
from sslmri.dashboard.text import escape_markdown
from sslmri.diseases import DISEASES
from sslmri.evidence.evaluate import evaluate_disease
from sslmri.evidence.evidence_io import read_metrics, read_predictions
from sslmri.models.cards import ModelCard
from tests.pages import choose, open_page, table_of, words_of


def test_performance_shows_every_disease(configured: ModelCard) -> None:
    app = open_page("pages/performance.py")
    metrics = read_metrics(configured.folder / "evidence")
    for key in configured.heads:
        choose(app, "Disease", key)
        assert any(DISEASES[key].title in str(part.value) for part in app.markdown)
        grade = metrics["diseases"][key]["grade"]
        words = words_of(app)
        assert f"**{grade['grade'].capitalize()} evidence.** {escape_markdown(grade['reason'])}" in words
        for title in ("Precision and recall of each class", "Reliability of the probabilities", "Prediction sets"):
            assert title in words


def test_performance_names_the_grade_of_each_disease(configured: ModelCard) -> None:
    app = open_page("pages/performance.py")
    group = next(group for group in app.button_group if group.label == "Disease")
    metrics = read_metrics(configured.folder / "evidence")
    titles = [f"{DISEASES[key].title} · {metrics['diseases'][key]['grade']['grade']}" for key in DISEASES]
    assert group.options == titles


def test_protocol_that_was_not_measured_says_so_in_one_line(configured: ModelCard) -> None:
    app = open_page("pages/performance.py")
    line = "The protocol as-published (images are split at random, so people are shared between training and test) was"
    assert any(line in str(caption.value) for caption in app.caption)
    assert set(table_of(app, "people shared")["protocol"]) == {"group-disjoint"}
    choose(app, "Protocol", "as-published")
    assert line in app.info[0].value
    assert set(table_of(app, "people shared")["protocol"]) == {"group-disjoint"}
    assert "NT-Xent loss by epoch" not in words_of(app)


def test_sets_and_thresholds_are_those_of_the_head_card(configured: ModelCard, monkeypatch) -> None:
    folder, head = configured.folder / "evidence", configured.heads["tumours"]
    bars = {label: 0.25 if number else None for number, label in enumerate(head.classes)}
    thresholds = (head.threshold_low, head.threshold_high)
    frame = read_predictions(folder, "tumours")
    result = evaluate_disease(DISEASES["tumours"], frame, None, thresholds=thresholds, set_thresholds=bars)
    metrics = read_metrics(folder)
    metrics["diseases"]["tumours"] = result
    monkeypatch.setattr("sslmri.dashboard.model_evidence.read_metrics", lambda folder: metrics)
    app = open_page("pages/performance.py")
    choose(app, "Disease", "tumours")
    sets = table_of(app, "coverage, slices").set_index("class")
    assert sets["in the set from"].tolist() == ["always", "0.25", "0.25", "0.25"]
    assert escape_markdown("In every set because too few validation groups show it: no tumour.") in words_of(app)
    overall = table_of(app, "subjects")["measure"].tolist()
    assert f"Specificity of any disease, flagged from {head.threshold_high:.2f}" in overall


@pytest.fixture
def published(configured: ModelCard, monkeypatch: pytest.MonkeyPatch) -> str:
    """Returns a disease whose evidence stands for that of the other protocol too, with people shared."""
    found = read_metrics(configured.folder / "evidence")
    shared = read_metrics(configured.folder / "evidence") | {"protocol": "as-published"}
    for result in shared["diseases"].values():
        result["accuracy"]["raw"] = result["accuracy"]["value"] = result["accuracy"]["low"] = 0.987
        result["accuracy"]["high"] = 0.99
        result["n_slices"], result["n_shared_groups"] = 4321, 7
    by_protocol = {"group-disjoint": found, "as-published": shared}
    monkeypatch.setattr("sslmri.dashboard.model_evidence.find_metrics", lambda card, protocol: by_protocol[protocol])
    curves = find_roc(configured, DISEASES["tumours"])
    monkeypatch.setattr("sslmri.dashboard.model_evidence.find_roc", lambda card, disease, protocol: curves)
    return "tumours"


def test_both_protocols_are_always_in_sight(published: str) -> None:
    app = open_page("pages/performance.py")
    choose(app, "Disease", published)
    for protocol, said in (("group-disjoint", "no group is on two sides"), ("as-published", "people are shared")):
        choose(app, "Protocol", protocol)
        assert f"Protocol **{escape_markdown(protocol)}**" in words_of(app)
        assert said in words_of(app)
        table = table_of(app, "people shared")
        accuracy = table[table["measure"] == "Accuracy, slices"].set_index("protocol")
        assert accuracy.loc["as-published", "figure (95 % interval)"].startswith("0.99")
        assert accuracy["people shared"].to_dict() == {"group-disjoint": "no", "as-published": "yes (7 groups)"}
        assert accuracy.loc["as-published", "test slices"] == 4321
        assert {"majority class", "1-NN on pixels", "PCA + logistic", "test groups"} <= set(table.columns)


@pytest.mark.parametrize(("unit", "says"), [("subject", "one subject"), ("group", "A group is a person where")])
def test_performance_says_what_a_group_is(unit: str, says: str, configured: ModelCard, monkeypatch) -> None:
    metrics = read_metrics(configured.folder / "evidence")
    for result in metrics["diseases"].values():
        result["unit"] = unit
    monkeypatch.setattr("sslmri.dashboard.model_evidence.read_metrics", lambda folder: metrics)
    words = words_of(open_page("pages/performance.py"))
    assert says in words
    assert f"Confusion matrix, {unit}s" in words
