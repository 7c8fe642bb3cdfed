"""The button that records readings in this server's register, where it has one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import streamlit as st

from sslmri.dashboard.screening.state import widget_key
from sslmri.dashboard.text import count, escape_markdown
from sslmri.diseases import DISEASES
from sslmri.errors import RegisterError
from sslmri.screening import register
from sslmri.screening.messages import reading_title
from sslmri.screening.outcome import Review, ScreeningSummary

_NOTICE = (
    "This server has a register. *Record* keeps time, hashes of scan and model, verdict, your reading and initials; no "
    "image, no name."
)
_FAILURE = "register-failure"


def draw_recording(summary: ScreeningSummary, reviews: Mapping[str, Review]) -> None:
    """Draws that readings can be recorded, which are, and the button that records the others; nothing without register.

    Reviews are those with initials, by disease.
    """
    if not register.is_on():
        return
    st.caption(_NOTICE)
    recorded = _recorded(summary)
    readings = [_reading(summary, disease, review) for disease, review in reviews.items()]
    pending = [reading for reading in readings if recorded.get(reading.disease) != _content(reading)]
    if done := [reading for reading in readings if reading not in pending]:
        st.caption(escape_markdown(f"Recorded: {_listed(done)}."))
    if not pending:
        return
    st.button(f"Record {count(len(pending), 'reading')}", on_click=_record, args=(summary, pending))
    if failure := st.session_state.get(widget_key(summary, _FAILURE)):
        st.error(escape_markdown(f"Not recorded, so press Record again later: {_listed(pending)}. {failure}"))


def _record(summary: ScreeningSummary, pending: Sequence[register.Reading]) -> None:
    failure = widget_key(summary, _FAILURE)
    try:
        register.keep(pending)
    except RegisterError as error:
        st.session_state[failure] = str(error)
        return
    st.session_state.pop(failure, None)
    _recorded(summary).update({reading.disease: _content(reading) for reading in pending})


def _recorded(summary: ScreeningSummary) -> dict[str, register.Reading]:
    """Returns what this session recorded last of a scan, by disease."""
    recorded: dict[str, register.Reading] = st.session_state.setdefault(widget_key(summary, "recorded"), {})
    return recorded


def _content(reading: register.Reading) -> register.Reading:
    """Returns a reading without its time, which a change of the reader's words changes too."""
    return replace(reading, read_at="")


def _reading(summary: ScreeningSummary, disease: str, review: Review) -> register.Reading:
    return register.Reading(
        scan_sha256=summary.sha256,
        model_sha256=summary.model_sha256,
        disease=disease,
        initials=review.initials.upper(),
        verdict=str(summary.findings[disease].verdict),
        reading=review.reading,
        read_at=review.reviewed_at,
    )


def _listed(readings: Sequence[register.Reading]) -> str:
    return ", ".join(f"{DISEASES[one.disease].title} ({reading_title(one.reading)})" for one in readings)
