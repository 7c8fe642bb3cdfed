"""The findings of the screening page: which scan is in view, and one card for each disease by urgency."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from sslmri.dashboard import theme
from sslmri.dashboard.screening.review import draw_reading
from sslmri.dashboard.screening.state import widget_key
from sslmri.dashboard.screening.tiles import draw_tile
from sslmri.dashboard.text import escape_markdown
from sslmri.diseases import DISEASES, class_title
from sslmri.evidence.verdict import Verdict, predictive_values
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Controls, Metrics
from sslmri.models.metrics import DiseaseControls, DiseaseMetrics, Thresholds
from sslmri.scans.atlas.ventricles import Ventricles
from sslmri.screening import messages
from sslmri.screening.card_lines import (
    by_urgency,
    insufficient,
    map_rate_line,
    operating_line,
    shortcut_line,
    type_line,
    urgency,
)
from sslmri.screening.outcome import Finding, Screening, ScreeningSummary
from sslmri.screening.report.images import thumbnail
from sslmri.screening.ventricles import AGES, ALL_AGES, age_group, ventricles_line
from sslmri.text import capital, proportion

_COLOURS: dict[Verdict, Literal["orange", "gray"]] = {Verdict.FLAGGED: "orange"}
_TILE = 230  # pixels: a scan among several


def choose_scan(
    names: Mapping[int, str], screenings: Mapping[int, Screening], key: str, folded: Collection[str]
) -> int | None:
    """Draws the readable scans, the most urgent first, and returns which is in view, at first the most urgent one.

    Names and screenings are by position among the uploads. Of folded diseases no verdict is shown.
    """

    def shown(index: int) -> list[Finding]:
        findings = screenings[index].summary.findings.values()
        return by_urgency(finding for finding in findings if finding.disease not in folded)

    def order(index: int) -> tuple[bool, list[tuple[int, float]]]:
        return bool(screenings[index].summary.reason), [urgency(finding) for finding in shown(index)]

    readable = sorted(names, key=order)
    if len(readable) < 2:
        return readable[0] if readable else None
    chosen: int = st.session_state.setdefault(key, readable[0])
    with st.container(horizontal=True, gap="xsmall"):
        for index in readable:
            verdict = _short(screenings[index].summary, shown(index))
            label = f"{escape_markdown(names[index])}  \n**{verdict}**"
            image, is_chosen = thumbnail(screenings[index]), index == chosen
            draw_tile(image, label, f"{key}-{index}", _TILE, (key, index), is_row=True, is_chosen=is_chosen)
    return chosen


def _short(summary: ScreeningSummary, findings: Sequence[Finding]) -> str:
    """Returns the most urgent verdict of a scan, and on which diseases; see ``by_urgency``."""
    if summary.reason:
        return "not brain MRI"
    for verdict in (Verdict.FLAGGED, Verdict.INCONCLUSIVE):
        if titles := [DISEASES[finding.disease].title for finding in findings if finding.verdict is verdict]:
            return f"{', '.join(titles)} {verdict}"
    return "nothing flagged"


def draw_findings(
    card: ModelCard,
    summary: ScreeningSummary,
    shown: str | None,
    metrics: Metrics | None,
    controls: Controls | None,
    decade: int | None = None,
) -> None:
    """Draws a card for each disease, the most urgent first; for what is not brain MRI one sentence and no number.

    ``shown`` is the disease whose map is on, ``decade`` that of the patient's age where the file states it.
    """
    if summary.reason:
        st.warning(escape_markdown(f"{summary.reason} If it is one, look for noise, cropping or unusual contrast."))
    folded = insufficient(metrics.diseases if metrics else {})
    for finding in by_urgency(summary.assessed.values(), folded):
        evidence = messages.evidence_of(metrics, finding.disease)
        control = controls.diseases.get(finding.disease) if controls else None
        label = f"{DISEASES[finding.disease].title}: not shown, insufficient evidence. "
        label += escape_markdown(evidence.grade.reason) if evidence else ""
        is_folded = finding.disease in folded
        place = _fold(summary, label, finding.disease) if is_folded else st.container(border=True, gap="xsmall")
        with place:
            _draw_card(card, summary, finding, shown, evidence, control, decade)
    absent = [finding for finding in summary.findings.values() if not finding.is_assessed]
    if absent:
        titles = ", ".join(DISEASES[finding.disease].title for finding in absent)
        with _fold(summary, "Your reading" if summary.reason else f"Not assessed: {titles}", "absent"):
            for finding in absent:
                if not summary.reason:
                    st.markdown(f"**{DISEASES[finding.disease].title}.** {escape_markdown(finding.reason or '')}")
                draw_reading(summary, finding)
    draw_prevalence(summary, metrics, folded)


def _fold(summary: ScreeningSummary, label: str, name: str) -> DeltaGenerator:
    """Returns an expander that stays open when the page is drawn again, as after each reading in it."""
    return st.expander(label, key=widget_key(summary, f"fold-{name}"), on_change="rerun")


def _draw_card(
    card: ModelCard,
    summary: ScreeningSummary,
    finding: Finding,
    shown: str | None,
    evidence: DiseaseMetrics | None,
    control: DiseaseControls | None,
    decade: int | None,
) -> None:
    head, is_volume = card.heads[finding.disease], summary.n_file_slices > 1
    _draw_verdict(summary, finding, finding.disease == shown)
    st.markdown(messages.probability_line(finding), help=messages.threshold_help(finding, head))
    st.html(_bar(finding))
    grade = f"{capital(evidence.grade.grade)} evidence. " if evidence else ""
    sequences = f"For {DISEASES[finding.disease].sequences}. This scan: {messages.sequence_line(summary)}."
    known = ((sequences, summary.sequence is None), map_rate_line(control), shortcut_line(control))
    lines = (
        type_line(finding, evidence),
        f"{grade}{operating_line(finding, evidence, is_volume)}.",
        *(line for line, is_warning in known if is_warning),
        *(notice.text for notice in summary.warnings if notice.disease == finding.disease),
    )
    for line in filter(None, lines):
        st.markdown(escape_markdown(line))
    if finding.ventricles:
        draw_ventricles(summary, finding.ventricles, decade)
    draw_reading(summary, finding)
    with _fold(summary, "Evidence, prediction set", f"details-{finding.disease}"):
        _draw_details(card, summary, finding, evidence, [line for line, is_warning in known if not is_warning])


def _draw_verdict(summary: ScreeningSummary, finding: Finding, is_shown: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.markdown(f"**{DISEASES[finding.disease].title}**", width="content")
        st.badge(finding.verdict, color=_COLOURS.get(finding.verdict, "gray"))
        st.space("stretch")
        st.button(
            "Map in view" if is_shown else "Show map",
            key=widget_key(summary, f"show-{finding.disease}"),
            type="tertiary",
            on_click=st.session_state.__setitem__,
            args=(widget_key(summary, "disease"), finding.disease),
        )


def _bar(finding: Finding) -> str:
    """Returns the probability of any disease class as a bar with its thresholds, in HTML."""
    is_flagged = finding.verdict is Verdict.FLAGGED
    colour = theme.STATUSES["flagged"] if is_flagged else theme.REFERENCE
    limits = {finding.not_flagged_below, finding.flagged_from}
    ticks = "".join(
        f'<div style="position:absolute;left:{100 * limit:.1f}%;top:-3px;width:2px;height:14px;'
        f'background:{theme.ink()}"></div>'
        for limit in limits
    )
    label = f"{messages.probability_line(finding)}"
    return (
        f'<div role="img" aria-label="{label}" style="position:relative;height:8px;background:{theme.faint()};'
        f'border:1px solid {theme.MISSING};border-radius:4px;margin:2px 0 4px">'
        f'<div style="width:{100 * finding.probability_any:.1f}%;height:100%;background:{colour};border-radius:3px">'
        f"</div>{ticks}</div>"
    )


def _draw_details(
    card: ModelCard, summary: ScreeningSummary, finding: Finding, evidence: DiseaseMetrics | None, known: Sequence[str]
) -> None:
    """Draws every class, the prediction set, how accurate the classifier is, what its map shows, and its limits."""
    head = card.heads[finding.disease]
    classes = ", ".join(
        f"{class_title(label)} {'not trained' if label in head.untrained else proportion(value)}"
        for label, value in finding.probabilities.items()
    )
    texts = (
        f"{classes}.",
        f"{members}. {head.set_rule}" if (members := messages.set_line(finding)) else None,
        messages.evidence_line(evidence),
        evidence.grade.reason if evidence else None,
        messages.map_line(summary, finding),
        *known,
        *messages.limits(card, finding.disease),
    )
    st.caption("  \n".join(escape_markdown(text) for text in texts if text))


@st.fragment
def draw_ventricles(summary: ScreeningSummary, ventricles: Ventricles, decade: int | None) -> None:
    """Draws what the ventricles measure, next to training controls of the age that the file or the reader states."""
    line, ages = st.empty(), [ALL_AGES, *AGES]
    age: str = st.selectbox(
        "Age of these controls",
        ages,
        index=ages.index(age_group(decade)),
        key=widget_key(summary, "age"),
        help="As DICOM states, or as you choose. No report holds it.",
        width=200,
    )
    line.markdown(ventricles_line(ventricles, age))


@st.fragment
def draw_prevalence(summary: ScreeningSummary, metrics: Metrics | None, folded: Collection[str]) -> None:
    """Draws PPV and NPV of the verdicts shown at a prevalence, once the reader gives one."""
    shown = [key for key, each in summary.assessed.items() if key not in folded and each.site_patients is None]
    thresholds = {key: found.thresholds for key in shown if (found := messages.evidence_of(metrics, key))}
    if not any(thresholds.values()):
        return
    with st.expander("PPV and NPV at a prevalence"):
        percentage = st.number_input(
            "Prevalence (%)", 0.1, 99.0, value=None, step=1.0, format="%.1f", key="prevalence", persist_state="session"
        )
        for key, measured in thresholds.items():
            if percentage and measured:
                line = predictive_line(measured, summary.n_file_slices > 1, percentage / 100)
                st.markdown(f"If {percentage:g} of 100 scanned people have {DISEASES[key].any_title}: {line}")


def predictive_line(thresholds: Thresholds, is_volume: bool, prevalence: float) -> str:
    """Returns PPV of *flagged* and NPV of *not flagged*, from sensitivity and specificity on unseen patients.

    The prevalence is the fraction of patients with any disease class among those screened.
    """
    low, high = (point.groups if is_volume else point.slices for point in (thresholds.low, thresholds.high))
    (positive, _), (_, negative) = predictive_values(high, prevalence), predictive_values(low, prevalence)
    unit = "unseen patients" if is_volume else "slices of unseen patients"
    return (
        f"PPV of *flagged* {_bold(positive)}, NPV of *not flagged* {_bold(negative)}, from sensitivity and specificity "
        f"on {unit}."
    )


def _bold(value: float | None) -> str:
    return "not estimable" if value is None else f"**{proportion(value)}**"
