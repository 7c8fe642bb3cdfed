"""Saved findings: what a reader of the file alone must know stands in it."""

import io
import json
from dataclasses import replace

import pandas as pd
import pytest

from sslmri.dashboard.charts import probability_bars
from sslmri.dashboard.export import to_csv
from sslmri.dashboard.screening.viewer import _shown_classes
from sslmri.diseases import DISEASES
from sslmri.screening.report.export import report_csv, report_json
from sslmri.screening.screener import Finding, Screener, Screening
from tests.conftest import as_scan


@pytest.fixture(scope="module")
def screener(model_folder) -> Screener:
    """Returns a screener whose tumour head says that it never learned one of its classes."""
    taught = Screener.load(model_folder)
    head = taught.card.heads["tumours"]
    counts = {**head.counts, "pituitary": {**head.counts["pituitary"], "train": [0, 0]}}
    card = replace(taught.card, heads={**taught.card.heads, "tumours": replace(head, counts=counts)})
    return Screener(replace(taught._model, card=card))


@pytest.fixture
def screening(screener, phantom) -> Screening:
    found = screener.screen(as_scan(phantom))
    silent = {"no_tumour": 0.5, "glioma": 0.3, "meningioma": 0.2, "pituitary": 0.0}
    applying = [replace(finding, applicable=True, reason=None) for finding in found.findings]
    findings = [
        replace(finding, probabilities=silent, predicted="no_tumour") if finding.disease == "tumours" else finding
        for finding in applying
    ]
    return replace(found, findings=tuple(findings))


def test_json_holds_thresholds_and_the_slices_that_were_screened(screener, screening):
    (scan,) = json.loads(report_json(screener.card, [(screening, {})], None))["scans"]
    for finding in scan["findings"]:
        head = screener.card.heads[finding["disease"]]
        assert (finding["threshold_low"], finding["threshold_high"]) == (head.threshold_low, head.threshold_high)
    assert (scan["slice_numbers"], scan["n_file_slices"]) == ([1], 1)


def test_csv_marks_a_class_that_was_never_learned_and_holds_the_warnings(screener, screening):
    table = pd.read_csv(io.BytesIO(report_csv(screener.card, [(screening, {})], None)))
    n_classes = sum(len(disease.classes) for disease in DISEASES.values())
    assert len(table) == n_classes
    assert table.loc[~table["is_learned"], ["disease", "class"]].to_numpy().tolist() == [["tumours", "pituitary"]]
    assert set(table["warnings"]) == {" ".join(screening.warnings)}
    assert "nobody in training was pituitary" in table["warnings"][0]


def test_csv_says_why_a_head_does_not_apply_and_gives_no_number(screener, screening):
    reason = "Every training slice was normal: this head cannot tell normal from any other class."
    first = replace(screening.findings[0], applicable=False, reason=reason)
    silent = replace(screening, findings=(first,))
    table = pd.read_csv(io.BytesIO(report_csv(screener.card, [(silent, {})], None)))
    assert table["reason"].tolist() == [reason]
    assert table[["class", "probability", "coverage_of_predicted"]].isna().all().all()


def test_cells_of_a_table_that_a_spreadsheet_would_run_are_neutralised():
    assert to_csv(pd.DataFrame({"=a": ["+b", "c"]})) == b"'=a\n'+b\nc\n"


def finding_of(screening: Screening) -> Finding:
    return next(finding for finding in screening.findings if finding.disease == "tumours")


def test_the_bars_say_never_learned_in_place_of_a_number(screening):
    background, bars, words, *_ = probability_bars(finding_of(screening), ("pituitary",)).data
    assert list(words.text) == ["\u20020.50", "\u20020.30", "\u20020.20", "\u2002never learned", "\u20020.50"]
    assert bars.x[3] is None
    assert list(background.marker.pattern.shape) == ["", "", "", "/", ""]


def test_a_class_that_was_never_learned_has_no_map_to_choose(screener, screening):
    assert _shown_classes(screener, finding_of(screening)) == ["no_tumour", "glioma", "meningioma"]
