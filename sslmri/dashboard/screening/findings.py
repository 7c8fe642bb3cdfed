"""The right side of the screening page: one card for each disease, with PPV and NPV at the prevalence that is set."""

from collections.abc import Mapping
from typing import Literal

import streamlit as st

from sslmri.dashboard import charts
from sslmri.dashboard.screening.state import widget_key
from sslmri.dashboard.screening.viewer import show_finding
from sslmri.dashboard.text import escape_markdown
from sslmri.diseases import DISEASES
from sslmri.evidence.predictive import PredictiveValues, predictive_values
from sslmri.evidence.verdict import Verdict
from sslmri.models.cards import HeadCard, ModelCard
from sslmri.models.evidence import Metrics
from sslmri.models.metrics import DiseaseMetrics, OperatingPoint, Thresholds
from sslmri.screening import messages
from sslmri.screening.outcome import Finding, ScreeningSummary
from sslmri.text import proportion

_COLOURS: dict[Verdict, Literal["orange", "gray"]] = {Verdict.FLAGGED: "orange"}
_LOWEST, _HIGHEST = 0.1, 99.0  # prevalence, in per cent


def choose_scan(names: Mapping[int, str], key: str) -> int | None:
    """Returns which of the readable scans is in view, the last one at first; None where there is none.

    Args:
        names: by position among the uploads.
        key: of the widget.
    """
    readable = list(names)
    if len(readable) < 2:
        return readable[0] if readable else None
    chosen: int = st.selectbox(
        f"Scan ({len(readable)} loaded)",
        readable,
        index=len(readable) - 1,
        format_func=lambda index: f"{readable.index(index) + 1}. {names[index]}",
        key=key,
    )
    return chosen


def draw_findings(card: ModelCard, summary: ScreeningSummary, shown: str | None, metrics: Metrics | None) -> None:
    """Draws a card for each disease; for what is not brain MRI one sentence and no number.

    Args:
        card: the model's card.
        summary: of the scan.
        shown: key of the disease whose map is on the left, if any.
        metrics: the model's results on unseen patients, or None where it has none.
    """
    if summary.reason:
        st.warning(escape_markdown(summary.reason))
        return
    for disease, finding in summary.findings.items():
        with st.container(border=True, gap="xsmall"):
            evidence = messages.evidence_of(metrics, disease)
            _draw_verdict(summary, finding, disease == shown, evidence)
            if finding.is_assessed:
                _draw_answer(summary, finding, card.heads[disease])
                _draw_reliability(card, summary, finding, evidence)
                draw_prevalence(summary, disease, evidence)
            else:
                st.markdown(escape_markdown(finding.reason or ""))


def _draw_verdict(summary: ScreeningSummary, finding: Finding, is_shown: bool, evidence: DiseaseMetrics | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown(f"**{DISEASES[finding.disease].title}**", width="content")
        st.badge(finding.verdict, color=_COLOURS.get(finding.verdict, "gray"))
        if not finding.is_assessed:
            return
        if evidence:
            st.caption(f"{evidence.grade.grade} evidence", width="content", help=evidence.grade.reason)
        st.space("stretch")
        st.button(
            "Map shown" if is_shown else "Show map",
            key=widget_key(summary, f"show-{finding.disease}"),
            type="tertiary",
            disabled=is_shown,
            on_click=show_finding,
            args=(summary, finding.disease),
        )


def _draw_answer(summary: ScreeningSummary, finding: Finding, head: HeadCard) -> None:
    members = messages.set_line(finding)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(messages.probability_line(finding), help=messages.threshold_help(finding, head), width="content")
        if members:
            st.space("stretch")
            st.markdown(members, help=f"Classes that cannot be excluded. {head.set_rule}", width="content")
    st.plotly_chart(
        charts.probability_bars(finding, head.untrained),
        config=charts.QUIET,
        key=widget_key(summary, f"bars-{finding.disease}"),
        alt=f"Probability of each class of {DISEASES[finding.disease].title}",
    )


def _draw_reliability(
    card: ModelCard, summary: ScreeningSummary, finding: Finding, evidence: DiseaseMetrics | None
) -> None:
    """Draws how accurate the classifier is on unseen patients, what its map shows, and its limits."""
    texts = (messages.accuracy_line(evidence), messages.map_line(summary, finding))
    st.caption(" ".join((*texts, *messages.limits(card, finding.disease))))


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
