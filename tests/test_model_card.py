"""The model card as a document: what it says of a model, and that nothing in a file becomes markup."""

from dataclasses import replace
from pathlib import Path

import pytest

from sslmri.diseases import DISEASES
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import GateTable, Metrics, find_evidence
from sslmri.models.folder import read_model_card
from sslmri.models.model_card import model_card_markdown

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def shipped() -> ModelCard:
    return read_model_card(ROOT / "models" / "default")


def test_the_card_of_the_shipped_model_has_every_section_result_and_limit(shipped):
    metrics, gate = find_evidence(shipped, Metrics), find_evidence(shipped, GateTable)
    assert metrics is not None
    text = model_card_markdown(shipped, metrics, gate)
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        *("Intended use", "Training data", "Performance", "When no result is given", "Known limits", "Weights")
    ]
    assert shipped.sha256 in text
    accuracy = metrics.diseases["tumours"].slices.accuracy
    baseline = metrics.diseases["tumours"].baselines["nearest_neighbour"].accuracy
    assert f"| Tumour | Accuracy, slices | {accuracy} | {baseline:.2f} (1-NN on pixels) |" in text
    for limit in (limit for disease in DISEASES.values() for limit in disease.limits):
        assert limit in text
    assert "OASIS" in text
    assert shipped.evidence_note is not None
    assert shipped.evidence_note in text


def test_every_row_of_a_table_is_as_long_as_its_head(shipped):
    text = model_card_markdown(shipped, find_evidence(shipped, Metrics), find_evidence(shipped, GateTable))
    for table in (part for part in text.split("\n\n") if part.startswith("| ")):
        assert len({line.count(" | ") for line in table.splitlines()}) == 1, table


def test_a_model_that_was_not_measured_says_so(shipped):
    text = model_card_markdown(shipped, None, None)
    assert "Not evaluated: run `python train.py evaluate`." in text
    assert "How many scans it rejects was not measured." in text
    files = {name: value for name, value in shipped.files.items() if not name.startswith("bank")}
    assert "**not checked**" in model_card_markdown(replace(shipped, files=files), None, None)


def test_nothing_in_a_file_becomes_markup(shipped):
    gate = GateTable(encoder_sha256="0" * 64, created="", rule="[a](http://b)", n_cases=1, rows=(), diseases={})
    text = model_card_markdown(replace(shipped, name="<b>x</b> | *y*\n# z"), None, gate)
    assert text.startswith("# Model card: \\<b\\>x\\</b\\> \\| \\*y\\* # z\n")
    assert "\\[a\\](http://b)" in text
