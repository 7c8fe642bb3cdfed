"""The clinician's word on each finding, and the report that carries it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from sslmri.dashboard.screening.state import widget_key
from sslmri.dashboard.text import in_order
from sslmri.diseases import DISEASES, class_title
from sslmri.models.cards import ModelCard
from sslmri.models.history import created_now
from sslmri.screening.report.export import Review, report_csv, report_json, report_pdf

if TYPE_CHECKING:
    from sslmri.screening.screener import Finding, Screening

_AGREE, _OVERRIDE = "agree", "override"
_TITLES = {_AGREE: "Agree", _OVERRIDE: "Override"}
_NAME_WIDTH, _FIELD_WIDTH = 270, 170  # pixels: a line of four fits half a wide page
_FORMATS: dict[str, tuple[str, Callable[..., bytes]]] = {
    "pdf": ("application/pdf", report_pdf),
    "csv": ("text/csv", report_csv),
    "json": ("application/json", report_json),
}


@st.fragment
def draw_review(card: ModelCard, screening: "Screening", token: str, metrics: Mapping[str, Any] | None) -> None:
    """Draws a line to review each finding, the tick, and the buttons that save the report under a random name."""
    findings = {finding.disease: finding for finding in screening.findings if finding.applicable}
    reviews = {}
    if findings:
        st.markdown("**Review**")
        said = {key: found for key in in_order(findings) if (found := _ask(screening, findings[key]))}
        reviews = _signed(screening, said)
    st.markdown("**Report**")
    with st.container(horizontal=True):
        for suffix, (mime, make) in _FORMATS.items():
            st.download_button(
                f"Report, {suffix.upper()}",
                partial(make, card, [(screening, reviews)], metrics),
                f"report-{token}.{suffix}",
                mime,
                key=widget_key(screening, suffix),
                on_click="ignore",
            )
    st.caption("No file name and no tag of the file goes into a report: a scan is its number and its hash.")


def _ask(screening: "Screening", finding: "Finding") -> tuple[bool, str | None, str] | None:
    """Returns whether the reader agrees, the class they see instead, and why; None where they have not said."""
    row = st.container(horizontal=True, gap="small", vertical_alignment="center")  # wraps where it is narrow
    title = DISEASES[finding.disease].title
    row.markdown(f"{title}: {class_title(finding.predicted)}", width=_NAME_WIDTH)
    said = row.segmented_control(
        f"Review of {title}",
        list(_TITLES),
        label_visibility="collapsed",
        format_func=lambda key: _TITLES[key],
        key=widget_key(screening, f"review-{finding.disease}"),
        on_change=_unsign,
        args=(screening,),
    )
    if said == _AGREE:
        return True, None, ""
    if said is None:
        return None
    label = row.selectbox(
        f"{title} instead",
        [label for label in finding.probabilities if label != finding.predicted],
        index=None,
        format_func=class_title,
        key=widget_key(screening, f"instead-{finding.disease}"),
        placeholder="Class instead",
        width=_FIELD_WIDTH,
        label_visibility="collapsed",
        on_change=_unsign,
        args=(screening,),
    )
    reason = row.text_input(
        f"Reason for {title}",
        key=widget_key(screening, f"reason-{finding.disease}"),
        max_chars=300,
        placeholder="Reason, no names",
        width=_FIELD_WIDTH,
        label_visibility="collapsed",
        on_change=_unsign,
        args=(screening,),
    )
    return False, label, reason.strip()


def _signed(screening: "Screening", said: Mapping[str, tuple[bool, str | None, str]]) -> dict[str, Review]:
    """Returns the reviews once the reader has ticked that a clinician made them, else none."""
    missing = [
        DISEASES[key].title for key, (agrees, label, reason) in said.items() if not agrees and not (label and reason)
    ]
    is_ready = bool(said) and not missing
    key = widget_key(screening, "signed")
    ticked = st.checkbox(
        "Reviewed by a clinician", key=key, disabled=not is_ready, on_change=_note_time, args=(screening,)
    )
    if missing:
        st.caption(f"An override needs a class and a reason: {', '.join(missing)}.")
    if not (ticked and is_ready):
        st.caption("A review goes into the report once this is ticked; a change takes the tick away.")
        return {}
    when: str = st.session_state[widget_key(screening, "signed-at")]
    st.caption(f"In the report: reviewed {when}.")
    return {
        key: Review(agrees, {} if label is None else {key: label}, reason, when)
        for key, (agrees, label, reason) in said.items()
    }


def _note_time(screening: "Screening") -> None:
    st.session_state[widget_key(screening, "signed-at")] = created_now()


def _unsign(screening: "Screening") -> None:
    """Takes the tick away: it stands for what was on the page when it was set."""
    st.session_state[widget_key(screening, "signed")] = False
