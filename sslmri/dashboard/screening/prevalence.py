"""PPV and NPV at the prevalence that the reader sets."""

import streamlit as st

from sslmri.dashboard.screening.state import widget_key
from sslmri.evidence.predictive import PredictiveValues, predictive_values
from sslmri.models.metrics import DiseaseMetrics, OperatingPoint, Thresholds
from sslmri.screening.outcome import ScreeningSummary
from sslmri.text import proportion

_LOWEST, _HIGHEST = 0.1, 99.0  # per cent


@st.fragment
def draw_prevalence(summary: ScreeningSummary, disease: str, evidence: DiseaseMetrics | None) -> None:
    """Draws PPV and NPV at a prevalence; nothing where the thresholds were not evaluated on unseen patients."""
    if evidence is None or evidence.thresholds is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Prevalence (%):", width="content")
        percentage = st.number_input(
            "Prevalence (%)",
            _LOWEST,
            _HIGHEST,
            value=None,
            step=1.0,
            format="%.1f",
            placeholder="enter",
            label_visibility="collapsed",
            key=widget_key(summary, f"prevalence-{disease}"),
            width=130,
        )
        is_volume = summary.n_file_slices > 1
        text = predictive_line(evidence.thresholds, is_volume, percentage / 100) if percentage else "\u2192 PPV, NPV"
        st.caption(text, width="stretch")


def predictive_line(thresholds: Thresholds, is_volume: bool, prevalence: float) -> str:
    """Returns PPV of *flagged* and NPV of *not flagged*, from sensitivity and specificity on unseen patients.

    Args:
        thresholds: with their results on unseen patients.
        is_volume: whether a patient is answered, from many slices, and not a single slice.
        prevalence: fraction of patients with any disease class among those screened.
    """
    low, high = (point.groups if is_volume else point.slices for point in (thresholds.low, thresholds.high))
    positive, negative = _values(high, prevalence).positive, _values(low, prevalence).negative
    unit = "unseen patients" if is_volume else "slices of unseen patients"
    return (
        f"PPV of *flagged* {_bold(positive)}, NPV of *not flagged* {_bold(negative)}, from sensitivity and specificity "
        f"on {unit}."
    )


def _values(point: OperatingPoint, prevalence: float) -> PredictiveValues:
    sensitivity, specificity = point.sensitivity.value, point.specificity.value
    if sensitivity is None or specificity is None:
        return PredictiveValues(None, None)
    return predictive_values(sensitivity, specificity, prevalence)


def _bold(value: float | None) -> str:
    return "not estimable" if value is None else f"**{proportion(value)}**"
