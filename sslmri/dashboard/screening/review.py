"""The clinician's review of each finding, and the buttons that save a report, also on the Cohort page."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import streamlit as st

from sslmri.dashboard.screening.state import widget_key
from sslmri.diseases import DISEASES, class_title
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Metrics
from sslmri.models.history import created_now
from sslmri.screening.outcome import Entry, Finding, Review, Screening, ScreeningSummary
from sslmri.screening.report.export import report_csv, report_json, report_pdf
from sslmri.screening.report.images import key_images
from sslmri.text import format_timestamp

_Write = Callable[[ModelCard, Sequence[Entry], Metrics | None], bytes]
_FORMATS: dict[str, tuple[str, _Write]] = {
    "pdf": ("application/pdf", report_pdf),
    "csv": ("text/csv", report_csv),
    "json": ("application/json", report_json),
}
_AGREE, _OVERRIDE = "agree", "override"
_TITLES = {_AGREE: "Agree", _OVERRIDE: "Override"}
_NAME_WIDTH, _FIELD_WIDTH = 270, 170  # pixels: a line of four fits half a wide page


@st.fragment
def draw_review(card: ModelCard, screening: Screening, n_files: int, token: str, metrics: Metrics | None) -> None:
    """Draws a line to review each finding, the tick, and the buttons that save the report under a random name."""
    summary = screening.summary
    reviews = {}
    if summary.assessed:
        st.markdown("**Review**")
        answers = {key: answer for key, finding in summary.assessed.items() if (answer := _ask(summary, finding))}
        reviews = _signed(summary, answers)

    def entries() -> list[Entry]:
        images = key_images(card, summary, screening.arrays)
        return [Entry(1, summary, n_files=n_files, images=images, reviews=reviews)]

    st.markdown("**Report**")
    with st.container(horizontal=True):
        draw_report_buttons(card, entries, metrics, f"report-{token}")
    st.caption("Reports contain no file names or DICOM tags; scans are identified by number and hash.")


def _ask(summary: ScreeningSummary, finding: Finding) -> tuple[bool, str | None, str] | None:
    """Returns whether the reader agrees, the class they see instead, and why; None without an answer."""
    row = st.container(horizontal=True, gap="small", vertical_alignment="center")  # wraps where it is narrow
    title = DISEASES[finding.disease].title
    row.markdown(f"{title}: {class_title(finding.top_class)}", width=_NAME_WIDTH)
    answer = row.segmented_control(
        f"Review of {title}",
        list(_TITLES),
        label_visibility="collapsed",
        format_func=lambda key: _TITLES[key],
        key=widget_key(summary, f"review-{finding.disease}"),
        on_change=unsign,
        args=(summary,),
    )
    if answer == _AGREE:
        return True, None, ""
    if answer is None:
        return None
    label = row.selectbox(
        f"{title} instead",
        [label for label in finding.probabilities if label != finding.top_class],
        index=None,
        format_func=class_title,
        key=widget_key(summary, f"instead-{finding.disease}"),
        placeholder="Class instead",
        width=_FIELD_WIDTH,
        label_visibility="collapsed",
        on_change=unsign,
        args=(summary,),
    )
    reason = row.text_input(
        f"Reason for {title}",
        key=widget_key(summary, f"reason-{finding.disease}"),
        max_chars=300,
        placeholder="Reason, no names",
        width=_FIELD_WIDTH,
        label_visibility="collapsed",
        on_change=unsign,
        args=(summary,),
    )
    return False, label, reason.strip()


def _signed(summary: ScreeningSummary, answers: Mapping[str, tuple[bool, str | None, str]]) -> dict[str, Review]:
    """Returns the reviews once the reader has ticked that a clinician made them, else none."""
    missing = [
        DISEASES[key].title for key, (agrees, label, reason) in answers.items() if not agrees and not (label and reason)
    ]
    is_ready = bool(answers) and not missing
    key = widget_key(summary, "signed")
    ticked = st.checkbox(
        "Reviewed by a clinician", key=key, disabled=not is_ready, on_change=_note_time, args=(summary,)
    )
    if missing:
        st.caption(f"Choose a class and give a reason: {', '.join(missing)}.")
    if not (ticked and is_ready):
        st.caption("Tick to include your review in the report. Any edit clears the tick.")
        return {}
    when: str = st.session_state[widget_key(summary, "signed-at")]
    st.caption(f"In the report: reviewed {format_timestamp(when)}.")
    return {key: Review(agrees, label, reason, when) for key, (agrees, label, reason) in answers.items()}


def _note_time(summary: ScreeningSummary) -> None:
    st.session_state[widget_key(summary, "signed-at")] = created_now()


def unsign(summary: ScreeningSummary) -> None:
    """Takes the tick away: it stands for what was on the page when it was set."""
    st.session_state[widget_key(summary, "signed")] = False


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
