"""One finding in the PDF of a report: the answer at the left, the key slice and its map at the right."""

import functools
import io

import numpy as np
from fpdf import Align
from PIL import Image

from sslmri.diseases import DISEASES, class_title
from sslmri.evidence.verdict import Verdict
from sslmri.models.cards import HeadCard
from sslmri.models.metrics import DiseaseMetrics
from sslmri.scans.volume import AXIAL
from sslmri.screening import messages
from sslmri.screening.card_lines import INSUFFICIENT
from sslmri.screening.maps import paint
from sslmri.screening.outcome import Entry, Finding, KeyImages, ScreeningSummary
from sslmri.screening.report.pdf_page import BODY, FAINT, INK, LEFT, QUIET, SMALL, WIDTH, PdfPage
from sslmri.screening.ventricles import ventricles_line
from sslmri.text import proportion

_TEXT = 104.0  # mm
_SIDE, _GAP = 35.0, 2.0  # of an image, and between the two
_HEIGHT = _SIDE + 9  # of images with their captions
_ABOVE, _BELOW = 2.0, 2.0
_BAR, _NAME, _ROW = 34.0, 36.0, 3.9
_ALERT = (164, 73, 27)
_LIGHT = (214, 219, 224)


def draw_finding(
    page: PdfPage,
    head: HeadCard,
    entry: Entry,
    summary: ScreeningSummary,
    disease: str,
    evidence: DiseaseMetrics | None,
) -> None:
    """Draws a finding, on the next page where this one has no space for all of it."""
    finding = summary.findings[disease]
    is_weak = evidence is not None and evidence.grade.grade == INSUFFICIENT

    def draw_text(target: PdfPage) -> float:
        """Returns the height of the text in millimetres."""
        top = target.get_y()
        _draw_verdict(target, finding, is_weak)
        if finding.is_assessed:
            _draw_answer(target, head, summary, finding)
            target.paragraph(LEFT, messages.evidence_line(evidence), SMALL, INK if is_weak else QUIET, _TEXT)
        else:
            target.paragraph(LEFT, finding.reason or "", BODY)
        target.set_y(target.get_y() + 0.6)
        target.paragraph(LEFT, messages.review_line(entry.reviews.get(disease), finding), SMALL, INK, _TEXT)
        return target.get_y() - top

    # measured on a scratch page: fpdf2's own trial drawing copies the whole document, minutes for hundreds of scans
    scratch = PdfPage("", "", "2000-01-01T00:00:00+00:00")
    scratch.add_page()
    height = max(draw_text(scratch), _HEIGHT if finding.is_assessed else 0.0)
    if page.will_page_break(_ABOVE + height + _BELOW):
        page.add_page()
    page.rule()
    page.set_y(page.get_y() + _ABOVE)
    top = page.get_y()
    draw_text(page)
    if finding.is_assessed:
        _draw_images(page, top, summary, finding, entry.images[disease], head.saliency_scale)
    page.set_y(top + height + _BELOW)


def _draw_verdict(page: PdfPage, finding: Finding, is_weak: bool) -> None:
    """Draws title and verdict; one that rests on insufficient evidence says so and raises no alert."""
    top = page.get_y()
    page.text_at(LEFT, DISEASES[finding.disease].title, BODY + 2, is_bold=True)
    is_flagged = finding.verdict == Verdict.FLAGGED and not is_weak
    verdict = f"{finding.verdict}, insufficient evidence" if is_weak and finding.is_assessed else str(finding.verdict)
    page.set_font("Helvetica", "", BODY)
    width = page.get_string_width(verdict) + 4
    page.set_draw_color(*(_ALERT if is_flagged else QUIET))
    page.set_fill_color(*(_ALERT if is_flagged else (255, 255, 255)))
    page.rect(LEFT + _TEXT - width, top, width, 4.6, "DF", round_corners=True, corner_radius=1)
    page.set_y(top + 0.6)
    colour = (255, 255, 255) if is_flagged else QUIET
    page.text_at(LEFT + _TEXT - width, verdict, BODY, colour, width, Align.C)
    page.set_y(top + 6)


def _draw_answer(page: PdfPage, head: HeadCard, summary: ScreeningSummary, finding: Finding) -> None:
    page.text_at(LEFT, messages.probability_line(finding), BODY)
    page.set_y(page.get_y() + 4.8)
    members = finding.prediction_set or ()
    for label, probability in finding.probabilities.items():
        _draw_class(page, label, None if label in head.untrained else probability, label in members)
    page.set_y(page.get_y() + 0.6)
    measured = ventricles_line(finding.ventricles) if finding.ventricles else None
    lines = (messages.site_line(finding), measured, messages.set_line(finding), messages.map_line(summary, finding))
    for line in filter(None, lines):
        page.paragraph(LEFT, line, SMALL, width=_TEXT)


def _draw_class(page: PdfPage, label: str, probability: float | None, is_in_set: bool) -> None:
    """Draws a class with its probability as bar and number; a class without training example has neither."""
    top = page.get_y()
    x = LEFT + _NAME
    page.text_at(LEFT + 2, class_title(label), SMALL, INK if probability is not None else QUIET, _NAME)
    if probability is None:
        page.text_at(x, "not trained", SMALL, QUIET)
    else:
        page.set_fill_color(*FAINT)
        page.rect(x, top + 0.6, _BAR, 1.9, "F")
        page.set_fill_color(*QUIET)
        page.rect(x, top + 0.6, _BAR * probability, 1.9, "F")
        page.text_at(x + _BAR + 1, proportion(probability), SMALL, INK, 10, Align.R)
    if is_in_set:
        page.text_at(x + _BAR + 14, "in 90 % set", SMALL, QUIET)
    page.set_y(top + _ROW)


def _draw_images(
    page: PdfPage, top: float, summary: ScreeningSummary, finding: Finding, images: KeyImages, scale: float
) -> None:
    right, below = LEFT + WIDTH - _SIDE, top + _SIDE + 1
    left = right - _SIDE - _GAP if images.overlay else right
    letters = messages.orientation_labels(AXIAL if finding.is_aligned else summary.orientation)
    _draw_image(page, left, top, images.scan, letters)
    page.set_y(below)
    page.text_at(left, messages.key_slice_line(summary, finding), SMALL - 0.4, QUIET)
    page.set_y(below + 3)
    page.text_at(left, "Orientation unknown" if letters is None else "", SMALL - 0.4, QUIET)
    if images.overlay is None:
        return
    _draw_image(page, right, top, images.overlay, letters)
    page.set_y(below)
    page.text_at(right, f"Map of {class_title(finding.top_class)}", SMALL - 0.4, QUIET)
    page.image(_ramp(), right, below + 3.2, _SIDE, 1.8)
    page.set_y(below + 5.2)
    page.text_at(right, "0", SMALL - 1, QUIET)
    page.text_at(right, f"{scale:.2g} logits or more", SMALL - 1, QUIET, _SIDE, Align.R)


def _draw_image(page: PdfPage, x: float, y: float, image: bytes, letters: tuple[str, str, str, str] | None) -> None:
    page.set_fill_color(0, 0, 0)
    page.rect(x, y, _SIDE, _SIDE, "F")
    page.image(io.BytesIO(image), x, y, _SIDE, _SIDE, keep_aspect_ratio=True)
    middle, places = y + _SIDE / 2 - 1.5, (Align.C, Align.R, Align.C, Align.L)
    for letter, top, place in zip(letters or (), (y + 0.5, middle, y + _SIDE - 3.5, middle), places, strict=False):
        page.set_y(top)
        page.text_at(x + 1, letter, BODY, _LIGHT, _SIDE - 2, place)


@functools.cache
def _ramp() -> Image.Image:
    """Returns the scale of the maps, from 0 at the left to its top at the right, on black."""
    levels = np.tile(np.linspace(0.0, 1.0, 256, dtype=np.float32), (8, 1))
    return Image.fromarray(paint(np.zeros(levels.shape, np.uint8), levels, 1.0))
