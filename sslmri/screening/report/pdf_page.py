"""A page of a report: A4, core fonts, header and footer, and text made safe for these fonts."""

import unicodedata
from datetime import datetime

from fpdf import FPDF, Align, XPos, YPos

from sslmri.text import format_timestamp

LEFT, WIDTH = 15.0, 180.0  # mm
INK, QUIET, RULE, FAINT = (31, 41, 51), (96, 106, 116), (205, 210, 214), (242, 244, 245)
BODY, SMALL = 8.5, 7.2  # points
_LINE = 1.18 / 72 * 25.4  # mm of line height for each point of a font
_FOOT = 18.0
_TYPOGRAPHIC = str.maketrans(
    {"\u2013": "-", "\u2014": "-", "\u2212": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"',
     "\u2026": "...", "\u2264": "<=", "\u2265": ">=", "\u2248": "about ", "\u2002": " ", "\u2060": ""}
)  # fmt: skip


def latin(text: str) -> str:
    """Returns text in one line that the core fonts can write: a letter that they lack becomes its base or ``?``."""
    flat = " ".join(text.translate(_TYPOGRAPHIC).split())
    return "".join(_latin_letter(letter) for letter in flat)


def _latin_letter(letter: str) -> str:
    if not unicodedata.category(letter).startswith("C") and ord(letter) < 256:
        return letter
    base = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return base if base.isprintable() and base else "?"


class PdfPage(FPDF):
    """Pages whose header gives the intended use, and whose footer the model and the time."""

    def __init__(self, intended_use: str, model: str, created: str) -> None:
        """Takes the lines of header and footer; ``created`` in ISO 8601."""
        super().__init__("portrait", "mm", "A4")
        self._intended_use, self._model, self._created = latin(intended_use), latin(model), created
        self.set_margins(LEFT, 12)
        self.set_auto_page_break(True, _FOOT)
        self.set_creation_date(datetime.fromisoformat(created))
        self.set_title("Brain MRI screening report")
        self.set_lang("en-GB")
        self.c_margin = 0.0

    def header(self) -> None:
        """Draws the header of a page."""
        self.set_y(10)
        self.text_at(LEFT, "Brain MRI screening report", BODY, is_bold=True)
        self.set_font("Helvetica", "", SMALL)
        too_wide = self.get_string_width("{nb}") - self.get_string_width("9")  # replaced by a number at the end
        self.text_at(LEFT, f"page {self.page_no()} of {{nb}}", SMALL, QUIET, WIDTH + too_wide, Align.R)
        self.set_y(self.get_y() + 4.4)
        self.text_at(LEFT, self._intended_use, SMALL, QUIET)
        self.set_y(self.get_y() + 4.4)
        self.rule()
        self.set_y(self.get_y() + 3)

    def footer(self) -> None:
        """Draws the footer of a page."""
        self.set_y(-_FOOT + 4)
        self.rule()
        self.set_y(self.get_y() + 1.5)
        self.text_at(LEFT, f"Model {self._model}", SMALL - 0.6, QUIET)
        self.text_at(LEFT, f"created {format_timestamp(self._created)}", SMALL - 0.6, QUIET, WIDTH, Align.R)

    def text_at(
        self, x: float, text: str, size: float, colour: tuple[int, int, int] = INK, width: float = WIDTH,
        align: Align = Align.L, is_bold: bool = False,
    ) -> None:  # fmt: skip
        """Writes one line without moving down."""
        self.set_font("Helvetica", "B" if is_bold else "", size)
        self.set_text_color(*colour)
        self.set_x(x)
        self.cell(width, size * _LINE, latin(text), align=align, new_x=XPos.LEFT, new_y=YPos.TOP)

    def paragraph(
        self, x: float, text: str, size: float, colour: tuple[int, int, int] = INK, width: float = WIDTH
    ) -> None:
        """Writes as many lines as the text needs and goes below them."""
        self.set_font("Helvetica", "", size)
        self.set_text_color(*colour)
        self.set_x(x)
        self.multi_cell(width, size * _LINE, latin(text), align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def rule(self) -> None:
        """Draws a thin line over the width of the text."""
        self.set_draw_color(*RULE)
        self.set_line_width(0.2)
        self.line(LEFT, self.get_y(), LEFT + WIDTH, self.get_y())
