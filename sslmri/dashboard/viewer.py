"""The left side of the screening page: the scan, and the scan with what an answer rests on."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from sslmri.dashboard import charts
from sslmri.dashboard.pictures import overlay_picture, plain_picture
from sslmri.dashboard.state import explain, widget_key
from sslmri.dashboard.words import in_order
from sslmri.diseases import DISEASES, class_title

if TYPE_CHECKING:
    from sslmri.screening.screener import Finding, Screener, Screening

_PICTURE_WIDTH = 330  # pixels; two fit beside each other in the left column of a wide screen
_RANK = {"flagged": 2, "indeterminate": 1}


def choose_finding(screening: "Screening") -> "Finding":
    """Returns the finding whose map is shown, first of all the one that most asks for a look."""
    findings = {finding.disease: finding for finding in screening.findings}
    key = widget_key(screening, "disease")
    if key not in st.session_state:
        st.session_state[key] = _first_shown(screening).disease
    chosen = st.segmented_control(
        "Map of",
        in_order(findings),
        format_func=lambda disease: DISEASES[disease].title,
        key=key,
        required=True,
        wrap=True,
    )
    return findings[chosen] if chosen else _first_shown(screening)


def show_finding(screening: "Screening", disease: str) -> None:
    """Switches the map to a disease; for a button's ``on_click``."""
    st.session_state[widget_key(screening, "disease")] = disease


def _first_shown(screening: "Screening") -> "Finding":
    def urgency(finding: "Finding") -> tuple[int, float]:
        reference = DISEASES[finding.disease].reference
        rank = _RANK.get(finding.status, 0) if finding.applicable else -1
        return rank, -finding.probabilities[reference]

    return max(screening.findings, key=urgency)


@st.fragment
def draw_viewer(screener: "Screener", screening: "Screening", finding: "Finding") -> None:
    """Draws both pictures and the choices that change them, without drawing the rest of the page again."""
    from sslmri.screening.saliency import CLOSED_FORM, METHODS

    pictures = st.container()
    label, method, opacity = _choices(screening, finding, _shown_classes(screener, finding), METHODS)
    index = _choose_slice(screening, finding, label)
    level, top = _level(screener, screening, finding, index, label, method)
    slice_ = screening.slices[index]
    height, width = slice_.shape
    n_slices = screening.n_file_slices
    where = f"slice {screening.slice_numbers[index]} of {n_slices}, " if n_slices > 1 else ""
    row = pictures.container(horizontal=True, gap="small")  # side by side, one below the other where it is narrow
    row.image(
        plain_picture(slice_, f"{where}{width} x {height} as the encoder sees it"),
        width=_PICTURE_WIDTH,
        alt="The scan as the encoder sees it",
    )
    row.image(
        overlay_picture(slice_, level, opacity, top),
        width=_PICTURE_WIDTH,
        alt=f"Map of {class_title(label)} on the scan",
    )
    st.caption(_legend(finding, label, METHODS[method], method == CLOSED_FORM, bool(level.max() > 0)))


def _shown_classes(screener: "Screener", finding: "Finding") -> list[str]:
    """Returns the classes whose map can be chosen: those that the head learned, and the predicted one."""
    unlearned = screener.card.heads[finding.disease].unlearned
    return [label for label in finding.probabilities if label == finding.predicted or label not in unlearned]


def _choices(
    screening: "Screening", finding: "Finding", classes: Sequence[str], methods: Mapping[str, str]
) -> tuple[str, str, float]:
    left, right = st.columns(2, gap="small")
    label: str = left.selectbox(
        "Class",
        classes,
        index=classes.index(finding.predicted),
        format_func=class_title,
        key=widget_key(screening, f"class-{finding.disease}"),
        help="The map shows what speaks for this class. The predicted class comes first.",
    )
    method: str = right.selectbox(
        "Method", list(methods), format_func=lambda key: methods[key], key=widget_key(screening, "method")
    )
    opacity: float = st.slider("Opacity of the map", 0.0, 1.0, 0.7, 0.05, key=widget_key(screening, "opacity"))
    return label, method, opacity


def _choose_slice(screening: "Screening", finding: "Finding", label: str) -> int:
    numbers = screening.slice_numbers
    if len(numbers) == 1:
        return 0
    key = widget_key(screening, f"slice-{finding.disease}")
    number: int = st.select_slider("Slice", numbers, numbers[finding.key_slice], key=key)
    column = list(finding.probabilities).index(label)
    st.plotly_chart(
        charts.slice_strip(numbers, finding.slice_probabilities[:, column], number, class_title(label)),
        config=charts.QUIET,
        key=widget_key(screening, f"strip-{finding.disease}"),
        alt=f"Probability of {class_title(label)} by slice",
    )
    return numbers.index(number)


def _level(
    screener: "Screener", screening: "Screening", finding: "Finding", index: int, label: str, method: str
) -> tuple[np.ndarray, str]:
    """Returns a map in [0, 1] of its scale, and what the top of the scale stands for."""
    from sslmri.screening.saliency import CLOSED_FORM

    if method == CLOSED_FORM:
        column = list(finding.probabilities).index(label)
        return finding.saliency[index, column] / finding.saliency_scale, f"{finding.saliency_scale:.2g} logits or more"
    with st.spinner("Computing the map"):
        return explain(screener, screening, finding, index, label, method), "this map's own maximum"


def _legend(finding: "Finding", label: str, method: str, is_absolute: bool, has_evidence: bool) -> str:
    name = f"**{DISEASES[finding.disease].title}, {class_title(label)}.** "
    if not has_evidence:
        return f"{name}The map is empty: no part of this slice speaks for this class."
    if is_absolute:
        return (
            f"{name}What each place adds to the class's logit, on one scale from 0 to {finding.saliency_scale:.2g} for "
            "every scan screened with this model: weak evidence stays dark."
        )
    return (
        f"{name}{method}: stretched to its own maximum, so colours cannot be compared between scans or classes, and "
        "weak evidence looks as bright as strong."
    )
