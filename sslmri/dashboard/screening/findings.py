"""The right side of the screening page: one card for each disease."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from sslmri.dashboard import charts
from sslmri.dashboard.screening.prevalence import draw_prevalence
from sslmri.dashboard.screening.state import Outcome, widget_key
from sslmri.dashboard.screening.viewer import show_finding
from sslmri.dashboard.section import draw_notes
from sslmri.dashboard.text import count, escape_markdown, in_order, interval, percent, proportion
from sslmri.diseases import DISEASES, class_title
from sslmri.models.cards import HeadCard, ModelCard

if TYPE_CHECKING:
    from sslmri.screening.screener import Finding, Screening

_COLOURS: dict[str, Literal["orange", "gray", "blue"]] = {"flagged": "orange", "not flagged": "blue"}


def choose_outcome(outcomes: Sequence[Outcome]) -> int | None:
    """Returns which of the readable scans is in view, the last one at first; None where there is none."""
    readable = [index for index, outcome in enumerate(outcomes) if outcome.screening]
    if len(readable) < 2:
        return readable[0] if readable else None
    names = {index: own.screening.name for index in readable if (own := outcomes[index]).screening}
    chosen: int = st.selectbox(
        f"Scan in view, of {count(len(readable), 'scan')}",
        readable,
        index=len(readable) - 1,
        format_func=lambda index: f"{readable.index(index) + 1}. {names[index]}",
        key=f"view-{'-'.join(outcomes[index].token for index in readable)}",
    )
    return chosen


def draw_findings(card: ModelCard, screening: "Screening", shown: str | None, metrics: dict[str, Any] | None) -> None:
    """Draws a card for each disease; for what is no brain MRI one sentence and no number.

    Args:
        card: the model's card.
        screening: what was found.
        shown: key of the disease whose map is on the left, if any.
        metrics: the model's evidence, or None where it has none.
    """
    if screening.not_brain_reason:
        st.warning(escape_markdown(screening.not_brain_reason))
        return
    results = metrics["diseases"] if metrics else {}
    findings = {finding.disease: finding for finding in screening.findings}
    for finding in (findings[key] for key in in_order(findings)):
        with st.container(border=True, gap="xsmall"):
            result = results.get(finding.disease)
            _draw_head(screening, finding, finding.disease == shown, result)
            if finding.applicable:
                _draw_answer(screening, finding, card.heads[finding.disease])
                _draw_worth(card, screening, finding, result)
                draw_prevalence(screening, card.heads[finding.disease])
            else:
                st.markdown(escape_markdown(finding.reason or "This head does not apply to this scan."))


def _draw_head(screening: "Screening", finding: "Finding", is_shown: bool, result: dict[str, Any] | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown(f"**{DISEASES[finding.disease].title}**", width="content")
        if not finding.applicable:
            st.badge("does not apply", color="gray")
            return
        st.badge(finding.status, color=_COLOURS.get(finding.status, "gray"))
        if result:
            st.caption(f"{result['grade']['grade']} evidence", width="content", help=result["grade"]["reason"])
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
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(
            f"{class_title(finding.predicted)}, probability **{proportion(finding.probabilities[finding.predicted])}**",
            help=_threshold_help(finding, head),
            width="content",
        )
        st.space("stretch")
        st.markdown(set_words(finding, head), help=_set_help(head), width="content")
    st.plotly_chart(
        charts.probability_bars(finding, head.unlearned),
        config=charts.QUIET,
        key=widget_key(screening, f"bars-{finding.disease}"),
        alt=f"Probability of each class of {DISEASES[finding.disease].title}",
    )


def set_words(finding: "Finding", head: HeadCard) -> str:
    """Returns the classes of the 90 % set, or that it holds all of them."""
    if len(finding.prediction_set) == len(head.classes):
        return "90 % set: all classes, not enough to say"
    return f"90 % set: {', '.join(class_title(label) for label in finding.prediction_set)}"


def _set_help(head: HeadCard) -> str:
    return f"The classes that cannot be ruled out. How the set was made: {head.set_rule}"


def _threshold_help(finding: "Finding", head: HeadCard) -> str:
    reference = class_title(DISEASES[finding.disease].reference)
    return (
        f"The two ticks mark the thresholds for the probability of any class but {reference}: flagged from "
        f"{proportion(finding.threshold_high)} on, not flagged below {proportion(finding.threshold_low)}, "
        f"indeterminate in between. How they were chosen: {head.threshold_rule}"
    )


def _draw_worth(card: ModelCard, screening: "Screening", finding: "Finding", result: dict[str, Any] | None) -> None:
    """Draws what the answer is worth: how often the head was right on data it never saw, and its limits."""
    sentences = [
        f"{class_title(label).capitalize()} was never learned and cannot be predicted."
        for label in card.heads[finding.disease].unlearned
    ]
    if result is None:
        sentences.insert(0, "This head has not been evaluated on data it never saw.")
    else:
        unseen = count(result["n_groups"], result["unit"])
        sentences.insert(0, f"Share of slices right on {unseen} never seen: {interval(result['accuracy'])}.")
    number = screening.slice_numbers[finding.key_slice]
    where = f" on slice {number}" if screening.n_file_slices > 1 else ""
    covered = f"covers {percent(finding.coverage)} of the head{where}"
    sentences.append(f"The map of {class_title(finding.predicted)} {covered}.")
    sentences.append(DISEASES[finding.disease].caveat_of(card.encoder.cohorts))
    st.caption(" ".join(sentences))


def draw_warnings(screening: "Screening") -> None:
    """Draws what the reader must know whatever the findings say."""
    draw_notes(screening.warnings)
