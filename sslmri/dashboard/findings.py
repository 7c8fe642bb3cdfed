"""The right side of the screening page: one card for each disease, and the findings as files."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from sslmri.dashboard import charts
from sslmri.dashboard.export import findings_csv, findings_json
from sslmri.dashboard.panel import draw_notes
from sslmri.dashboard.state import Outcome, widget_key
from sslmri.dashboard.viewer import show_finding
from sslmri.dashboard.words import count, in_order, interval, percent, proportion
from sslmri.diseases import DISEASES, class_title
from sslmri.learning.cards import HeadCard, ModelCard

if TYPE_CHECKING:
    from sslmri.screening.screener import Finding, Screening

_COLOURS: dict[str, Literal["orange", "gray", "blue"]] = {"flagged": "orange", "not flagged": "blue"}


def choose_outcome(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Returns the outcome to look at, the last given first; None where every file was refused."""
    readable = [outcome for outcome in outcomes if outcome.screening]
    if len(readable) < 2:
        return readable[0] if readable else None
    names = [outcome.screening.name for outcome in readable if outcome.screening]
    index: int = st.selectbox(
        f"Scan in view, of {count(len(readable), 'file')}",
        range(len(readable)),
        index=len(readable) - 1,
        format_func=lambda position: f"{position + 1}. {names[position]}",
        key=f"view-{'-'.join(outcome.token for outcome in readable)}",
    )
    return readable[index]


def draw_findings(card: ModelCard, screening: "Screening", shown: str, metrics: dict[str, Any] | None) -> None:
    """Draws a card for each disease.

    Args:
        card: the model's card.
        screening: what was found.
        shown: key of the disease whose map is on the left.
        metrics: the model's evidence, or None where it has none.
    """
    results = metrics["diseases"] if metrics else {}
    findings = {finding.disease: finding for finding in screening.findings}
    for finding in (findings[key] for key in in_order(findings)):
        with st.container(border=True, gap="xsmall"):
            _draw_head(screening, finding, finding.disease == shown)
            if finding.applicable:
                _draw_answer(screening, finding, card.heads[finding.disease])
            else:
                st.markdown(finding.reason or "This head does not apply to this scan.")
            _draw_worth(card, screening, finding, results.get(finding.disease))


def _draw_head(screening: "Screening", finding: "Finding", is_shown: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown(f"**{DISEASES[finding.disease].title}**", width="content")
        if finding.applicable:
            st.badge(finding.status, color=_COLOURS.get(finding.status, "gray"))
        else:
            st.badge("does not apply", color="gray")
        st.space("stretch")
        st.button(
            "Map shown" if is_shown else "Show map",
            key=widget_key(screening, f"show-{finding.disease}"),
            type="tertiary",
            disabled=is_shown,
            on_click=show_finding,
            args=(screening, finding.disease),
        )


def _draw_answer(screening: "Screening", finding: "Finding", head: HeadCard) -> None:
    predicted = finding.probabilities[finding.predicted]
    st.markdown(
        f"{class_title(finding.predicted)}, probability **{proportion(predicted)}**",
        help=_threshold_help(finding, head),
    )
    st.plotly_chart(
        charts.probability_bars(finding, head.unlearned),
        config=charts.QUIET,
        key=widget_key(screening, f"bars-{finding.disease}"),
        alt=f"Probability of each class of {DISEASES[finding.disease].title}",
    )


def _threshold_help(finding: "Finding", head: HeadCard) -> str:
    reference = class_title(DISEASES[finding.disease].reference)
    return (
        f"The two ticks mark the thresholds for the probability of any class but {reference}: flagged from "
        f"{proportion(finding.threshold_high)} on, not flagged below {proportion(finding.threshold_low)}, "
        f"indeterminate in between. How they were chosen: {head.threshold_rule}"
    )


def _draw_worth(card: ModelCard, screening: "Screening", finding: "Finding", result: dict[str, Any] | None) -> None:
    """Draws what the answer is worth: the grade of its evidence, how often the head was right, its limits."""
    sentences = [
        f"{class_title(label).capitalize()} was never learned and cannot be predicted."
        for label in card.heads[finding.disease].unlearned
    ]
    if result is None:
        sentences.insert(0, "This head has not been evaluated on data it never saw.")
    else:
        unseen = count(result["n_groups"], result["unit"])
        sentences.insert(0, f"Share of slices right on {unseen} never seen: {interval(result['accuracy'])}.")
        sentences.insert(0, f"**{result['grade']['grade'].capitalize()} evidence.**")
    if finding.applicable:
        number = screening.slice_numbers[finding.key_slice]
        where = f" on slice {number}" if screening.n_file_slices > 1 else ""
        covered = f"covers {percent(finding.coverage)} of the head{where}"
        sentences.append(f"The map of {class_title(finding.predicted)} {covered}.")
    sentences.append(DISEASES[finding.disease].caveat_of(card.encoder.cohorts))
    st.caption(" ".join(sentences), help=result["grade"]["reason"] if result else None)


def draw_downloads(card: ModelCard, outcome: Outcome) -> None:
    """Draws the buttons that save the findings as files with random names."""
    screening = outcome.screening
    if screening is None:
        return
    with st.container(horizontal=True):
        for suffix, make, mime in (("csv", findings_csv, "text/csv"), ("json", findings_json, "application/json")):
            st.download_button(
                f"Findings, {suffix.upper()}",
                make(card, screening),
                f"findings-{outcome.token}.{suffix}",
                mime,
                key=widget_key(screening, suffix),
                on_click="ignore",
            )


def draw_warnings(screening: "Screening") -> None:
    """Draws what the reader must know whatever the findings say."""
    draw_notes(screening.warnings)
