"""The cohort page: the uploader, the form for a study of an archive, and the screening of what they give."""

import os
import time
from collections.abc import Sequence

import streamlit as st

from sslmri.dashboard.cohort.sections import by_urgency, draw_rows
from sslmri.dashboard.cohort.session import (
    ARCHIVE,
    MAX_SCANS,
    Cohort,
    accept,
    ask_for,
    fetch,
    screen_into,
    time_left,
)
from sslmri.dashboard.screening.shared_model import share_screener
from sslmri.dashboard.screening.uploads import FileUpload, Upload, without_others
from sslmri.dashboard.text import count, escape_markdown
from sslmri.errors import ScanError
from sslmri.models.cards import ModelCard
from sslmri.scans.dicomweb import Archive
from sslmri.scans.file_type import FORMATS

ARCHIVE_ADDRESS = "SSLMRI_DICOMWEB"  # names the one archive that visitors can make the server ask
_REDRAW_S = 2.0  # the list is drawn again while scans are screened, with all its images


def take_in(card: ModelCard, cohort: Cohort) -> None:
    """Draws the uploader and screens what it holds; then the uploader is emptied and the page drawn again."""
    is_folder = st.toggle("Upload a folder", key="cohort-folder", help="With all folders in it.")
    files = st.file_uploader(
        f"Drop up to {MAX_SCANS} scans: DICOM, NIfTI, other volumes, images or zip",
        accept_multiple_files="directory" if is_folder else True,
        key=f"cohort-files-{cohort.drop}-{is_folder}",
        help=f"{FORMATS}. The DICOM files of one series are one scan. Results stay in the memory of this session "
        "on the server, images do not; nothing is written to disk or sent on.",
    )
    if cohort.note:
        st.warning(cohort.note)
    if address := os.environ.get(ARCHIVE_ADDRESS):
        _take_from_archive(card, cohort, address)
    if not files:
        return
    given = [FileUpload(file.name, file.getvalue()) for file in files]
    scans = accept(cohort, without_others(given) if is_folder else given)
    if scans:
        _screen_with_progress(card, cohort, scans)
    cohort.drop += 1
    st.rerun()


def _take_from_archive(card: ModelCard, cohort: Cohort, address: str) -> None:
    """Draws the form for a study of the server's archive; screens one of its MR series and draws the page again."""
    with st.expander("From an archive"):
        with st.form("archive", border=False):
            study = st.text_input("Study UID", help="Its MR series are fetched from the archive of this server.")
            is_asked = st.form_submit_button("Fetch and screen")
        if is_asked:
            try:
                ask_for(cohort, Archive(address).list_series(study.strip()))
            except ScanError as error:
                st.warning(error.reason)
                return
    if cohort.pending:
        _take_next(card, cohort, Archive(address))
        st.rerun()


def _take_next(card: ModelCard, cohort: Cohort, archive: Archive) -> None:
    """Fetches and screens the first pending series; a change on the page interrupts that, and the next run goes on."""
    message = st.empty()
    with ARCHIVE.acquire(lambda ahead: message.info(f"Waiting for the archive: {ahead} ahead of you.")):
        if cohort.pending:  # not taken meanwhile by the run before this
            series = cohort.pending[0]
            files = count(series.n_files, "file")
            message.info(f"Fetching {escape_markdown(series.name)} ({files}), {len(cohort.pending) - 1} more to come")
            scans = fetch(cohort, archive, series)
            message.empty()
            if scans:
                _screen_with_progress(card, cohort, scans)
            cohort.pending.remove(series)


def _screen_with_progress(card: ModelCard, cohort: Cohort, scans: Sequence[Upload]) -> None:
    bar = st.progress(0.0, f"Screening {count(len(scans), 'scan')}")
    listed, drawn = st.empty(), 0.0
    for done, seconds in screen_into(share_screener(card), cohort, scans):
        bar.progress(done / len(scans), f"Screened {done} of {count(len(scans), 'scan')}, {time_left(seconds)}")
        if time.monotonic() - drawn > _REDRAW_S:
            with listed:
                draw_rows(cohort, by_urgency(cohort.entries.values(), cohort.folded))
            drawn = time.monotonic()
