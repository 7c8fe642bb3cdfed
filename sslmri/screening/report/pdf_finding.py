"""One finding in the PDF of a report: the answer at the left, the key slice and its map at the right."""

import functools
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from fpdf import Align
from PIL import Image

from sslmri.diseases import DISEASES, class_title
from sslmri.models.cards import HeadCard
from sslmri.screening.report import messages as words
from sslmri.screening.report.pdf_page import BODY, FAINT, INK, LEFT, QUIET, SMALL, WIDTH, PdfPage
from sslmri.screening.report.report_data import Sheet
from sslmri.text import proportion

if TYPE_CHECKING:
    from sslmri.screening.screener import Finding

_TEXT = 104.0  # mm
_SIDE, _GAP = 35.0, 2.0  # of a picture, and between the two
_HEIGHT = _SIDE + 9  # of pictures with what stands below
_ABOVE, _BELOW = 2.0, 2.0
_BAR, _NAME, _ROW = 34.0, 36.0, 3.9
_ALERT = (164, 73, 27)
_LIGHT = (214, 219, 224)


def draw_finding(
    paper: PdfPage, head: HeadCard, sheet: Sheet, finding: "Finding", evidence: Mapping[str, Any] | None
) -> None:
    """Draws a finding, on the next page where this one has no room for all of it."""
    if paper.will_page_break(_height(head, sheet, finding, evidence)):
        paper.add_page()
    paper.rule()
    paper.set_y(paper.get_y() + _ABOVE)
    top = paper.get_y()
    _draw_text(paper, head, sheet, finding, evidence)
    bottom = paper.get_y()
    if finding.applicable:
        _draw_pictures(paper, top, sheet, finding)
        bottom = max(bottom, top + _HEIGHT)
    paper.set_y(bottom + _BELOW)


def _height(head: HeadCard, sheet: Sheet, finding: "Finding", evidence: Mapping[str, Any] | None) -> float:
    """Returns the millimetres that a finding takes: its text is written on a sheet of its own, which nobody sees.

    fpdf2's own trial drawing copies the whole document each time: minutes for hundreds of scans.
    """
    scratch = PdfPage("", "", "2000-01-01T00:00:00+00:00")
    scratch.add_page()
    top = scratch.get_y()
    _draw_text(scratch, head, sheet, finding, evidence)
    text = scratch.get_y() - top
    return _ABOVE + (max(text, _HEIGHT) if finding.applicable else text) + _BELOW


def _draw_text(
    paper: PdfPage, head: HeadCard, sheet: Sheet, finding: "Finding", evidence: Mapping[str, Any] | None
) -> None:
    _draw_status(paper, finding)
    if finding.applicable:
        _draw_answer(paper, head, sheet, finding)
        paper.paragraph(LEFT, words.evidence_lines(evidence)[0], SMALL, QUIET, _TEXT)
    else:
        paper.paragraph(LEFT, words.answer_line(finding), BODY)
    review = sheet.reviews.get(finding.disease)
    paper.set_y(paper.get_y() + 0.6)
    paper.paragraph(LEFT, words.review_line(finding, review), SMALL, INK, _TEXT)


def _draw_status(paper: PdfPage, finding: "Finding") -> None:
    top = paper.get_y()
    paper.text_at(LEFT, DISEASES[finding.disease].title, BODY + 2, is_bold=True)
    is_flagged = finding.applicable and finding.status == "flagged"
    paper.set_font("Helvetica", "", BODY)
    text = words.status_of(finding)
    width = paper.get_string_width(text) + 4
    paper.set_draw_color(*(_ALERT if is_flagged else QUIET))
    paper.set_fill_color(*(_ALERT if is_flagged else (255, 255, 255)))
    paper.rect(LEFT + _TEXT - width, top, width, 4.6, "DF", round_corners=True, corner_radius=1)
    paper.set_y(top + 0.6)
    paper.text_at(LEFT + _TEXT - width, text, BODY, (255, 255, 255) if is_flagged else QUIET, width, Align.C)
    paper.set_y(top + 6)


def _draw_answer(paper: PdfPage, head: HeadCard, sheet: Sheet, finding: "Finding") -> None:
    text = words.answer_line(finding)
    paper.text_at(LEFT, text[:1].upper() + text[1:], BODY)
    paper.set_y(paper.get_y() + 4.8)
    for label, probability in finding.probabilities.items():
        _draw_class(paper, label, None if label in head.unlearned else probability, label in finding.prediction_set)
    paper.set_y(paper.get_y() + 0.6)
    for line in (
        words.threshold_line(finding),
        words.set_line(finding, head),
        words.map_line(sheet.screening, finding),
    ):
        paper.paragraph(LEFT, line, SMALL, width=_TEXT)


def _draw_class(paper: PdfPage, label: str, probability: float | None, is_in_set: bool) -> None:
    """Draws a class with its probability as bar and number; a class that was never learned has neither."""
    top = paper.get_y()
    x = LEFT + _NAME
    paper.text_at(LEFT + 2, class_title(label), SMALL, INK if probability is not None else QUIET, _NAME)
    if probability is None:
        paper.text_at(x, "never learned", SMALL, QUIET)
    else:
        paper.set_fill_color(*FAINT)
        paper.rect(x, top + 0.6, _BAR, 1.9, "F")
        paper.set_fill_color(*QUIET)
        paper.rect(x, top + 0.6, _BAR * probability, 1.9, "F")
        paper.text_at(x + _BAR + 1, proportion(probability), SMALL, INK, 10, Align.R)
    if is_in_set:
        paper.text_at(x + _BAR + 14, "in 90 % set", SMALL, QUIET)
    paper.set_y(top + _ROW)


def _draw_pictures(paper: PdfPage, top: float, sheet: Sheet, finding: "Finding") -> None:
    screening, pictures = sheet.screening, sheet.pictures[finding.disease]
    left, right = LEFT + WIDTH - 2 * _SIDE - _GAP, LEFT + WIDTH - _SIDE
    marks = words.orientation_labels(screening.orientation)
    for x, picture in ((left, pictures.scan), (right, pictures.overlay)):
        _draw_picture(paper, x, top, picture, marks)
    number, total = screening.slice_numbers[finding.key_slice], screening.n_file_slices
    below = top + _SIDE + 1
    paper.set_y(below)
    paper.text_at(left, f"Slice {number} of {total}", SMALL - 0.4, QUIET)
    paper.text_at(right, f"Map of {class_title(finding.predicted)}", SMALL - 0.4, QUIET)
    paper.set_y(below + 3)
    paper.text_at(left, "Orientation unknown" if marks is None else "", SMALL - 0.4, QUIET)
    paper.image(_ramp(), right, below + 3.2, _SIDE, 1.8)
    paper.set_y(below + 5.2)
    paper.text_at(right, "0", SMALL - 1, QUIET)
    paper.text_at(right, f"{finding.saliency_scale:.2g} logits or more", SMALL - 1, QUIET, _SIDE, Align.R)


def _draw_picture(paper: PdfPage, x: float, y: float, picture: bytes, marks: tuple[str, str] | None) -> None:
    paper.set_fill_color(0, 0, 0)
    paper.rect(x, y, _SIDE, _SIDE, "F")
    paper.image(io.BytesIO(picture), x, y, _SIDE, _SIDE, keep_aspect_ratio=True)
    if marks:
        paper.set_y(y + _SIDE / 2 - 1.5)
        paper.text_at(x + 1, marks[0], BODY, _LIGHT, 5)
        paper.text_at(x + _SIDE - 6, marks[1], BODY, _LIGHT, 5, Align.R)


@functools.cache
def _ramp() -> Image.Image:
    """Returns the scale of the maps, from 0 at the left to its top at the right, on black."""
    from sslmri.screening.saliency import paint

    levels = np.tile(np.linspace(0.0, 1.0, 256, dtype=np.float32), (8, 1))
    return Image.fromarray(paint(np.zeros(levels.shape, np.uint8), levels, 1.0))
