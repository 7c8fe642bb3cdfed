"""The report of one screening or a list, as PDF, CSV and JSON. No file name, no tag: a scan is a number and a hash."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sslmri.files import neutralised
from sslmri.models.cards import INTENDED_USE, ModelCard
from sslmri.models.history import created_now
from sslmri.screening.report.messages import evidence_of, limits_line, review_json
from sslmri.screening.report.report_data import Refusal, Reported, Review, Sheet, make_refusal, make_sheet

if TYPE_CHECKING:
    from sslmri.screening.screener import Finding, Screening

__all__ = ["Refusal", "Review", "Sheet", "make_refusal", "make_sheet", "report_csv", "report_json", "report_pdf"]

FORMAT = "sslmri-report-1"
Scans = Sequence["Reported | tuple[Screening, Mapping[str, Review]]"]
_COLUMNS = (
    "scan", "sha256", "scan_status", "reason", "screened_at", "source", "modality", "orientation", "n_file_slices",
    "disease", "applicable", "class", "probability", "is_learned", "is_predicted", "is_in_90_percent_set", "status",
    "threshold_low", "threshold_high", "key_slice", "coverage_of_predicted", "evidence", "auroc", "auroc_low",
    "auroc_high", "n_test_groups", "review", "override", "review_reason", "reviewed_at", "warnings", "model",
    "model_sha256", "created", "intended_use",
)  # fmt: skip


def report_pdf(
    card: ModelCard, scans: Scans, metrics: Mapping[str, Any] | None, numbers: Sequence[int] | None = None
) -> bytes:
    """Returns the report as an A4 PDF: a page of all scans where there are several, then each scan with its pictures.

    Args:
        card: the model's.
        scans: screenings with their reviews by disease, or what was kept of them.
        metrics: the model's evidence on groups it never saw, or None where it was not measured on any.
        numbers: of the scans; from 1 on where none are given.
    """
    from sslmri.screening.report.pdf import draw_report  # fpdf2, which nothing else needs

    return draw_report(card, _numbered(scans, numbers), metrics, created_now())


def report_json(
    card: ModelCard, scans: Scans, metrics: Mapping[str, Any] | None, numbers: Sequence[int] | None = None
) -> bytes:
    """Returns the report as JSON; see ``report_pdf``."""
    content = {
        "format": FORMAT,
        "intended_use": INTENDED_USE,
        "created": created_now(),
        "model": card.name,
        "model_sha256": card.sha256,
        "n_training_groups": card.encoder.n_groups,
        "scans": [
            {"scan": number, **_scan_json(card, scan, metrics)} for number, scan in _numbered(scans, numbers).items()
        ],
    }
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(
        "utf-8", errors="backslashreplace"
    )


def report_csv(
    card: ModelCard, scans: Scans, metrics: Mapping[str, Any] | None, numbers: Sequence[int] | None = None
) -> bytes:
    """Returns the report as CSV, formulas neutralised; see ``report_pdf``.

    One row for each scan, disease and class; one row for a head that does not apply and for a file that was refused.
    """
    content = json.loads(report_json(card, scans, metrics, numbers))
    shared = {key: content[key] for key in ("created", "model", "model_sha256", "intended_use")}
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for scan in content["scans"]:
        for row in _scan_rows(scan):
            writer.writerow({key: neutralised(value) for key, value in (shared | row).items()})
    return text.getvalue().encode("utf-8")


def _numbered(scans: Scans, numbers: Sequence[int] | None) -> dict[int, Reported]:
    sheets = [make_sheet(*scan) if isinstance(scan, tuple) else scan for scan in scans]
    return dict(zip(numbers or range(1, len(sheets) + 1), sheets, strict=True))


def _scan_json(card: ModelCard, scan: Reported, metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    if isinstance(scan, Refusal):
        return {"sha256": scan.sha256, "scan_status": "refused", "reason": scan.reason, "findings": []}
    screening = scan.screening
    return {
        "sha256": screening.sha256,
        "scan_status": "screened",
        "reason": screening.not_brain_reason,
        "screened_at": screening.created,
        "source": screening.source,
        "modality": screening.modality,
        "spacing_mm": screening.spacing_mm,
        "orientation": screening.orientation,
        "slice_numbers": list(screening.slice_numbers),
        "n_file_slices": screening.n_file_slices,
        "is_brain": screening.is_brain,
        "warnings": list(screening.warnings),
        "findings": [_finding_json(card, scan, finding, metrics) for finding in screening.findings],
    }


def _finding_json(
    card: ModelCard, sheet: Sheet, finding: "Finding", metrics: Mapping[str, Any] | None
) -> dict[str, Any]:
    head = card.heads[finding.disease]
    return {
        **finding.to_json(),
        "key_slice": sheet.screening.slice_numbers[finding.key_slice] if finding.applicable else None,
        "saliency_scale": finding.saliency_scale,
        "unlearned": list(head.unlearned),
        "threshold_rule": head.threshold_rule,
        "set_rule": head.set_rule,
        "evidence": evidence_of(metrics, finding.disease),
        "limits": limits_line(card, finding.disease),
        "review": review_json(finding, sheet.reviews.get(finding.disease)),
    }


def _scan_rows(scan: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the rows of a scan, as ``report_json`` writes it."""
    own = scan | {"warnings": " ".join(scan.get("warnings", []))}
    return [own | row for finding in scan["findings"] for row in _finding_rows(finding)] or [own]


def _said(agrees: bool | None, is_reviewed: bool) -> str:
    if not is_reviewed:
        return "not reviewed"
    return "agrees" if agrees else "does not agree"


def _finding_rows(finding: dict[str, Any]) -> list[dict[str, Any]]:
    evidence, review = finding["evidence"] or {}, finding["review"] or {}
    area = evidence.get("auroc_of_any_disease_per_group", {})
    shared = {
        **{key: finding[key] for key in ("disease", "applicable", "reason", "status", "key_slice")},
        "threshold_low": finding["threshold_low"],
        "threshold_high": finding["threshold_high"],
        "coverage_of_predicted": finding["coverage"],
        "evidence": evidence.get("grade"),
        "auroc": area.get("value"),
        "auroc_low": area.get("low"),
        "auroc_high": area.get("high"),
        "n_test_groups": evidence.get("n_groups"),
        "review": _said(review.get("agrees"), bool(review)),
        "override": review.get("override"),
        "review_reason": review.get("reason"),
        "reviewed_at": review.get("reviewed_at"),
    }
    if not finding["applicable"]:
        return [shared]
    return [
        shared
        | {
            "class": label,
            "probability": probability,
            "is_learned": label not in finding["unlearned"],
            "is_predicted": label == finding["predicted"],
            "is_in_90_percent_set": label in finding["prediction_set"],
        }
        for label, probability in finding["probabilities"].items()
    ]
