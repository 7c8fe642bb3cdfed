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

from sslmri.diseases import DISEASES, class_title
from sslmri.evidence.evidence_io import read_metrics
from sslmri.models.cards import INTENDED_USE
from sslmri.screening.report import export
from sslmri.screening.report.export import Review, make_refusal, make_sheet, report_csv, report_json, report_pdf
from sslmri.screening.report.messages import orientation_labels
from sslmri.screening.report.pdf_page import latin
from sslmri.screening.screener import Finding, Screener, Screening
from tests.conftest import as_scan

NAME = "DOE^JANE 1951-02-03.png"
REASON = "This head learned from T2 slices; this scan is unlike them."
WHEN = "2026-01-02T03:04:05+00:00"


@pytest.fixture(scope="module")
def screener(model_folder) -> Screener:
    return Screener.load(model_folder)


@pytest.fixture
def screening(screener, phantom) -> Screening:
    """Returns a screening whose four heads apply, of a volume of known orientation."""
    found = screener.screen(as_scan(phantom, NAME))
    findings = tuple(replace(finding, applicable=True, reason=None) for finding in found.findings)
    return replace(found, findings=findings, not_brain_reason=None, orientation="SPL", spacing_mm=(4.0, 1.0, 1.5),
                   modality="MR", n_file_slices=48, slice_numbers=(24,))  # fmt: skip


@pytest.fixture(scope="module")
def metrics(model_folder) -> dict[str, Any]:
    return read_metrics(model_folder / "evidence")


def silenced(screening: Screening, disease: str, reason: str = REASON) -> Screening:
    """Returns a screening in which one head does not apply."""
    findings = [
        replace(finding, applicable=False, reason=reason) if finding.disease == disease else finding
        for finding in screening.findings
    ]
    return replace(screening, findings=tuple(findings))


def of(screening: Screening, disease: str) -> Finding:
    return next(finding for finding in screening.findings if finding.disease == disease)


def pages_of(pdf: bytes) -> list[str]:
    document = pypdfium2.PdfDocument(pdf)
    return [" ".join(page.get_textpage().get_text_range().split()) for page in document]


def n_pictures(pdf: bytes, page: int = 0) -> int:
    images = pypdfium2.PdfDocument(pdf)[page].get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_IMAGE])
    return len(list(images))


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_every_page_says_intended_use_model_and_time(screener, screening, metrics, monkeypatch):
    monkeypatch.setattr(export, "created_now", lambda: WHEN)
    pages = pages_of(report_pdf(screener.card, [(screening, {})] * 3, metrics))
    assert len(pages) == 5
    for number, page in enumerate(pages, start=1):
        assert INTENDED_USE in page
        assert screener.card.sha256 in page
        assert "2026-01-02 03:04 UTC" in page
        assert f"page {number} of 5" in page


def test_the_page_of_a_scan_says_what_its_answers_are_and_what_they_rest_on(screener, screening, metrics):
    page = pages_of(report_pdf(screener.card, [(screening, {})], metrics))[0]
    assert screening.sha256 in page
    assert "4.00 x 1.00 x 1.50 mm" in page
    assert "1 of 48 screened, number 24" in page
    for warning in screening.warnings:
        assert warning in page
    for finding in screening.findings:
        assert DISEASES[finding.disease].title in page
        assert finding.status in page
        assert f"{finding.probabilities[finding.predicted]:.2f}" in page
        assert f"flagged from {finding.threshold_high:.2f}, not flagged below {finding.threshold_low:.2f}" in page
        result = metrics["diseases"][finding.disease]
        assert f"{result['grade']['grade'].capitalize()} evidence. On {result['n_groups']} {result['unit']}" in page
        area = result["subject"]["auroc"]
        shown = f"({area['low']:.2f} to {area['high']:.2f})" if area["value"] else "AUROC of any disease unknown"
        assert shown in page
    assert page.count("90 % set:") == len(screening.findings)
    assert page.count("Not reviewed by a clinician.") == len(screening.findings) + 1


def test_each_finding_has_the_slice_and_the_map_with_a_scale_in_logits(screener, screening, metrics):
    pdf = report_pdf(screener.card, [(screening, {})], metrics)
    assert n_pictures(pdf) == 3 * len(screening.findings)
    assert pages_of(pdf)[0].count("logits or more") == len(screening.findings)


def test_a_head_that_does_not_apply_shows_its_reason_and_neither_number_nor_map(screener, screening, metrics):
    silent = silenced(screening, "ms")
    pdf = report_pdf(screener.card, [(silent, {})], metrics)
    page = pages_of(pdf)[0]
    block = page[page.index("Multiple sclerosis") : page.index("Parkinson's disease")]
    assert block.split() == f"Multiple sclerosis does not apply {REASON} Not reviewed by a clinician.".split()
    assert n_pictures(pdf) == 3 * (len(silent.findings) - 1)
    entry = json.loads(report_json(screener.card, [(silent, {})], metrics))["scans"][0]["findings"]
    finding = next(finding for finding in entry if finding["disease"] == "ms")
    answer = ("predicted", "probabilities", "prediction_set", "status", "coverage", "key_slice")
    assert [finding[key] for key in answer] == [None] * len(answer)
    (row,) = [row for row in rows_of(report_csv(screener.card, [(silent, {})], metrics)) if row["disease"] == "ms"]
    assert [row[key] for key in ("class", "probability", "status", "coverage_of_predicted")] == [""] * 4
    assert row["reason"] == REASON


def test_a_scan_that_is_no_brain_mri_has_one_sentence_and_no_picture(screener, screening, metrics):
    sentence = "This does not look like a brain MRI."
    silent = screening
    for disease in DISEASES:
        silent = silenced(silent, disease, sentence)
    silent = replace(silent, not_brain_reason=sentence)
    pdf = report_pdf(screener.card, [(silent, {})], metrics)
    assert pages_of(pdf)[0].count(sentence) == 1
    assert n_pictures(pdf) == 0


def test_a_scan_of_unknown_orientation_has_no_marks_of_left_and_right(screener, screening, metrics):
    unknown = replace(screening, orientation=None, spacing_mm=None)
    page = pages_of(report_pdf(screener.card, [(unknown, {})], metrics))[0]
    assert "unknown: left and right cannot be told" in page
    assert page.count("Orientation unknown") == len(screening.findings) + 1  # of the facts and below each slice
    assert " R L " not in page


@pytest.mark.parametrize(
    ("orientation", "marks"), [("SPL", ("R", "L")), ("LIP", ("A", "P")), ("ASR", ("L", "R")), (None, None)]
)
def test_marks_name_the_sides_of_the_patient_at_left_and_right_of_the_picture(orientation, marks):
    assert orientation_labels(orientation) == marks


@pytest.mark.parametrize(
    ("review", "says"),
    [
        (Review(True, {}, "", WHEN), "Clinician's review: agrees (2026-01-02 03:04 UTC)."),
        (Review(False, {}, "seen twice", WHEN), "Clinician's review: does not agree (2026-01-02 03:04 UTC). Reason: s"),
        (
            Review(False, {"ms": "normal"}, "=old\nlesion", WHEN),
            "overridden to normal (2026-01-02 03:04 UTC). Reason: =",
        ),
    ],
)
def test_a_review_stands_in_all_three_files(screener, screening, metrics, review, says):
    scans = [(screening, {"ms": review})]
    page = pages_of(report_pdf(screener.card, scans, metrics))[0]
    assert says in page
    assert "1 of 4 findings reviewed by a clinician." in page
    findings = json.loads(report_json(screener.card, scans, metrics))["scans"][0]["findings"]
    assert next(f["review"] for f in findings if f["disease"] == "ms")["reason"] == review.reason
    row = next(row for row in rows_of(report_csv(screener.card, scans, metrics)) if row["disease"] == "ms")
    assert row["override"] == review.override.get("ms", "")
    assert row["review_reason"] == (f"'{review.reason}" if review.reason.startswith("=") else review.reason)


def test_a_review_that_was_opened_and_left_open_is_no_review(screener, screening, metrics):
    scans = [(screening, {"ms": Review(None, {}, "", WHEN)})]
    assert "reviewed by a clinician." not in pages_of(report_pdf(screener.card, scans, metrics))[0].replace(
        "Not rev", ""
    )
    findings = json.loads(report_json(screener.card, scans, metrics))["scans"][0]["findings"]
    assert {json.dumps(finding["review"]) for finding in findings} == {"null"}


def test_no_file_name_is_in_any_report(screener, screening, metrics):
    refusal = make_refusal([NAME], f"{NAME}: Expected a PNG, got {NAME}.", None)
    named = replace(screening, name=NAME)
    for make in (report_pdf, report_json, report_csv):
        content = make(screener.card, [(named, {}), refusal], metrics)
        text = " ".join(pages_of(content)) if make is report_pdf else content.decode()
        assert "scan" in text
        for part in ("DOE", "JANE", "1951"):
            assert part not in text
            assert part.encode() not in content


def test_a_refusal_keeps_its_sentence_and_loses_names_of_every_file_of_a_series():
    sentence = "IM2.dcm and 9 more: Expected a head, got IM10.dcm of a knee."
    assert make_refusal(["IM10.dcm", "IM2.dcm"], sentence, None).reason == "Expected a head, got this file of a knee."


def test_a_list_has_a_row_for_each_scan_and_says_why_a_file_was_refused(screener, screening, metrics):
    refusal = make_refusal(["notes"], "notes: Expected a picture, got a text file.", "f" * 64)
    scans = [make_sheet(silenced(screening, "ms")), refusal]
    first, second, _ = pages_of(report_pdf(screener.card, scans, metrics, [3, 8]))
    assert "1 scan screened, 1 refused" in first
    assert f"8 {'f' * 12} refused: Expected a picture, got a text file." in first
    assert f"3 {screening.sha256[:12]}" in first
    assert "does not apply" in first
    assert second.split("groups. ")[1].startswith("Scan 3")
    numbers = [entry["scan"] for entry in json.loads(report_json(screener.card, scans, metrics, [3, 8]))["scans"]]
    assert numbers == [3, 8]


def test_a_file_that_was_refused_alone_has_a_page(screener, metrics):
    refusal = make_refusal(["notes"], "notes: Expected a picture, got a text file.", "f" * 64)
    first = pages_of(report_pdf(screener.card, [refusal], metrics))[0]
    assert "Expected a picture, got a text file." in first
    assert "f" * 64 in first


def test_the_same_screening_makes_the_same_bytes(screener, screening, metrics, monkeypatch):
    monkeypatch.setattr(export, "created_now", lambda: WHEN)
    for make in (report_pdf, report_json, report_csv):
        assert make(screener.card, [(screening, {})], metrics) == make(screener.card, [(screening, {})], metrics)


def test_a_model_without_evidence_says_so(screener, screening):
    page = pages_of(report_pdf(screener.card, [(screening, {})], None))[0]
    assert page.count("This head has not been evaluated on data it never saw.") == len(screening.findings)


def test_a_class_that_was_never_learned_has_no_number(screener, screening, metrics, monkeypatch):
    monkeypatch.setattr("sslmri.models.cards.HeadCard.unlearned", property(lambda head: head.classes[-1:]))
    page = pages_of(report_pdf(screener.card, [(screening, {})], metrics))[0]
    for finding in screening.findings:
        last = class_title(list(finding.probabilities)[-1])
        assert f"{last} never learned" in page


def test_csv_and_json_agree_on_every_probability(screener, screening, metrics):
    content = json.loads(report_json(screener.card, [(screening, {})], metrics))
    rows = rows_of(report_csv(screener.card, [(screening, {})], metrics))
    said = {
        (f["disease"], label): p for f in content["scans"][0]["findings"] for label, p in f["probabilities"].items()
    }
    assert {(row["disease"], row["class"]): float(row["probability"]) for row in rows} == said
    assert {row["model_sha256"] for row in rows} == {screener.card.sha256}
    assert {row["intended_use"] for row in rows} == {INTENDED_USE}
    in_set = {(f.disease, label) for f in screening.findings for label in f.prediction_set}
    assert {(row["disease"], row["class"]) for row in rows if row["is_in_90_percent_set"] == "True"} == in_set


def test_a_sheet_holds_no_pixels_no_maps_and_no_name(screener):
    voxels = np.random.default_rng(0).uniform(0, 1000, (6, 96, 80)).astype(np.float32)
    sheet = make_sheet(screener.screen(as_scan(voxels, NAME)))
    assert (sheet.screening.name, sheet.screening.slices.size, sheet.screening.features.size) == ("", 0, 0)
    assert all(finding.saliency.size == 0 for finding in sheet.screening.findings)
    pictures = [picture for pair in sheet.pictures.values() for picture in (pair.scan, pair.overlay)]
    assert sum(map(len, pictures)) < 400_000


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


def test_many_warnings_move_a_finding_to_the_next_page_as_a_whole(screener, screening, metrics):
    long = replace(screening, warnings=tuple(f"Warning {number}. " + "word " * 40 for number in range(12)))
    pages: Sequence[str] = pages_of(report_pdf(screener.card, [(long, {})], metrics))
    assert len(pages) == 3
    for disease in DISEASES.values():
        (page,) = [page for page in pages[:2] if f"{disease.title} " in page and "Map of" in page]
        assert page
