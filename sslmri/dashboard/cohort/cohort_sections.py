"""The sections of the cohort page: uploader, list with filters, opening one scan, and reports."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from sslmri.dashboard.cohort.cohort_tables import ALL_VERDICTS, filtered
from sslmri.dashboard.cohort.session import (
    MAX_SCANS,
    Cohort,
    accept,
    clear_cohort,
    screen_into,
    time_left,
)
from sslmri.dashboard.screening.intake import HANDED_OVER
from sslmri.dashboard.screening.report_buttons import draw_report_buttons
from sslmri.dashboard.screening.shared_model import load_screener
from sslmri.dashboard.screening.uploads import FileUpload, Upload
from sslmri.dashboard.text import count, escape_markdown
from sslmri.diseases import DISEASES
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Metrics
from sslmri.screening.outcome import Refusal

SCREENING_PAGE = "pages/screening.py"


def take_in(card: ModelCard, cohort: Cohort) -> None:
    """Draws the uploader and screens what it holds; then the uploader is emptied and the page drawn again."""
    files = st.file_uploader(
        f"Drop up to {MAX_SCANS} scans: DICOM, NIfTI, PNG, JPEG, TIFF or zip",
        accept_multiple_files=True,
        key=f"cohort-files-{cohort.drop}",
        help="The DICOM files of one series are one scan. Results stay in the memory of this session on the server, "
        "images do not; nothing is written to disk or sent on.",
    )
    if cohort.note:
        st.warning(cohort.note)
    if not files:
        return
    scans = accept(cohort, [FileUpload(file.name, file.getvalue()) for file in files])
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
    """Draws how many scans there are, and the button that clears the list."""
    n_refused = sum(isinstance(entry.outcome, Refusal) for entry in cohort.entries.values())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**{count(len(cohort.entries) - n_refused, 'scan')}** screened, {n_refused} refused", width="content"
        )
        st.space("stretch")
        st.button("Clear the list", type="tertiary", on_click=clear_cohort)


def choose_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the table that the reader's filters leave."""
    left, right = st.columns(2, gap="large")
    titles = [disease.title for disease in DISEASES.values() if (table["Disease"] == disease.title).any()]
    verdicts = left.pills("Verdict", ALL_VERDICTS, selection_mode="multi", key="cohort-verdict")
    diseases = right.pills("Disease", titles, selection_mode="multi", key="cohort-disease")
    return filtered(table, verdicts, diseases)


def draw_list(cohort: Cohort, shown: pd.DataFrame) -> None:
    """Draws the rows that the filters leave; a selected one can be opened."""
    number = st.column_config.NumberColumn(format="%.2f")
    event = st.dataframe(
        shown,
        hide_index=True,
        placeholder="",
        on_select="rerun",
        selection_mode="single-row",
        column_config={"Probability": number, "Any disease": number},
        key=f"cohort-table-{hash(tuple(shown.index))}-{len(cohort.entries)}",
        alt="Findings of all scans",
    )
    chosen = event["selection"]["rows"]
    if not chosen:
        st.caption("Click a column header to sort; select a row to open the scan.")
        return
    _draw_opening(cohort, int(shown.iloc[chosen[0]]["Scan"]))


def _draw_opening(cohort: Cohort, number: int) -> None:
    outcome = next(entry.outcome for entry in cohort.entries.values() if entry.number == number)
    upload = cohort.kept.get(number)
    if isinstance(outcome, Refusal):
        st.caption(f"Scan {number} was refused: {escape_markdown(outcome.reason)}")
    elif upload is None:
        st.caption(f"Scan {number} cannot be opened: its file was too large to keep. Upload it on the Screening page.")
    elif st.button(f"Open scan {number} in Screening"):
        st.session_state[HANDED_OVER] = upload
        st.switch_page(SCREENING_PAGE)


def draw_exports(card: ModelCard, cohort: Cohort, shown: pd.DataFrame, metrics: Metrics | None) -> None:
    """Draws the buttons that save the reports of the scans listed, without the names of their files."""
    numbers = set(shown["Scan"])
    entries = [entry for entry in cohort.entries.values() if entry.number in numbers]
    with st.container(horizontal=True, vertical_alignment="center"):
        draw_report_buttons(card, lambda: entries, metrics, f"cohort-{cohort.token}", is_disabled=not entries)
        st.caption(
            f"All findings of the {count(len(entries), 'scan')} listed. Reports contain no file names; scans are "
            "identified by number and hash.",
            width="content",
        )
