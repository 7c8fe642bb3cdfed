"""The PDF of a report: a list of several scans, each scan with its findings, and how reliable the results are."""

from collections.abc import Sequence
from itertools import chain

from fpdf import Align
from fpdf.enums import TableBordersLayout
from fpdf.fonts import FontFace

from sslmri.diseases import DISEASES
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Metrics
from sslmri.screening import messages
from sslmri.screening.outcome import Entry, Refusal, ScreeningSummary, notice_line
from sslmri.screening.report.pdf_finding import draw_finding
from sslmri.screening.report.pdf_page import BODY, FAINT, INK, LEFT, QUIET, SMALL, WIDTH, PdfPage, latin
from sslmri.text import count, in_order

_LABEL = 30.0  # mm
_HASH_DIGITS = 12
_OVERVIEW = "Verdict and probability of any disease class. A classifier that was not assessed has no probability."
_SCALE = (
    "Maps: Grad-CAM, the contribution of each location of the slice to the logit of the class named, on a fixed scale, "
    "comparable between scans; contour at half the scale. None is shown where the top class is the reference. A map "
    "shows what the result is based on, not where the disease is. Slices are shown as the encoder sees them."
)
_PROBABILITIES = (
    "Probabilities are calibrated on validation groups and averaged over the slices. The 90 % set contains the classes "
    "that cannot be excluded at 90 % confidence; it is left out where no class can be excluded."
)


def draw_report(card: ModelCard, entries: Sequence[Entry], metrics: Metrics | None, created: str) -> bytes:
    """Returns the PDF; the same for the same arguments."""
    page = PdfPage(messages.head_line(card), f"{card.name}, SHA-256 {card.sha256}", created)
    if len(entries) > 1:
        _draw_overview(page, entries)
    for entry in entries:
        if isinstance(entry.outcome, ScreeningSummary):
            _draw_scan(page, card, entry, entry.outcome, metrics)
        elif len(entries) == 1:
            _draw_refusal(page, entry.number, entry.outcome)
    _draw_notes(page, card, metrics)
    return bytes(page.output())


def _draw_overview(page: PdfPage, entries: Sequence[Entry]) -> None:
    """Draws a row for each scan; those screened have a page below, refusals are listed here only."""
    page.add_page()
    summaries = [entry.outcome for entry in entries if isinstance(entry.outcome, ScreeningSummary)]
    _title(page, f"{count(len(summaries), 'scan')} screened, {len(entries) - len(summaries)} refused")
    page.paragraph(LEFT, _OVERVIEW, SMALL, QUIET)
    page.set_y(page.get_y() + 2)
    keys = in_order({key for summary in summaries for key in summary.findings})
    page.set_font("Helvetica", "", SMALL)
    page.set_text_color(*INK)
    page.set_draw_color(*FAINT)
    with page.table(
        width=WIDTH,
        col_widths=(10, 24, *[32] * max(1, len(keys)), 18),
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        headings_style=FontFace(emphasis="BOLD", color=QUIET),
        line_height=4.0,
        padding=(0.5, 1.5, 0.5, 0),
        text_align="LEFT",
    ) as table:
        table.row(["Scan", "SHA-256", *(DISEASES[key].title for key in keys), "Reviewed"])
        for entry in entries:
            row, outcome = table.row(), entry.outcome
            row.cell(str(entry.number))
            row.cell(outcome.sha256[:_HASH_DIGITS] if outcome.sha256 else "unread")
            if isinstance(outcome, Refusal):
                row.cell(latin(f"refused: {outcome.reason}"), colspan=max(1, len(keys)) + 1)
                continue
            for key in keys:
                row.cell(messages.short_verdict(outcome.findings[key]))
            row.cell(f"{len(entry.reviews)} of {len(outcome.findings)}")


def _title(page: PdfPage, text: str, aside: str = "") -> None:
    page.text_at(LEFT, text, 14, is_bold=True)
    page.set_y(page.get_y() + 1.4)
    page.text_at(LEFT, aside, BODY, QUIET, WIDTH, Align.R)
    page.set_y(page.get_y() + 6.6)


def _draw_refusal(page: PdfPage, number: int, refusal: Refusal) -> None:
    page.add_page()
    _title(page, f"Scan {number}", "refused")
    page.paragraph(LEFT, f"SHA-256 of the file: {refusal.sha256 or 'not read'}", BODY, QUIET)
    page.paragraph(LEFT, refusal.reason, BODY)


def _draw_scan(
    page: PdfPage, card: ModelCard, entry: Entry, summary: ScreeningSummary, metrics: Metrics | None
) -> None:
    page.add_page()
    _title(page, f"Scan {entry.number}", messages.reviewed_line(entry, len(summary.findings)))
    for name, value in messages.facts(summary):
        page.text_at(LEFT, name, SMALL, QUIET, _LABEL)
        page.paragraph(LEFT + _LABEL, value, SMALL, width=WIDTH - _LABEL)
    page.set_y(page.get_y() + 1)
    for warning in dict.fromkeys(map(notice_line, summary.warnings)):
        page.paragraph(LEFT, f"\u00b7 {warning}", SMALL)
    page.set_y(page.get_y() + 2)
    if summary.reason:
        page.paragraph(LEFT, summary.reason, BODY + 1)
        return
    for key in summary.findings:
        draw_finding(page, card.heads[key], entry, summary, key, messages.evidence_of(metrics, key))


def _draw_notes(page: PdfPage, card: ModelCard, metrics: Metrics | None) -> None:
    """Draws, once per report, how thresholds and sets were chosen, and the evidence for each classifier."""
    page.add_page()
    _title(page, "How reliable the results are")
    rules = [
        (f"Thresholds of the model. {head.threshold_rule}", f"90 % set. {head.set_rule}")
        for head in card.heads.values()
    ]
    for text in dict.fromkeys((_PROBABILITIES, _SCALE, *chain(*rules))):
        page.paragraph(LEFT, text, BODY)
        page.set_y(page.get_y() + 1)
    for key in in_order(card.heads):
        page.set_y(page.get_y() + 3)
        page.text_at(LEFT, DISEASES[key].title, BODY + 1.5, is_bold=True)
        page.set_y(page.get_y() + 5.2)
        evidence = messages.evidence_of(metrics, key)
        reason = evidence.grade.reason if evidence else None
        known = (reason, *messages.limits(card, key), messages.never_excluded(card.heads[key]))
        for text in (messages.evidence_line(evidence), *filter(None, known)):
            page.paragraph(LEFT, text, SMALL + 0.4)
            page.set_y(page.get_y() + 0.6)
