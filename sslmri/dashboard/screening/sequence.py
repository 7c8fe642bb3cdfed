"""The sequence of the scan in view: what says which it is, and the reader's own choice."""

import streamlit as st

from sslmri.dashboard.screening.state import widget_key
from sslmri.diseases import SequenceChoice
from sslmri.screening.messages import sequence_line, sequence_title
from sslmri.screening.outcome import Screening
from sslmri.screening.sequences import CHOICES
from sslmri.text import capital

_FOUND = "found"
_WIDTH = 330  # pixels: the longest line in full


def choose_sequence(screening: Screening) -> SequenceChoice | None:
    """Returns which sequence the reader says that the scan is; None, as at first, for the one found."""
    summary = screening.unrestricted
    if summary.reason:
        return None
    titles = {_FOUND: capital(sequence_line(screening.summary))}
    titles |= {choice: capital(sequence_title(None if choice == "unknown" else choice)) for choice in CHOICES}
    chosen = st.selectbox(
        "Sequence",
        [_FOUND, *CHOICES],
        format_func=titles.__getitem__,
        key=widget_key(summary, "sequence"),
        help="Each classifier answers the sequence it was trained on. Choose another one where this is wrong.",
        width=_WIDTH,
    )
    return next((choice for choice in CHOICES if choice == chosen), None)
