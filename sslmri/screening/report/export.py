"""Screenings as PDF, JSON and CSV. JSON and CSV are made of the export document; no report of a page names a file."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sslmri.files import neutralised
from sslmri.models.cards import INTENDED_USE, ModelCard
from sslmri.models.evidence import Metrics
from sslmri.models.history import created_now
from sslmri.models.metrics import DiseaseMetrics
from sslmri.screening.messages import evidence_of, limits
from sslmri.screening.outcome import Entry, ScreeningSummary, document
from sslmri.text import in_order

FORMAT = "sslmri-report-3"
_REVIEW = ("reading", "text", "initials", "agrees", "reviewed_at")
_COLUMNS = (
    "scan", "n_files", "sha256", "status", "reason", "is_brain_mri", "sequence.name", "sequence.from", "disease",
    "verdict", "probability_any", "flagged_from", "not_flagged_below", "site_patients", "probabilities", "top_class",
    "prediction_set", "coverage", "peak", "peak_x", "peak_y", "key_slice", "ventricles", "evans_index", "evidence",
    *(f"review.{key}" for key in _REVIEW), "screened_at", "source", "modality", "orientation", "n_file_slices",
    "warnings", "model_sha256", "notice",
)  # fmt: skip


def report_pdf(card: ModelCard, entries: Sequence[Entry], metrics: Metrics | None) -> bytes:
    """Returns the report as an A4 PDF: a page of all scans where there are several, then each scan with its images."""
    from sslmri.screening.report.pdf import draw_report  # fpdf2, which nothing else needs

    return draw_report(card, entries, metrics, created_now())


def report_json(card: ModelCard, entries: Sequence[Entry], metrics: Metrics | None) -> bytes:
    """Returns the report as JSON: the model, and the export document, acquisition and reviews of each scan."""
    content = {
        "format": FORMAT,
        "notice": INTENDED_USE,
        "created": created_now(),
        "model": card.name,
        "model_sha256": card.sha256,
        "n_training_groups": card.training.counts.groups,
        "classifiers": {key: _classifier(card, key, metrics) for key in card.heads},
        "scans": [document(entry, card.sha256, _grades(card, metrics)) for entry in entries],
        "acquisitions": [{"scan": entry.number, **_acquisition(entry)} for entry in entries],
        "reviews": [
            {"scan": entry.number, "disease": key, **review}
            for entry in entries
            for key, review in _reviews(entry).items()
        ],
    }
    return (_dumps(content, indent=1) + "\n").encode("utf-8", errors="backslashreplace")


def report_csv(card: ModelCard, entries: Sequence[Entry], metrics: Metrics | None) -> bytes:
    """Returns the export documents as CSV, one row for each scan and disease; formulas are neutralised.

    The keys are those of the JSON, nested ones joined by a dot. ``reason`` says why a file was refused or why a
    classifier was not assessed. The column ``file`` is there on the command line only.
    """
    grades = _grades(card, metrics)
    has_files = any(entry.file is not None for entry in entries)
    text = io.StringIO()
    labels = dict.fromkeys(label for key in in_order(card.heads) for label in card.heads[key].classes)
    at = _COLUMNS.index("probabilities")
    probabilities = [f"probabilities.{label}" for label in labels]
    columns = ("scan", *(("file",) if has_files else ()), *_COLUMNS[1:at], *probabilities, *_COLUMNS[at + 1 :])
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        for row in _rows(entry, document(entry, card.sha256, grades)):
            writer.writerow({key: neutralised(value) for key, value in row.items()})
    return text.getvalue().encode("utf-8", errors="backslashreplace")  # names of files may be any bytes


def json_line(card: ModelCard, entry: Entry, metrics: Metrics | None) -> str:
    """Returns the export document of a scan in one line."""
    return _dumps(document(entry, card.sha256, _grades(card, metrics)))


def _dumps(content: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(content, indent=indent, ensure_ascii=indent is None, allow_nan=False)


def _grades(card: ModelCard, metrics: Metrics | None) -> dict[str, str]:
    return {key: evidence.grade.grade for key in card.heads if (evidence := evidence_of(metrics, key))}


def _classifier(card: ModelCard, disease: str, metrics: Metrics | None) -> dict[str, Any]:
    head = card.heads[disease]
    return {
        "untrained_classes": list(head.untrained),
        "threshold_rule": head.threshold_rule,
        "set_rule": head.set_rule,
        "saliency_scale": head.saliency_scale,
        "evidence": _evidence(evidence_of(metrics, disease)),
        "limits": limits(card, disease),
    }


def _evidence(result: DiseaseMetrics | None) -> dict[str, Any] | None:
    if result is None:
        return None
    return {
        **asdict(result.grade),
        "n_groups": result.slices.n_groups,
        "unit": result.unit,
        "n_slices": result.slices.n_cases,
        "auroc": asdict(result.groups.auroc),
        "accuracy": asdict(result.slices.accuracy),
    }


def _acquisition(entry: Entry) -> dict[str, Any]:
    summary = entry.outcome
    if not isinstance(summary, ScreeningSummary):
        return {}
    return {
        "screened_at": summary.created,
        "source": summary.source,
        "modality": summary.modality,
        "spacing_mm": summary.spacing_mm,
        "orientation": summary.orientation,
        "slice_numbers": list(summary.slice_numbers),
        "n_file_slices": summary.n_file_slices,
    }


def _reviews(entry: Entry) -> dict[str, dict[str, Any]]:
    findings = entry.outcome.findings if isinstance(entry.outcome, ScreeningSummary) else {}
    return {key: asdict(own) | {"agrees": own.agrees_with(findings[key])} for key, own in entry.reviews.items()}


def _rows(entry: Entry, content: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yields the rows of a scan: its document's keys, flattened."""
    acquisition = {key: value for key, value in _acquisition(entry).items() if key in _COLUMNS}
    shared = {key: value for key, value in content.items() if key not in ("sequence", "findings")} | acquisition
    shared |= {f"sequence.{key}": value for key, value in content["sequence"].items()}
    shared["warnings"] = " ".join(content["warnings"])
    for finding in content["findings"]:
        x, y = finding["peak_xy"] or (None, None)
        review = _reviews(entry).get(finding["disease"], {})
        yield {
            **shared,
            **{key: value for key, value in finding.items() if key not in ("probabilities", "peak_xy")},
            "prediction_set": None if finding["prediction_set"] is None else " ".join(finding["prediction_set"]),
            **{f"probabilities.{label}": value for label, value in (finding["probabilities"] or {}).items()},
            **{f"review.{key}": value for key, value in review.items()},
            "peak_x": x,
            "peak_y": y,
        }
    if not content["findings"]:
        yield shared
