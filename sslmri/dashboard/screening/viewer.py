"""The left side of the screening page: the scan, and the scan with what an answer rests on."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from sslmri.dashboard.screening.pictures import fit, overlay_picture, place_map, scan_picture, windowed
from sslmri.dashboard.screening.planes import cut
from sslmri.dashboard.screening.state import explain, keep, widget_key
from sslmri.dashboard.screening.viewer_controls import View, choose_view, choose_window
from sslmri.dashboard.text import in_order
from sslmri.diseases import DISEASES, class_title
from sslmri.scans.scan import Scan
from sslmri.scans.slices import shown_box

if TYPE_CHECKING:
    from sslmri.screening.screener import Finding, Screener, Screening

_PICTURE_WIDTH = 330  # pixels; two fit beside each other in the left column of a wide screen
_LONE_WIDTH = 500
_MAX_CUTS = 48  # slices at the size of the page, a megabyte each
_RANK = {"flagged": 2, "indeterminate": 1}


@dataclass(frozen=True)
class _Map:
    """Which map is shown: of a finding's class, by a method, how opaque."""

    finding: "Finding"
    label: str
    method: str
    opacity: float


def choose_finding(screening: "Screening") -> "Finding | None":
    """Returns the finding whose map is shown, first of all the one that most asks for a look; None where none applies.

    A head that does not apply has no map.
    """
    findings = {finding.disease: finding for finding in screening.findings if finding.applicable}
    if not findings:
        return None
    key = widget_key(screening, "disease")
    if st.session_state.get(key) not in findings:
        st.session_state[key] = max(findings.values(), key=_urgency).disease
    chosen = st.segmented_control(
        "Map of",
        in_order(findings),
        format_func=lambda disease: DISEASES[disease].title,
        key=key,
        required=True,
        wrap=True,
    )
    return findings[chosen] if chosen else max(findings.values(), key=_urgency)


def show_finding(screening: "Screening", disease: str) -> None:
    """Switches the map to a disease; for a button's ``on_click``."""
    st.session_state[widget_key(screening, "disease")] = disease


def _urgency(finding: "Finding") -> tuple[int, float]:
    return _RANK.get(finding.status, 0), -finding.probabilities[DISEASES[finding.disease].reference]


@st.fragment
def draw_viewer(
    screener: "Screener", scan: Scan, screening: "Screening", finding: "Finding | None", mask: np.ndarray | None
) -> None:
    """Draws the pictures and the choices that change them, without drawing the rest of the page again.

    Args:
        screener: with the model.
        scan: in view.
        screening: of it.
        finding: whose map is shown, if any.
        mask: where a simulated finding was drawn, bool of the voxels' shape; None where nobody knows.
    """
    pictures, place, look = st.container(), st.container(gap="small"), st.container(gap="small")
    with look:
        chosen = _choose_map(screener, screening, finding) if finding else None
        level, width = choose_window(scan, screening)
        is_outlined = mask is not None and _choose_mask(screening)
    with place:
        view = choose_view(scan, screening, finding, chosen.label if chosen else None)
    shown = keep("cuts", f"{screening.sha256}/{view.words}", _MAX_CUTS, lambda: fit(view.cut))
    grey = windowed(shown, level, width)
    inside = _inside(scan, mask, view) if mask is not None and is_outlined else None
    plain = scan_picture(grey, view.cut.marks, _lines(view, level, width), inside)
    with pictures:
        if chosen is None:
            st.image(plain, width=_LONE_WIDTH, alt=f"The scan, {view.words}")
            return
        row = st.container(horizontal=True, gap="small")  # side by side, one below the other where it is narrow
        row.image(plain, width=_PICTURE_WIDTH, alt=f"The scan, {view.words}")
        picture, legend = _map_picture(screener, scan, screening, chosen, view, grey, inside)
        row.image(picture, width=_PICTURE_WIDTH, alt=f"Map of {class_title(chosen.label)}, {view.words}")
        st.caption(legend)


def _choose_mask(screening: "Screening") -> bool:
    return st.toggle(
        "True mask",
        key=widget_key(screening, "mask"),
        help="Outlines where the finding of this simulated patient was drawn, to compare the map with.",
    )


def _inside(scan: Scan, mask: np.ndarray, view: View) -> np.ndarray:
    """Returns the mask of the slice in view at the size of the page, bool (h, w)."""
    return fit(cut(replace(scan, voxels=mask), view.plane or "axial", view.index)) > 0.5


def _map_picture(
    screener: "Screener",
    scan: Scan,
    screening: "Screening",
    chosen: _Map,
    view: View,
    grey: np.ndarray,
    inside: np.ndarray | None,
) -> tuple[bytes, str]:
    """Returns the slice under the map, and what the map says; without a map the bare slice, and why there is none."""
    if view.screened is None:
        reason = "No map: this slice was not screened."
        if view.cut.image.shape != scan.voxels.shape[1:]:
            reason = "No map: the heads look at axial slices only."
        return scan_picture(grey, view.cut.marks, (reason, ""), inside), f"{_name(chosen)}{reason}"
    small, top = _level(screener, screening, chosen, view.screened)
    box = keep(
        "boxes",
        f"{screening.sha256}/{view.words}",
        _MAX_CUTS,
        lambda: shown_box(view.cut.image, scan.spacing_mm, screener.card.encoder.preparation),
    )
    level = place_map(small, box, (grey.shape[0], grey.shape[1]))
    picture = overlay_picture(grey, level, chosen.opacity, view.cut.marks, top, inside)
    return picture, _legend(chosen, bool(level.max() > 0))


def _lines(view: View, level: float, width: float) -> tuple[str, str]:
    """Returns what stands below the scan: which slice it is, its grey window, and the size of its pixels."""
    known, unknown = [], []
    if view.cut.pixel_mm:
        known.append(" x ".join(f"{mm:.2f}" for mm in view.cut.pixel_mm) + " mm a pixel")
    else:
        unknown.append("pixel size")
    if view.cut.marks is None:
        unknown.append("orientation")
    if unknown:
        known.append(f"{' and '.join(unknown)} unknown")
    said = ", ".join(known)
    return f"{view.words[:1].upper()}{view.words[1:]}, L {level:g} W {width:g}", f"{said[:1].upper()}{said[1:]}"


def _choose_map(screener: "Screener", screening: "Screening", finding: "Finding") -> _Map:
    from sslmri.screening.saliency import METHODS

    classes = _shown_classes(screener, finding)
    left, middle, right = st.columns(3, gap="small")
    label: str = left.selectbox(
        "Class",
        classes,
        index=classes.index(finding.predicted),
        format_func=class_title,
        key=widget_key(screening, f"class-{finding.disease}"),
        help="The map shows what speaks for this class. The predicted class comes first.",
    )
    method: str = middle.selectbox(
        "Method", list(METHODS), format_func=lambda key: METHODS[key], key=widget_key(screening, "method")
    )
    opacity: float = right.slider("Opacity of the map", 0.0, 1.0, 0.7, 0.05, key=widget_key(screening, "opacity"))
    return _Map(finding, label, method, opacity)


def _shown_classes(screener: "Screener", finding: "Finding") -> list[str]:
    """Returns the classes whose map can be chosen: those that the head learned, and the predicted one."""
    unlearned = screener.card.heads[finding.disease].unlearned
    return [label for label in finding.probabilities if label == finding.predicted or label not in unlearned]


def _level(screener: "Screener", screening: "Screening", chosen: _Map, index: int) -> tuple[np.ndarray, str]:
    """Returns a map in [0, 1] of its scale, and what the top of the scale stands for."""
    from sslmri.screening.saliency import CLOSED_FORM

    finding = chosen.finding
    if chosen.method == CLOSED_FORM:
        column = list(finding.probabilities).index(chosen.label)
        scale = finding.saliency_scale
        return finding.saliency[index, column] / scale, f"{scale:.2g} logits or more"
    with st.spinner("Computing the map"):
        return explain(screener, screening, finding, index, chosen.label, chosen.method), "this map's own maximum"


def _legend(chosen: _Map, has_evidence: bool) -> str:
    from sslmri.screening.saliency import CLOSED_FORM, METHODS

    if not has_evidence:
        return f"{_name(chosen)}The map is empty: no part of this slice speaks for this class."
    if chosen.method == CLOSED_FORM:
        return (
            f"{_name(chosen)}What each place adds to the class's logit, on one scale from 0 to "
            f"{chosen.finding.saliency_scale:.2g} for every scan screened with this model: weak evidence stays dark."
        )
    return (
        f"{_name(chosen)}{METHODS[chosen.method]}: stretched to its own maximum, so colours cannot be compared between "
        "scans or classes, and weak evidence looks as bright as strong."
    )


def _name(chosen: _Map) -> str:
    return f"**{DISEASES[chosen.finding.disease].title}, {class_title(chosen.label)}.** "
