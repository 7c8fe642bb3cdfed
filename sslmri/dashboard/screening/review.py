"""The clinician's own reading on each card, and the buttons that save a report, also on the Cohort page."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import streamlit as st

from sslmri.dashboard.screening.recording import draw_recording
from sslmri.dashboard.screening.state import widget_key
from sslmri.dashboard.screening.uploads import Upload
from sslmri.dashboard.text import escape_markdown
from sslmri.diseases import DISEASES
from sslmri.errors import ScanError
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Metrics
from sslmri.models.history import created_now
from sslmri.scans.scan import NOT_DICOM
from sslmri.screening.messages import agreement_line, reading_title
from sslmri.screening.outcome import CANNOT_TELL, OTHER, Entry, Finding, Review, Screening, ScreeningSummary
from sslmri.screening.report.dicom import dicom_results, zipped
from sslmri.screening.report.export import report_csv, report_json, report_pdf
from sslmri.screening.report.images import key_images
from sslmri.text import capital, count

_Write = Callable[[ModelCard, Sequence[Entry], Metrics | None], bytes]
_FORMATS: dict[str, tuple[str, _Write]] = {
    "pdf": ("application/pdf", report_pdf),
    "csv": ("text/csv", report_csv),
    "json": ("application/json", report_json),
}
_MOST_LETTERS, _MOST_INITIALS = 300, 12
_NAMES = "Reports contain no file names or DICOM tags; scans are identified by number and hash."
_NAMES_IN_DICOM = " DICOM results contain the patient's name and identifiers from the scan."


def draw_reading(summary: ScreeningSummary, finding: Finding) -> None:
    """Draws what asks for the clinician's own reading of one disease, whatever the model found."""
    disease = DISEASES[finding.disease]
    st.pills(
        f"Your reading of {disease.title}",
        [*disease.classes, OTHER, CANNOT_TELL],
        format_func=lambda reading: capital(reading_title(reading)),
        key=widget_key(summary, f"reading-{finding.disease}"),
        persist_state="session",
        on_change=_note_time,
        args=(summary, finding.disease),
    )
    review = _review_of(summary, finding.disease)
    if review is None:
        return
    st.text_input(
        f"Your words on {disease.title}",
        key=widget_key(summary, f"words-{finding.disease}"),
        max_chars=_MOST_LETTERS,
        placeholder="In your words; no names of patients",
        label_visibility="collapsed",
        persist_state="session",
        on_change=_note_time,
        args=(summary, finding.disease),
    )
    st.caption(agreement_line(review, finding))


def _note_time(summary: ScreeningSummary, disease: str) -> None:
    st.session_state[widget_key(summary, f"read-at-{disease}")] = created_now()


def _review_of(summary: ScreeningSummary, disease: str) -> Review | None:
    def said(name: str) -> str:
        return st.session_state.get(widget_key(summary, name)) or ""

    reading = said(f"reading-{disease}")
    if not reading:
        return None
    return Review(reading, said(f"words-{disease}").strip(), said("initials").strip(), said(f"read-at-{disease}"))


@st.fragment
def draw_report(card: ModelCard, screening: Screening, upload: Upload, token: str, metrics: Metrics | None) -> None:
    """Draws the clinician's initials, and the buttons that save the report under a random name.

    Readings go into the report with initials only: until they are given, a report would leave the readings out.
    """
    summary = screening.summary
    st.markdown("**Report**")
    initials = st.text_input(
        "Your initials",
        key=widget_key(summary, "initials"),
        max_chars=_MOST_INITIALS,
        width=150,
        persist_state="session",
    )
    found = {key: review for key in summary.findings if (review := _review_of(summary, key))}
    reviews: Mapping[str, Review] = found if initials.strip() else {}
    is_unsigned = bool(found) and not reviews
    if found:
        readings = count(len(found), "reading")
        st.caption(
            f"In the report: {readings} by {initials.strip()}."
            if reviews
            else f"Add your initials to save a report with {readings}."
        )
    draw_recording(summary, reviews)

    is_dicom = summary.source == "DICOM" or (summary.source, summary.modality) == ("zip", "MR")

    def entries() -> list[Entry]:
        images = key_images(card, summary, screening.arrays)
        return [Entry(1, summary, n_files=upload.n_files, images=images, reviews=reviews)]

    with st.container(horizontal=True):
        draw_report_buttons(card, entries, metrics, f"report-{token}", is_disabled=is_unsigned)
        is_asked = st.button(
            "DICOM results",
            key=f"dicom-{token}",
            disabled=not is_dicom or is_unsigned,
            help="Objects in the study of the scan, for the archive that it came from." if is_dicom else NOT_DICOM,
        )
    if is_asked and upload.read_headers:
        read = upload.read_headers
        _draw_dicom(lambda: zipped(dicom_results(card, entries()[0], screening.arrays, read(), metrics)), token)
    st.caption(_NAMES + _NAMES_IN_DICOM * is_dicom)


def _draw_dicom(make: Callable[[], bytes], token: str) -> None:
    """Draws the button that saves the DICOM results under a random name, or one sentence why there are none."""
    try:
        with st.spinner("Writing DICOM results"):
            content = make()
    except ScanError as error:
        st.warning(escape_markdown(error.reason))
        return
    st.download_button(
        "Download DICOM results (zip)", content, f"dicom-{token}.zip", "application/zip", on_click="ignore"
    )


def draw_report_buttons(
    card: ModelCard,
    entries: Callable[[], Sequence[Entry]],
    metrics: Metrics | None,
    name: str,
    is_disabled: bool = False,
) -> None:
    """Draws a button for each format; the entries are made and written once it is clicked.

    The name of the files, without suffix, is random: it says nothing of the patient.
    """

    def written(write: _Write) -> bytes:
        return write(card, entries(), metrics)

    for suffix, (mime, write) in _FORMATS.items():
        st.download_button(
            f"Report, {suffix.upper()}",
            partial(written, write),
            f"{name}.{suffix}",
            mime,
            key=f"{name}-{suffix}",
            on_click="ignore",
            disabled=is_disabled,
        )
