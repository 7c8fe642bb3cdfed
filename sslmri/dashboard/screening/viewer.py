"""The viewer of the screening page: the scan on black, with the saliency map of a finding over it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import streamlit as st

from sslmri.dashboard.screening.payload import MapLayer, Strip, enlarged, pack, volume_of
from sslmri.dashboard.screening.state import explain, widget_key
from sslmri.dashboard.server.streamlit_internals import component
from sslmri.dashboard.session_cache import keep
from sslmri.diseases import DISEASES, class_title
from sslmri.evidence.verdict import Verdict
from sslmri.scans.scan import Scan
from sslmri.scans.slices import shown_box
from sslmri.screening.card_lines import by_urgency
from sslmri.screening.maps import CLOSED_FORM, METHODS, carry_maps
from sslmri.screening.outcome import Finding, Screening, ScreeningSummary
from sslmri.text import count, proportion

if TYPE_CHECKING:
    from sslmri.models.cards import HeadCard
    from sslmri.screening.screener import Screener

CANVAS = Path(__file__).parent / "canvas"
_CARRIED_SIDE = 128  # cells of a map on a slice as acquired: as many as in an aligned slice
_MAX_VOLUMES = 2  # scans as bytes, up to 32 MB each


@dataclass(frozen=True)
class _Map:
    """The map shown: of a finding's class, by a method, on the classifier's scale in logits."""

    disease: str
    label: str
    method: str
    scale: float
    is_carried: bool  # from the aligned brain back to the scan as acquired

    @property
    def is_absolute(self) -> bool:
        """Whether colours can be compared between scans."""
        return self.method == CLOSED_FORM

    @property
    def title(self) -> str:
        """What the map is of."""
        disease, label = DISEASES[self.disease].title, class_title(self.label)
        return f"{disease}." if disease.lower() == label.lower() else f"{disease}, {label}."

    @property
    def legend(self) -> str:
        """How to read the colours."""
        if self.is_absolute:
            return "Contribution of each location to the logit, on one scale for all scans."
        return (
            f"{METHODS[self.method]}: scaled to its own maximum, so colours cannot be compared between scans or "
            "classes, and weak evidence looks as bright as strong evidence."
        )


def finding_in_view(summary: ScreeningSummary, folded: Collection[str]) -> Finding | None:
    """Returns the finding whose map is shown, at first the most urgent one; None where no classifier was assessed.

    Args:
        summary: of the scan.
        folded: diseases that come last, because the evidence for their classifiers is insufficient.
    """
    findings = summary.assessed
    if not findings:
        return None
    chosen = st.session_state.get(widget_key(summary, "disease"))
    return findings[chosen] if chosen in findings else by_urgency(findings.values(), folded)[0]


def show_finding(summary: ScreeningSummary, disease: str) -> None:
    """Switches the map to a disease; for a button's ``on_click``."""
    st.session_state[widget_key(summary, "disease")] = disease


def choose_original(summary: ScreeningSummary, finding: Finding | None) -> bool:
    """Returns whether a finding of the aligned brain is shown on the scan as acquired."""
    if finding is None or not finding.is_aligned:
        return False
    titles = {False: "Aligned brain", True: "Scan as acquired"}
    chosen: bool = st.segmented_control(
        "Shown on",
        list(titles),
        format_func=titles.__getitem__,
        key=widget_key(summary, "original"),
        default=False,
        required=True,
        label_visibility="collapsed",
        help="The classifier read the aligned brain. On the scan as acquired its map is carried back to its place.",
    )
    return chosen


@st.fragment
def draw_viewer(
    screener: "Screener", scan: Scan, screening: Screening, finding: Finding | None, mask: np.ndarray | None
) -> None:
    """Draws the viewer and what chooses its map, without drawing the rest of the page again.

    Args:
        screener: with the model.
        scan: in view.
        screening: of it.
        finding: whose map is shown, if any.
        mask: where a simulated lesion was drawn, bool of the voxels' shape; None for a real scan.
    """
    summary = screening.summary
    place = st.container(key="viewer")
    chosen = _choose_map(screener, screening, finding) if finding else None
    volume = keep("volumes", summary.sha256, _MAX_VOLUMES, lambda: volume_of(scan, summary.slice_numbers))
    key = widget_key(summary, "viewer")
    head = screener.card.heads[finding.disease] if finding else None
    payload = pack(
        scan,
        volume,
        view=finding.disease if finding else "",
        first=_first_slice(screening, chosen, mask),
        numbers=summary.slice_numbers,
        layer=_layer(screener, scan, screening, finding, chosen, key) if finding and chosen else None,
        strip=_strip(screening, finding, head) if finding and head and chosen and not chosen.is_carried else None,
        mask=mask,
        **_widths(screening, finding),
    )
    with place:
        component("viewer", CANVAS)(key=key, data=payload, on_slice_change=lambda: None)


def _first_slice(screening: Screening, chosen: _Map | None, mask: np.ndarray | None) -> int:
    """Returns the number of the slice to open at: where a simulated lesion is largest, else where a class is."""
    numbers = screening.summary.slice_numbers
    if mask is not None:
        return numbers[int(np.argmax([mask[number - 1].sum() for number in numbers]))]
    if chosen is None:
        return numbers[len(numbers) // 2]
    column = DISEASES[chosen.disease].classes.index(chosen.label)
    index = int(screening.arrays.slice_probabilities[chosen.disease][:, column].argmax())
    return _acquired_slice(screening, index) if chosen.is_carried else numbers[index]


def _acquired_slice(screening: Screening, index: int) -> int:
    """Returns the number of the slice as acquired in which the middle of an aligned slice lies."""
    aligned, n_slices = screening.arrays.aligned, screening.summary.n_file_slices
    if aligned is None or aligned.volume is None or aligned.to_scan is None:
        return 1
    _, height, width = aligned.volume.shape
    position = float((aligned.to_scan @ (index, (height - 1) / 2, (width - 1) / 2, 1))[0])
    return min(max(round(position) + 1, 1), n_slices)


def _layer(
    screener: "Screener", scan: Scan, screening: Screening, finding: Finding, chosen: _Map, key: str
) -> MapLayer:
    preparation, numbers = screener.card.encoder.preparation, screening.summary.slice_numbers
    box = shown_box(scan.voxels[0], scan.info.spacing_mm, preparation)
    if finding.is_aligned:
        box = (0.0, 0.0, 1.0, 1.0)
    if chosen.is_carried:
        levels = _carried(scan, screening, chosen)
    elif chosen.is_absolute:
        column = DISEASES[chosen.disease].classes.index(chosen.label)
        maps = screening.arrays.saliency[chosen.disease][:, column]
        levels = {
            n: enlarged(map_, chosen.scale, preparation.image_size) for n, map_ in zip(numbers, maps, strict=True)
        }
    else:
        reported = (st.session_state.get(key) or {}).get("slice")
        number: int = reported if reported in numbers else _first_slice(screening, chosen, None)
        with st.spinner("Computing the map"):
            index = numbers.index(number)
            levels = {number: explain(screener, screening, chosen.disease, index, chosen.label, chosen.method)}
    return MapLayer(
        name=class_title(chosen.label),
        title=chosen.title,
        legend=chosen.legend,
        top=f"{chosen.scale:.2g} logits or more" if chosen.is_absolute else "this map's own maximum",
        is_on=finding.verdict != Verdict.NOT_FLAGGED,
        follows=not chosen.is_absolute,
        box=box,
        levels=levels,
    )


def _carried(scan: Scan, screening: Screening, chosen: _Map) -> dict[int, np.ndarray]:
    """Returns the maps of the aligned brain on the slices as acquired that it reaches, in [0, 1] of their scale."""
    aligned = screening.arrays.aligned
    if aligned is None or aligned.volume is None or aligned.to_scan is None:
        return {}
    maps = aligned.saliency[chosen.disease][:, DISEASES[chosen.disease].classes.index(chosen.label)] / chosen.scale
    found = carry_maps(maps, aligned.volume.shape, aligned.to_scan, scan.voxels.shape, _CARRIED_SIDE)
    return {index + 1: level for index, level in found.items()}


class _Widths(TypedDict):
    lines: dict[int, list[tuple[float, float, float, float]]]
    texts: dict[int, list[str]]


def _widths(screening: Screening, finding: Finding | None) -> _Widths:
    """Returns the two widths whose ratio is the Evans index, on the aligned slice where they were measured."""
    aligned, measured = screening.arrays.volume, finding.ventricles if finding else None
    if aligned is None or measured is None or not measured.horns or not measured.brain:
        return {"lines": {}, "texts": {}}
    _, height, width = aligned.shape
    lines = [
        (line.first / width, (line.row + 0.5) / height, (line.last + 1) / width, (line.row + 0.5) / height)
        for line in (measured.horns, measured.brain)
    ]
    number = measured.horns.slice_ + 1
    return {"lines": {number: lines}, "texts": {number: [f"Evans index {measured.evans_index:.2f}"]}}


def _strip(screening: Screening, finding: Finding, head: "HeadCard") -> Strip | None:
    values = 1 - screening.arrays.slice_probabilities[finding.disease][:, 0]
    if len(values) < 2:
        return None
    above = f"{(values >= head.threshold_high).sum()} of {count(len(values), 'slice')}"
    title = (
        f"Probability of {DISEASES[finding.disease].any_title} by slice: {above} at or above "
        f"{proportion(head.threshold_high)}, the threshold of a slice."
    )
    return Strip(title, tuple(round(float(value), 4) for value in values), head.threshold_high)


def _choose_map(screener: "Screener", screening: Screening, finding: Finding) -> _Map:
    classes = _shown_classes(screener.card.heads[finding.disease], finding)
    is_carried = finding.is_aligned and screening.arrays.volume is None
    with st.expander("Map settings"):
        left, right = st.columns(2, gap="small")
        label: str = left.selectbox(
            "Class",
            classes,
            format_func=class_title,
            key=widget_key(screening.summary, f"class-{finding.disease}"),
            help="The map shows the evidence for this class. The most probable disease class is shown first.",
        )
        method: str = right.selectbox(
            "Method",
            [CLOSED_FORM] if is_carried else list(METHODS),
            format_func=lambda key: METHODS[key],
            key=widget_key(screening.summary, "method-carried" if is_carried else "method"),
        )
    return _Map(finding.disease, label, method, screener.card.heads[finding.disease].saliency_scale, is_carried)


def _shown_classes(head: "HeadCard", finding: Finding) -> Sequence[str]:
    """Returns the classes whose map can be chosen: those trained, the most probable disease class first."""
    reference = DISEASES[finding.disease].reference
    trained = [label for label in finding.probabilities if label not in head.untrained]
    return sorted(trained, key=lambda label: (label == reference, -finding.probabilities[label]))
