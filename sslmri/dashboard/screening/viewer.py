"""The left side of the screening page: the scan, and the scan under the saliency map of a finding."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from sslmri.dashboard.screening.images import fit, overlay_image, place_map, scan_image, windowed
from sslmri.dashboard.screening.planes import reformat
from sslmri.dashboard.screening.state import explain, widget_key
from sslmri.dashboard.screening.viewer_controls import View, choose_view, choose_window
from sslmri.dashboard.session_cache import keep
from sslmri.diseases import DISEASES, class_title
from sslmri.evidence.verdict import Verdict
from sslmri.scans.scan import Scan
from sslmri.scans.slices import shown_box
from sslmri.screening.maps import CLOSED_FORM, METHODS
from sslmri.screening.outcome import Finding, Screening, ScreeningSummary

if TYPE_CHECKING:
    from sslmri.screening.screener import Screener

_IMAGE_WIDTH = 330  # pixels; two fit next to each other in the left column of a wide screen
_SINGLE_WIDTH = 500
_MAX_SLICES = 48  # slices at the size of the page, a megabyte each
_RANK = {Verdict.FLAGGED: 2, Verdict.INCONCLUSIVE: 1}


@dataclass(frozen=True)
class _Map:
    """The map shown: of a finding's class, by a method, on the classifier's scale in logits, and how opaque."""

    disease: str
    label: str
    method: str
    scale: float
    opacity: float

    @property
    def is_absolute(self) -> bool:
        """Whether colours can be compared between scans."""
        return self.method == CLOSED_FORM

    @property
    def title(self) -> str:
        """What the map is of, in bold."""
        disease, label = DISEASES[self.disease].title, class_title(self.label)
        return f"**{disease}.**" if disease.lower() == label.lower() else f"**{disease}, {label}.**"

    @property
    def legend(self) -> str:
        """How to read the colours."""
        if self.is_absolute:
            return (
                f"Grad-CAM: contribution of each location to the logit. Fixed scale, 0 to {self.scale:.2g}, comparable "
                "between scans."
            )
        return (
            f"{METHODS[self.method]}: scaled to its own maximum, so colours cannot be compared between scans or "
            "classes, and weak evidence looks as bright as strong evidence."
        )


def choose_finding(summary: ScreeningSummary) -> Finding | None:
    """Returns the finding whose map is shown, at first the most urgent one; None where no classifier was assessed."""
    findings = summary.assessed
    if not findings:
        return None
    key = widget_key(summary, "disease")
    if st.session_state.get(key) not in findings:
        st.session_state[key] = max(findings.values(), key=_urgency).disease
    chosen = st.segmented_control(
        "Map of",
        list(findings),
        format_func=lambda disease: DISEASES[disease].title,
        key=key,
        required=True,
        wrap=True,
    )
    return findings[chosen] if chosen else max(findings.values(), key=_urgency)


def show_finding(summary: ScreeningSummary, disease: str) -> None:
    """Switches the map to a disease; for a button's ``on_click``."""
    st.session_state[widget_key(summary, "disease")] = disease


def _urgency(finding: Finding) -> tuple[int, float]:
    return _RANK.get(finding.verdict, 0), finding.probability_any


@st.fragment
def draw_viewer(
    screener: "Screener", scan: Scan, screening: Screening, finding: Finding | None, mask: np.ndarray | None
) -> None:
    """Draws the images and the controls that change them, without drawing the rest of the page again.

    Args:
        screener: with the model.
        scan: in view.
        screening: of it.
        finding: whose map is shown, if any.
        mask: where a simulated lesion was drawn, bool of the voxels' shape; None for a real scan.
    """
    images, position, appearance = st.container(), st.container(gap="small"), st.container(gap="small")
    with appearance:
        chosen = _choose_map(screener, screening, finding) if finding else None
        level, width = choose_window(scan, screening.summary)
        is_outlined = mask is not None and _choose_mask(screening)
    with position:
        view = choose_view(scan, screening, finding, chosen.label if chosen else None)
    fitted = keep("slices", f"{screening.summary.sha256}/{view.title}", _MAX_SLICES, lambda: fit(view.slice_))
    pixels = windowed(fitted, level, width)
    outline = _mask_in_view(scan, mask, view) if mask is not None and is_outlined else None
    plain = scan_image(pixels, view.slice_.labels, _lines(view, level, width), outline)
    with images:
        if chosen is None:
            st.image(plain, width=_SINGLE_WIDTH, alt=f"The scan, {view.title}")
            return
        row = st.container(horizontal=True, gap="small")  # wraps on narrow screens
        row.image(plain, width=_IMAGE_WIDTH, alt=f"The scan, {view.title}")
        image, legend = _map_image(screener, scan, screening, chosen, view, pixels, outline)
        row.image(image, width=_IMAGE_WIDTH, alt=f"Map of {class_title(chosen.label)}, {view.title}")
        st.caption(legend)


def _choose_mask(screening: Screening) -> bool:
    return st.toggle(
        "True mask",
        key=widget_key(screening.summary, "mask"),
        help="Outlines the simulated lesion, for comparison with the map.",
    )


def _mask_in_view(scan: Scan, mask: np.ndarray, view: View) -> np.ndarray:
    """Returns the mask of the slice in view at the size of the page, bool (h, w)."""
    return fit(reformat(replace(scan, voxels=mask), view.plane or "axial", view.index)) > 0.5


def _map_image(
    screener: "Screener", scan: Scan, screening: Screening, chosen: _Map, view: View, pixels: np.ndarray,
    outline: np.ndarray | None,
) -> tuple[bytes, str]:  # fmt: skip
    """Returns the slice under the map and its legend; without a map the plain slice, and why there is none."""
    if view.screened is None:
        reason = "No map: this slice was not analysed."
        if view.slice_.image.shape != scan.voxels.shape[1:]:
            reason = "No map in this plane: the classifiers read axial slices only."
        return scan_image(pixels, view.slice_.labels, (reason, ""), outline), f"{chosen.title} {reason}"
    box = shown_box(view.slice_.image, scan.info.spacing_mm, screener.card.encoder.preparation)
    level = place_map(_level(screener, screening, chosen, view.screened), box, (pixels.shape[0], pixels.shape[1]))
    top = f"{chosen.scale:.2g} logits or more" if chosen.is_absolute else "this map's own maximum"
    image = overlay_image(pixels, level, chosen.opacity, view.slice_.labels, top, outline)
    legend = chosen.legend if level.max() > 0 else "No positive evidence for this class in this slice."
    return image, f"{chosen.title} {legend}"


def _lines(view: View, level: float, width: float) -> tuple[str, str]:
    """Returns the two lines below the scan: which slice it is, its intensity window, and the size of its pixels."""
    known, unknown = [], []
    if view.slice_.pixel_mm:
        known.append(" x ".join(f"{mm:.2f}" for mm in view.slice_.pixel_mm) + " mm per pixel")
    else:
        unknown.append("pixel size")
    if view.slice_.labels is None:
        unknown.append("orientation")
    if unknown:
        known.append(f"{' and '.join(unknown)} unknown")
    size = ", ".join(known)
    return f"{view.title[:1].upper()}{view.title[1:]}, L {level:g} W {width:g}", f"{size[:1].upper()}{size[1:]}"


def _choose_map(screener: "Screener", screening: Screening, finding: Finding) -> _Map:
    classes = _shown_classes(screener, finding)
    left, middle, right = st.columns(3, gap="small")
    label: str = left.selectbox(
        "Class",
        classes,
        index=classes.index(finding.top_class),
        format_func=class_title,
        key=widget_key(screening.summary, f"class-{finding.disease}"),
        help="The map shows the evidence for this class. The most probable class is shown first.",
    )
    method: str = middle.selectbox(
        "Method", list(METHODS), format_func=lambda key: METHODS[key], key=widget_key(screening.summary, "method")
    )
    opacity: float = right.slider("Map opacity", 0.0, 1.0, 0.7, 0.05, key=widget_key(screening.summary, "opacity"))
    return _Map(finding.disease, label, method, screener.card.heads[finding.disease].saliency_scale, opacity)


def _shown_classes(screener: "Screener", finding: Finding) -> list[str]:
    """Returns the classes whose map can be chosen: those with training examples, and the most probable one."""
    unlearned = screener.card.heads[finding.disease].untrained
    return [label for label in finding.probabilities if label == finding.top_class or label not in unlearned]


def _level(screener: "Screener", screening: Screening, chosen: _Map, index: int) -> np.ndarray:
    """Returns a map of an analysed slice in [0, 1] of its scale."""
    if chosen.is_absolute:
        column = DISEASES[chosen.disease].classes.index(chosen.label)
        return np.asarray(screening.arrays.saliency[chosen.disease][index, column] / chosen.scale)
    with st.spinner("Computing the map"):
        return explain(screener, screening, chosen.disease, index, chosen.label, chosen.method)
