"""The buttons that save a report, on the Screening and the Cohort page."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Metrics
from sslmri.screening.outcome import Entry
from sslmri.screening.report.export import report_csv, report_json, report_pdf

_Write = Callable[[ModelCard, Sequence[Entry], Metrics | None], bytes]
_FORMATS: dict[str, tuple[str, _Write]] = {
    "pdf": ("application/pdf", report_pdf),
    "csv": ("text/csv", report_csv),
    "json": ("application/json", report_json),
}


def draw_report_buttons(
    card: ModelCard,
    entries: Callable[[], Sequence[Entry]],
    metrics: Metrics | None,
    name: str,
    is_disabled: bool = False,
) -> None:
    """Draws a button for each format; the entries are made and written once it is clicked.

    Args:
        card: the model's.
        entries: makes the entries of the report.
        metrics: the model's results on unseen patients, or None.
        name: of the files without suffix, random: it says nothing of the patient.
        is_disabled: whether there is nothing to save.
    """
    for suffix, (mime, write) in _FORMATS.items():
        st.download_button(
            f"Report, {suffix.upper()}",
            partial(_write, write, card, entries, metrics),
            f"{name}.{suffix}",
            mime,
            key=f"{name}-{suffix}",
            on_click="ignore",
            disabled=is_disabled,
        )


def _write(write: _Write, card: ModelCard, entries: Callable[[], Sequence[Entry]], metrics: Metrics | None) -> bytes:
    return write(card, entries(), metrics)
