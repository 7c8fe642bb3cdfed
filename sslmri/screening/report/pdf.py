"""The PDF of a report: all scans on one page where there are several, each scan, and what its heads are worth."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fpdf import Align
from fpdf.enums import TableBordersLayout
from fpdf.fonts import FontFace

from sslmri.diseases import DISEASES
from sslmri.models.cards import ModelCard
from sslmri.screening.report import messages as words
from sslmri.screening.report.pdf_finding import draw_finding
from sslmri.screening.report.pdf_page import BODY, FAINT, INK, LEFT, QUIET, SMALL, WIDTH, PdfPage, latin
from sslmri.screening.report.report_data import Refusal, Reported, Sheet
from sslmri.text import count, in_order, proportion

if TYPE_CHECKING:
    from sslmri.screening.screener import Finding

_LABEL = 30.0  # mm
_HASH_DIGITS = 12
_OVERVIEW = (
    "Beside each status stands the probability of any class but the healthy one; a head that does not apply has none."
)
_SCALE = (
    "Maps: what each place of the slice adds to the logit of the class named (Grad-CAM), on one scale for all scans "
    "screened with this model. A map shows what the answer rests on, not where a disease is. Slices are shown as the "
    "encoder sees them."
)
_PROBABILITIES = (
    "Probabilities are calibrated on validation groups and averaged over the slices. The 90 % set holds the classes "
    "that cannot be ruled out; every class in it means that there is not enough to say."
)


def draw_report(
    card: ModelCard, scans: Mapping[int, Reported], metrics: Mapping[str, Any] | None, created: str
) -> bytes:
    """Returns the PDF; the same for the same arguments.

    Args:
        card: the model's.
        scans: by number.
        metrics: the model's evidence, or None.
        created: when, UTC, ISO 8601.
    """
    paper = PdfPage(words.head_line(card), f"{card.name}, SHA-256 {card.sha256}", created)
    if len(scans) > 1:
        _draw_overview(paper, scans)
    for number, scan in scans.items():
        if isinstance(scan, Sheet):
            _draw_scan(paper, card, number, scan, metrics)
        elif len(scans) == 1:
            _draw_refusal(paper, number, scan)
    _draw_notes(paper, card, metrics)
    return bytes(paper.output())


def _draw_overview(paper: PdfPage, scans: Mapping[int, Reported]) -> None:
    """Draws a row for each scan; sheets follow, refusals are told here alone."""
    paper.add_page()
    n_refused = sum(isinstance(scan, Refusal) for scan in scans.values())
    _title(paper, f"{count(len(scans) - n_refused, 'scan')} screened, {n_refused} refused")
    paper.paragraph(LEFT, _OVERVIEW, SMALL, QUIET)
    paper.set_y(paper.get_y() + 2)
    keys = in_order({f.disease for scan in scans.values() if isinstance(scan, Sheet) for f in scan.screening.findings})
    paper.set_font("Helvetica", "", SMALL)
    paper.set_text_color(*INK)
    paper.set_draw_color(*FAINT)
    with paper.table(
        width=WIDTH,
        col_widths=(10, 24, *[32] * max(1, len(keys)), 18),
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        headings_style=FontFace(emphasis="BOLD", color=QUIET),
        line_height=4.0,
        padding=(0.5, 1.5, 0.5, 0),
        text_align="LEFT",
    ) as table:
        table.row(["scan", "SHA-256", *(DISEASES[key].title for key in keys), "reviewed"])
        for number, scan in scans.items():
            row = table.row()
            row.cell(str(number))
            row.cell(_short(scan))
            if isinstance(scan, Refusal):
                row.cell(latin(f"refused: {scan.reason}"), colspan=max(1, len(keys)) + 1)
                continue
            found = {finding.disease: finding for finding in scan.screening.findings}
            for key in keys:
                row.cell(_cell(found[key]))
            row.cell(_reviewed(scan))


def _short(scan: Reported) -> str:
    sha256 = scan.sha256 if isinstance(scan, Refusal) else scan.screening.sha256
    return sha256[:_HASH_DIGITS] if sha256 else "unread"


def _cell(finding: "Finding") -> str:
    if not finding.applicable:
        return words.status_of(finding)
    reference = DISEASES[finding.disease].reference
    return f"{finding.status} {proportion(1 - finding.probabilities[reference])}"


def _reviewed(sheet: Sheet) -> str:
    findings = sheet.screening.findings
    done = sum(words.is_reviewed(finding, sheet.reviews.get(finding.disease)) for finding in findings)
    return f"{done} of {len(findings)}"


def _title(paper: PdfPage, text: str, aside: str = "") -> None:
    paper.text_at(LEFT, text, 14, is_bold=True)
    paper.set_y(paper.get_y() + 1.4)
    paper.text_at(LEFT, aside, BODY, QUIET, WIDTH, Align.R)
    paper.set_y(paper.get_y() + 6.6)


def _draw_refusal(paper: PdfPage, number: int, refusal: Refusal) -> None:
    paper.add_page()
    _title(paper, f"Scan {number}", "refused")
    paper.paragraph(LEFT, f"SHA-256 of the file: {refusal.sha256 or 'not read'}", BODY, QUIET)
    paper.paragraph(LEFT, refusal.reason, BODY)


def _draw_scan(paper: PdfPage, card: ModelCard, number: int, sheet: Sheet, metrics: Mapping[str, Any] | None) -> None:
    screening = sheet.screening
    paper.add_page()
    _title(paper, f"Scan {number}", words.reviewed_line(screening, sheet.reviews))
    for name, value in words.facts(screening):
        paper.text_at(LEFT, name, SMALL, QUIET, _LABEL)
        paper.paragraph(LEFT + _LABEL, value, SMALL, width=WIDTH - _LABEL)
    paper.set_y(paper.get_y() + 1)
    for warning in words.unique(screening.warnings):
        paper.paragraph(LEFT, f"\u00b7 {warning}", SMALL)
    paper.set_y(paper.get_y() + 2)
    if screening.not_brain_reason:
        paper.paragraph(LEFT, f"No head applies. {screening.not_brain_reason}", BODY + 1)
        return
    found = {finding.disease: finding for finding in screening.findings}
    for key in in_order(found):
        draw_finding(paper, card.heads[key], sheet, found[key], words.evidence_of(metrics, key))


def _draw_notes(paper: PdfPage, card: ModelCard, metrics: Mapping[str, Any] | None) -> None:
    """Draws, once a report, what each head is worth and how its thresholds were chosen."""
    paper.add_page()
    _title(paper, "What the answers are worth")
    for text in (_PROBABILITIES, _SCALE):
        paper.paragraph(LEFT, text, BODY)
        paper.set_y(paper.get_y() + 1)
    for key in in_order(card.heads):
        paper.set_y(paper.get_y() + 3)
        paper.text_at(LEFT, DISEASES[key].title, BODY + 1.5, is_bold=True)
        paper.set_y(paper.get_y() + 5.2)
        head = card.heads[key]
        evidence = words.evidence_of(metrics, key)
        rules = (f"Thresholds. {head.threshold_rule}", f"90 % set. {head.set_rule}")
        for text in (*words.evidence_lines(evidence), words.limits_line(card, key), *rules):
            paper.paragraph(LEFT, text, SMALL + 0.4)
            paper.set_y(paper.get_y() + 0.6)
