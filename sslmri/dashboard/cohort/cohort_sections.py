"""The parts of the cohort page: files in, the list with its filters, one scan opened, and the list as files."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from sslmri.dashboard.cohort.cohort_tables import ALL_STATUSES, filtered
from sslmri.dashboard.cohort.session import (
    MAX_SCANS,
    Cohort,
    accept,
    clear_cohort,
    screen_into,
    time_left,
)
from sslmri.dashboard.screening.intake import HANDED_OVER
from sslmri.dashboard.screening.state import Upload, load_screener
from sslmri.dashboard.text import count, escape_markdown
from sslmri.diseases import DISEASES
from sslmri.models.cards import ModelCard
from sslmri.screening.report.export import report_csv, report_json, report_pdf
from sslmri.screening.report.report_data import Refusal

SCREENING_PAGE = "pages/screening.py"
_REPORTS: tuple[tuple[str, Callable[..., bytes], str], ...] = (
    ("pdf", report_pdf, "application/pdf"),
    ("csv", report_csv, "text/csv"),
    ("json", report_json, "application/json"),
)


def take_in(card: ModelCard, cohort: Cohort) -> None:
    """Draws the uploader and screens what it holds; then the uploader is emptied and the page drawn anew."""
    files = st.file_uploader(
        f"Drop scans, up to {MAX_SCANS}: DICOM, NIfTI, PNG, JPEG, TIFF, zip",
        accept_multiple_files=True,
        key=f"cohort-files-{cohort.drop}",
        help="The DICOM files of one series become one scan. Results are kept in this session's memory on the machine "
        "that runs this page, the pixels are not; nothing is written or sent.",
    )
    if cohort.note:
        st.warning(cohort.note)
    if not files:
        return
    scans = accept(cohort, [Upload(file.name, file.getvalue()) for file in files])
    if scans:
        _screen_with_progress(card, cohort, scans)
    cohort.drop += 1
    st.rerun()


def _screen_with_progress(card: ModelCard, cohort: Cohort, scans: Sequence[Upload]) -> None:
    bar = st.progress(0.0, f"Screening {count(len(scans), 'scan')}")
    for done, seconds in screen_into(load_screener(card), cohort, scans):
        bar.progress(done / len(scans), f"Screened {done} of {count(len(scans), 'scan')}, {time_left(seconds)}")
    bar.empty()


def draw_summary(cohort: Cohort) -> None:
    """Draws how many scans there are, and the button that forgets them."""
    n_refused = sum(isinstance(row.scan, Refusal) for row in cohort.rows.values())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{count(len(cohort.rows) - n_refused, 'scan')}** screened, {n_refused} refused", width="content")
        st.space("stretch")
        st.button("Clear the list", type="tertiary", on_click=clear_cohort)


def choose_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the table that the reader's filters leave."""
    left, right = st.columns(2, gap="large")
    titles = [disease.title for disease in DISEASES.values() if (table["disease"] == disease.title).any()]
    statuses = left.pills("Status", ALL_STATUSES, selection_mode="multi", key="cohort-status")
    diseases = right.pills("Disease", titles, selection_mode="multi", key="cohort-disease")
    return filtered(table, statuses, diseases)


def draw_list(cohort: Cohort, shown: pd.DataFrame) -> None:
    """Draws the rows that are left; a chosen one can be opened."""
    number = st.column_config.NumberColumn(format="%.2f")
    event = st.dataframe(
        shown,
        hide_index=True,
        placeholder="",
        on_select="rerun",
        selection_mode="single-row",
        column_config={"probability": number, "any disease": number},
        key=f"cohort-table-{hash(tuple(shown.index))}-{len(cohort.rows)}",
        alt="Findings of all scans",
    )
    chosen = event["selection"]["rows"]
    if not chosen:
        st.caption("Click a column's head to sort, or the start of a row to open its scan in the viewer.")
        return
    _draw_opening(cohort, int(shown.iloc[chosen[0]]["scan"]))


def _draw_opening(cohort: Cohort, number: int) -> None:
    row = next(row for row in cohort.rows.values() if row.number == number)
    upload = cohort.kept.get(number)
    if isinstance(row.scan, Refusal):
        st.caption(f"Scan {number} was refused: {escape_markdown(row.scan.reason)}")
    elif upload is None:
        st.caption(f"Scan {number} cannot be opened: its file was too large to keep. Give it on the Screening page.")
    elif st.button(f"Open scan {number} in Screening"):
        st.session_state[HANDED_OVER] = upload
        st.switch_page(SCREENING_PAGE)


def draw_exports(card: ModelCard, cohort: Cohort, shown: pd.DataFrame, metrics: Mapping[str, Any] | None) -> None:
    """Draws the buttons that save every finding of the scans that are left, without the names of their files."""
    numbers = set(shown["scan"])
    rows = [row for row in cohort.rows.values() if row.number in numbers]
    with st.container(horizontal=True, vertical_alignment="center"):
        for suffix, make, mime in _REPORTS:
            st.download_button(
                f"Report, {suffix.upper()}",
                partial(make, card, [row.scan for row in rows], metrics, [row.number for row in rows]),
                f"cohort-{cohort.token}.{suffix}",
                mime,
                key=f"cohort-{suffix}",
                on_click="ignore",
                disabled=not rows,
            )
        st.caption(
            f"Every finding of the {count(len(rows), 'scan')} listed; scans are named by number and hash, not by file.",
            width="content",
        )
