"""The report: what a reader of the paper alone must know stands on it, and nothing that says who the patient is."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pypdfium2
import pytest

from sslmri.diseases import DISEASES, Notice, class_title
from sslmri.evidence.verdict import Verdict
from sslmri.models.cards import INTENDED_USE
from sslmri.models.evidence import Metrics, read_evidence
from sslmri.screening import messages
from sslmri.screening.outcome import Entry, Refusal, Review, ScreeningSummary, notice_line
from sslmri.screening.report import export
from sslmri.screening.report.export import report_csv, report_json, report_pdf
from sslmri.screening.report.images import key_images
from sslmri.screening.report.pdf_page import latin
from sslmri.screening.screener import Screener
from tests.conftest import as_scan

NAME = "DOE^JANE 1951-02-03.png"
REASON = "Trained on T2 slices; this scan does not resemble them."
WHEN = "2026-01-02T03:04:05+00:00"
REFUSED = Refusal("This is a text file.", "f" * 64)


@pytest.fixture(scope="module")
def screener(model_folder) -> Screener:
    return Screener.load(model_folder)


@pytest.fixture
def entry(screener, phantom) -> Entry:
    """Returns a screened volume of known orientation for which all four classifiers were assessed."""
    screening = screener.screen(as_scan(phantom, NAME))
    findings = {
        key: replace(finding, verdict=verdict, reason=None, key_slice=24)
        for (key, finding), verdict in zip(screening.summary.findings.items(), VERDICTS, strict=True)
    }
    summary = replace(screening.summary, findings=findings, reason=None, orientation="SPL", spacing_mm=(4.0, 1.0, 1.5),
                      modality="MR", n_file_slices=48, slice_numbers=(24,))  # fmt: skip
    return Entry(1, summary, images=key_images(screener.card, summary, screening.arrays))


VERDICTS = (Verdict.FLAGGED, Verdict.INCONCLUSIVE, Verdict.NOT_FLAGGED, Verdict.NOT_FLAGGED)


@pytest.fixture(scope="module")
def metrics(model_folder) -> Metrics | None:
    return read_evidence(model_folder / "evidence", Metrics)


def facts(entry: Entry) -> ScreeningSummary:
    assert isinstance(entry.outcome, ScreeningSummary)
    return entry.outcome


def changed(entry: Entry, **changes: Any) -> Entry:
    return replace(entry, outcome=replace(facts(entry), **changes))


def silenced(entry: Entry, *diseases: str, reason: str = REASON) -> Entry:
    """Returns an entry in which some classifiers were not assessed."""
    findings = {
        key: replace(finding, verdict=Verdict.NOT_ASSESSED, reason=reason) if key in diseases else finding
        for key, finding in facts(entry).findings.items()
    }
    return changed(entry, findings=findings)


def pages_of(pdf: bytes) -> list[str]:
    document = pypdfium2.PdfDocument(pdf)
    return [" ".join(page.get_textpage().get_text_range().split()) for page in document]


def n_pictures(pdf: bytes, page: int = 0) -> int:
    images = pypdfium2.PdfDocument(pdf)[page].get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_IMAGE])
    return len(list(images))


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_every_page_says_intended_use_model_and_time(screener, entry, metrics, monkeypatch):
    monkeypatch.setattr(export, "created_now", lambda: WHEN)
    pages = pages_of(report_pdf(screener.card, [entry] * 3, metrics))
    assert len(pages) == 5
    for number, page in enumerate(pages, start=1):
        assert INTENDED_USE in page
        assert screener.card.sha256 in page
        assert "2026-01-02 03:04 UTC" in page
        assert f"page {number} of 5" in page


def test_the_page_of_a_scan_has_its_results_and_their_evidence(screener, entry, metrics):
    page = pages_of(report_pdf(screener.card, [entry], metrics))[0]
    assert facts(entry).sha256 in page
    assert "4.00 x 1.00 x 1.50 mm" in page
    assert "1 of 48 analysed" in page
    for warning in facts(entry).warnings:
        assert notice_line(warning) in page
    for key, finding in facts(entry).findings.items():
        assert DISEASES[key].title in page
        assert finding.verdict in page
        assert messages.probability_line(finding) in page
        assert (messages.set_line(finding) or "") in page
        result = metrics.diseases[key]
        grade = f"{result.grade.grade.capitalize()} evidence. On unseen patients ({result.slices.n_groups}"
        assert grade in page
        area = result.groups.auroc
        shown = f"({area.low:.2f} to {area.high:.2f})" if area.value else "AUROC of any disease unknown"
        assert shown in page
    assert page.count("Not reviewed by a clinician.") == 5


def test_each_finding_has_the_slice_and_the_map_with_a_scale_in_logits(screener, entry, metrics):
    pdf = report_pdf(screener.card, [entry], metrics)
    n_maps = sum(images.overlay is not None for images in entry.images.values())
    assert 0 < n_maps == sum(f.top_class != DISEASES[f.disease].reference for f in facts(entry).findings.values())
    assert n_pictures(pdf) == 4 + 2 * n_maps
    assert pages_of(pdf)[0].count("logits or more") == n_maps


def test_a_classifier_that_was_not_assessed_shows_its_reason_and_neither_number_nor_map(screener, entry, metrics):
    silent = silenced(entry, "ms")
    pdf = report_pdf(screener.card, [silent], metrics)
    page = pages_of(pdf)[0]
    block = page[page.index("Multiple sclerosis") : page.index("Parkinson's disease")]
    assert block.split() == f"Multiple sclerosis not assessed {REASON} Not reviewed by a clinician.".split()
    shown = [images for disease, images in entry.images.items() if disease != "ms"]
    assert n_pictures(pdf) == sum(3 if images.overlay else 1 for images in shown)
    findings = json.loads(report_json(screener.card, [silent], metrics))["scans"][0]["findings"]
    finding = next(finding for finding in findings if finding["disease"] == "ms")
    answer = ("top_class", "probabilities", "probability_any", "prediction_set", "coverage", "peak", "key_slice")
    assert [finding[key] for key in answer] == [None] * len(answer)
    (row,) = [row for row in rows_of(report_csv(screener.card, [silent], metrics)) if row["disease"] == "ms"]
    assert [row[key] for key in ("top_class", "probability_any", "probabilities.normal", "coverage")] == [""] * 4
    assert (row["verdict"], row["reason"]) == ("not assessed", REASON)


def test_a_scan_that_is_not_brain_mri_has_one_sentence_and_no_image(screener, entry, metrics):
    sentence = "Not recognised as brain MRI."
    silent = changed(silenced(entry, *DISEASES, reason=sentence), is_brain_mri=False, reason=sentence)
    pdf = report_pdf(screener.card, [silent], metrics)
    assert pages_of(pdf)[0].count(sentence) == 1
    assert n_pictures(pdf) == 0


def test_a_scan_of_unknown_orientation_has_no_labels_of_left_and_right(screener, entry, metrics):
    unknown = changed(entry, orientation=None, spacing_mm=None)
    page = pages_of(report_pdf(screener.card, [unknown], metrics))[0]
    assert "unknown: left and right cannot be distinguished" in page
    assert page.count("Orientation unknown") == 4 + 1  # in the facts and below each slice
    assert " R L " not in page


@pytest.mark.parametrize(("orientation", "labels"), [("SPL", "ALPR"), ("LIP", "SPIA"), ("ASR", "IRSL"), (None, None)])
def test_labels_name_the_sides_of_the_patient_around_the_image(orientation, labels):
    assert messages.orientation_labels(orientation) == (labels and tuple(labels))


@pytest.mark.parametrize(
    ("reading", "text", "line"),
    [
        ("normal", "", "Reading of AB, 2026-01-02 03:04 UTC: normal."),
        ("multiple_sclerosis", "=old\nlesion", "Reading of AB, 2026-01-02 03:04 UTC: multiple sclerosis."),
        ("cannot_tell", "seen twice", "cannot tell. Not compared with the model"),
        ("other", "", "other. Not compared with the model"),
    ],
)
def test_a_reading_is_in_all_three_files(screener, entry, metrics, reading, text, line):
    review = Review(reading, text, "AB", WHEN)
    entries = [replace(entry, reviews={"ms": review})]
    page = pages_of(report_pdf(screener.card, entries, metrics))[0]
    assert line in page
    assert "1 of 4 findings reviewed by a clinician." in page
    (written,) = json.loads(report_json(screener.card, entries, metrics))["reviews"]
    assert (written["scan"], written["disease"], written["text"]) == (1, "ms", text)
    assert written["agrees"] == review.agrees_with(entry.outcome.findings["ms"])
    row = next(row for row in rows_of(report_csv(screener.card, entries, metrics)) if row["disease"] == "ms")
    assert row["review.reading"] == reading
    assert row["review.text"] == (f"'{text}" if text.startswith("=") else text)


@pytest.mark.parametrize(
    ("verdict", "reading", "agrees"),
    [
        (Verdict.FLAGGED, "multiple_sclerosis", True),
        (Verdict.FLAGGED, "normal", False),
        (Verdict.NOT_FLAGGED, "multiple_sclerosis", False),
        (Verdict.NOT_FLAGGED, "normal", True),
        (Verdict.INCONCLUSIVE, "normal", None),
        (Verdict.NOT_ASSESSED, "multiple_sclerosis", None),
        (Verdict.FLAGGED, "cannot_tell", None),
        (Verdict.NOT_FLAGGED, "other", None),
    ],
)
def test_a_reading_is_compared_with_the_verdict(entry, verdict, reading, agrees):
    finding = replace(entry.outcome.findings["ms"], verdict=verdict)
    review = Review(reading, "", "AB", WHEN)
    assert review.agrees_with(finding) is agrees
    start = {True: "Agrees", False: "Disagrees", None: "Not compared"}[agrees]
    assert messages.agreement_line(review, finding).startswith(start)


def test_a_list_has_a_row_for_each_scan_and_says_why_a_file_was_refused(screener, entry, metrics):
    entries = [replace(silenced(entry, "ms"), number=3), Entry(8, REFUSED)]
    first, second, _ = pages_of(report_pdf(screener.card, entries, metrics))
    assert "1 scan screened, 1 refused" in first
    assert f"8 {'f' * 12} refused: {REFUSED.reason}" in first
    assert f"3 {facts(entry).sha256[:12]}" in first
    assert "not assessed" in first
    assert second.split("groups. ")[1].startswith("Scan 3")
    scans = json.loads(report_json(screener.card, entries, metrics))["scans"]
    assert [scan["scan"] for scan in scans] == [3, 8]
    assert scans[0].keys() == scans[1].keys()


def test_a_file_that_was_refused_alone_has_a_page(screener, metrics):
    first = pages_of(report_pdf(screener.card, [Entry(1, REFUSED)], metrics))[0]
    assert REFUSED.reason in first
    assert "f" * 64 in first


def test_the_same_screening_makes_the_same_bytes(screener, entry, metrics, monkeypatch):
    monkeypatch.setattr(export, "created_now", lambda: WHEN)
    for make in (report_pdf, report_json, report_csv):
        assert make(screener.card, [entry], metrics) == make(screener.card, [entry], metrics)


def test_a_model_without_evidence_says_so(screener, entry):
    page = pages_of(report_pdf(screener.card, [entry], None))[0]
    assert page.count(messages.NOT_EVALUATED) == 4


def test_a_class_without_training_example_has_no_number(screener, entry, metrics, monkeypatch):
    monkeypatch.setattr("sslmri.models.cards.HeadCard.untrained", property(lambda head: head.classes[-1:]))
    page = pages_of(report_pdf(screener.card, [entry], metrics))[0]
    for finding in facts(entry).findings.values():
        last = class_title(list(finding.probabilities)[-1])
        assert f"{last} not trained" in page


def test_csv_and_json_agree_on_every_probability_and_set(screener, entry, metrics):
    (scan,) = json.loads(report_json(screener.card, [entry], metrics))["scans"]
    rows = rows_of(report_csv(screener.card, [entry], metrics))
    for row, finding in zip(rows, scan["findings"], strict=True):
        shown = {key: row[f"probabilities.{key}"] for key in DISEASES[finding["disease"]].classes}
        assert {key: float(value) for key, value in shown.items()} == finding["probabilities"]
        assert row["prediction_set"] == " ".join(finding["prediction_set"] or [])
        assert row["evidence"] == finding["evidence"]
    assert {row["model_sha256"] for row in rows} == {screener.card.sha256}
    assert {row["notice"] for row in rows} == {INTENDED_USE}
    assert "file" not in rows[0]


def test_an_entry_holds_neither_arrays_nor_the_name_of_a_file(entry):
    pictures = [picture for pair in entry.images.values() for picture in (pair.scan, pair.overlay or b"")]
    assert 0 < sum(map(len, pictures)) < 400_000
    assert NAME not in repr(facts(entry))
    assert not [value for value in vars(facts(entry)).values() if isinstance(value, np.ndarray)]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("5 \u2013 6 \u2026 \u201cso\u201d", '5 - 6 ... "so"'),
        ("a\nb\tc\x00", "a b c?"),
        ("\u0141\u00f3d\u017a", "?\u00f3dz"),
        ("\u4e2d\u6587", "??"),
    ],
)
def test_text_is_made_safe_for_the_core_fonts(text, written):
    assert latin(text) == written


def test_many_warnings_move_a_finding_to_the_next_page_as_a_whole(screener, entry, metrics):
    notices = tuple(Notice(None, f"Warning {number}. " + "word " * 40) for number in range(12))
    pages: Sequence[str] = pages_of(report_pdf(screener.card, [changed(entry, warnings=notices)], metrics))
    assert len(pages) == 3
    for disease in DISEASES.values():
        (page,) = [page for page in pages[:2] if f"{disease.title} " in page and "Slice 24 of 48" in page]
        assert page
