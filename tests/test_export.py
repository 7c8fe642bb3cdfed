"""Exported tables, and what a class without training example looks like."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from sslmri.dashboard.screening.viewer import _shown_classes
from sslmri.dashboard.section import to_csv
from sslmri.models.cards import Counts
from sslmri.screening.outcome import Entry, Finding, Screening
from sslmri.screening.report.export import report_json
from sslmri.screening.screener import Screener
from tests.conftest import as_scan


@pytest.fixture(scope="module")
def screener(model_folder) -> Screener:
    """Returns a screener whose tumour classifier has no training example of one class."""
    trained = Screener.load(model_folder)
    head = trained.card.heads["tumours"]
    counts = {**head.counts, "pituitary": {**head.counts["pituitary"], "train": Counts(0, 0)}}
    card = replace(trained.card, heads={**trained.card.heads, "tumours": replace(head, counts=counts)})
    return Screener(replace(trained._model, card=card))


@pytest.fixture
def screening(screener, phantom) -> Screening:
    return screener.screen(as_scan(phantom))


@pytest.fixture
def finding(screening) -> Finding:
    return replace(
        screening.summary.findings["tumours"],
        probabilities={"no_tumour": 0.5, "glioma": 0.3, "meningioma": 0.2, "pituitary": 0.0},
    )


def test_json_holds_the_rules_of_each_classifier_and_the_slices_that_were_screened(screener, screening):
    content = json.loads(report_json(screener.card, [Entry(1, screening.summary)], None))
    for key, head in screener.card.heads.items():
        found = content["classifiers"][key]
        assert (found["threshold_rule"], found["set_rule"]) == (head.threshold_rule, head.set_rule)
        assert found["untrained_classes"] == list(head.untrained)
    assert content["classifiers"]["tumours"]["untrained_classes"] == ["pituitary"]
    (acquisition,) = content["acquisitions"]
    assert (acquisition["slice_numbers"], acquisition["n_file_slices"]) == ([1], 1)
    assert "Tumour: Pituitary tumour cannot be predicted: no training example." in content["scans"][0]["warnings"]


def test_cells_of_a_table_that_a_spreadsheet_would_run_are_neutralised():
    assert to_csv(pd.DataFrame({"=a": ["+b", "c"]})) == b"'=a\n'+b\nc\n"


def test_a_class_without_training_example_has_no_map_to_choose(screener, finding):
    assert list(_shown_classes(screener.card.heads["tumours"], finding)) == ["glioma", "meningioma", "no_tumour"]
