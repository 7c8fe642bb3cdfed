"""What a flag is worth at the prevalence that the reader sets."""

import streamlit as st

from sslmri.dashboard.screening.state import widget_key
from sslmri.dashboard.text import proportion
from sslmri.evidence.predictive import predictive_values
from sslmri.models.cards import HeadCard
from sslmri.screening.outcome import ScreeningSummary

_LOWEST, _HIGHEST = 0.1, 99.0  # per cent


@st.fragment
def draw_prevalence(summary: ScreeningSummary, head: HeadCard) -> None:
    """Draws PPV and NPV at a prevalence; nothing where the head was not measured at its thresholds."""
    if not head.threshold_metrics:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("At a prevalence, in %, of", width="content")
        percentage = st.number_input(
            "Prevalence, %",
            _LOWEST,
            _HIGHEST,
            value=None,
            step=1.0,
            format="%.1f",
            placeholder="set it",
            label_visibility="collapsed",
            key=widget_key(summary, f"prevalence-{head.disease}"),
            width=130,
        )
        st.caption(predictive_words(head, percentage / 100) if percentage else "PPV and NPV follow.", width="stretch")


def predictive_words(head: HeadCard, prevalence: float) -> str:
    """Returns PPV of a flag and NPV of its absence as a sentence.

    Args:
        head: with its figures at both thresholds, from validation slices.
        prevalence: share of people with any disease of the head among those screened.
    """
    low, high = head.threshold_metrics["low"], head.threshold_metrics["high"]
    flagged = predictive_values(high.sensitivity, high.specificity, prevalence).positive
    unflagged = predictive_values(low.sensitivity, low.specificity, prevalence).negative
    return (
        f"PPV of *flagged* {_figure(flagged)}, NPV of *not flagged* {_figure(unflagged)}, "
        "from sensitivity and specificity on validation slices."
    )


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"**{proportion(value)}**"
