"""The viewer of the screening page: the scan on black, with the saliency map of a finding over it."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from sslmri.dashboard.screening.payload import pack, volume_of
from sslmri.dashboard.screening.state import explain, widget_key
from sslmri.dashboard.server.streamlit_internals import component
from sslmri.dashboard.session_cache import keep
from sslmri.diseases import DISEASES, class_title
from sslmri.evidence.verdict import Verdict
from sslmri.scans.scan import Scan
from sslmri.scans.slices import shown_box
from sslmri.screening.card_lines import by_urgency
from sslmri.screening.maps import CLOSED_FORM, METHODS, carry_maps, enlarge
from sslmri.screening.outcome import Finding, Screening, ScreeningSummary
from sslmri.text import count, proportion

if TYPE_CHECKING:
    from sslmri.models.cards import HeadCard
    from sslmri.screening.screener import Screener

CANVAS = Path(__file__).parent / "canvas"
_CARRIED_SIDE = 128  # cells of a map on a slice as acquired: as many as in an aligned slice
_MAX_VOLUMES = 2  # scans as bytes, up to 32 MB each
_ABSOLUTE = "Contribution of each location to the logit, on one scale for all scans."
_RELATIVE = (
    "scaled to its own maximum, so colours cannot be compared between scans or classes, and weak evidence looks as "
    "bright as strong evidence."
)


def finding_in_view(summary: ScreeningSummary, folded: Collection[str]) -> Finding | None:
    """Returns the finding whose map is shown, at first the most urgent one, folded diseases last; None without any."""
    findings = summary.assessed
    chosen = findings.get(st.session_state.get(widget_key(summary, "disease"), ""))
    return chosen or next(iter(by_urgency(findings.values(), folded)), None)


def is_map_on(summary: ScreeningSummary, finding: Finding) -> bool:
    """Returns whether a map is on at first: that of a disease that is not flagged only once the reader asks for it."""
    is_chosen = st.session_state.get(widget_key(summary, "disease")) == finding.disease
    return is_chosen or finding.verdict is not Verdict.NOT_FLAGGED


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

    The mask says where a simulated lesion was drawn, bool of the voxels' shape; None for a real scan.
    """
    summary = screening.summary
    head = screener.card.heads[finding.disease] if finding else None
    shown: dict[str, Any] = {"view": "", "first": summary.slice_numbers[len(summary.slice_numbers) // 2]}
    levels: Mapping[int, np.ndarray] = {}
    if finding and head:
        label, method = _chosen_map(head, screening, finding)
        shown = {"view": finding.disease, "first": _first_slice(screening, finding, label)}
        shown["map"], levels = _map(screener, scan, screening, finding, label, method)
        shown |= {} if _is_carried(screening, finding) else {"strip": _strip(screening, finding, head)}
        shown |= _widths(screening, finding)
    if mask is not None:  # where a simulated lesion is largest
        shown["first"] = max(summary.slice_numbers, key=lambda number: mask[number - 1].sum())
    volume = keep("volumes", summary.sha256, _MAX_VOLUMES, lambda: volume_of(scan, summary.slice_numbers))
    with st.container(key="viewer"):
        payload = pack(scan, volume, summary.slice_numbers, mask, levels=levels, shown=shown)
        component("viewer", CANVAS)(key=widget_key(summary, "viewer"), data=payload, on_slice_change=lambda: None)
    if finding and head:
        _draw_map_settings(head, screening, finding)


def _is_carried(screening: Screening, finding: Finding) -> bool:
    """Returns whether maps of the aligned brain are shown on the scan as acquired."""
    return finding.is_aligned and screening.arrays.volume is None


def _first_slice(screening: Screening, finding: Finding, label: str) -> int:
    """Returns the number of the slice in which a class is most probable."""
    column = DISEASES[finding.disease].classes.index(label)
    index = int(screening.arrays.slice_probabilities[finding.disease][:, column].argmax())
    if _is_carried(screening, finding):
        return _acquired_slice(screening, index)
    return screening.summary.slice_numbers[index]


def _acquired_slice(screening: Screening, index: int) -> int:
    """Returns the number of the slice as acquired in which the middle of an aligned slice lies."""
    aligned, n_slices = screening.arrays.aligned, screening.summary.n_file_slices
    if aligned is None or aligned.volume is None or aligned.to_scan is None:
        return 1
    _, height, width = aligned.volume.shape
    position = float((aligned.to_scan @ (index, (height - 1) / 2, (width - 1) / 2, 1))[0])
    return min(max(round(position) + 1, 1), n_slices)


def _map(
    screener: "Screener", scan: Scan, screening: Screening, finding: Finding, label: str, method: str
) -> tuple[dict[str, Any], Mapping[int, np.ndarray]]:
    """Returns what the viewer says of a class's map, and by number of the slice the maps in [0, 1] of their scale.

    Another method than the closed form makes one map, of the slice in view.
    """
    disease, numbers = DISEASES[finding.disease], screening.summary.slice_numbers
    preparation, scale = screener.card.encoder.preparation, screener.card.heads[finding.disease].saliency_scale
    is_absolute, column = method == CLOSED_FORM, disease.classes.index(label)
    if _is_carried(screening, finding):
        levels = _carried(scan, screening, finding, column, scale)
    elif is_absolute:
        maps = screening.arrays.saliency[finding.disease][:, column]
        levels = {n: enlarge(map_, preparation.image_size) / scale for n, map_ in zip(numbers, maps, strict=True)}
    else:
        reported = (st.session_state.get(widget_key(screening.summary, "viewer")) or {}).get("slice")
        number: int = reported if reported in numbers else _first_slice(screening, finding, label)
        with st.spinner("Computing the map"):
            levels = {number: explain(screener, screening, finding.disease, numbers.index(number), label, method)}
    name, title = class_title(label), disease.title
    box = (0.0, 0.0, 1.0, 1.0) if finding.is_aligned else shown_box(scan.voxels[0], scan.info.spacing_mm, preparation)
    return {
        "name": name,
        "title": f"{title}." if title.lower() == name.lower() else f"{title}, {name}.",
        "legend": _ABSOLUTE if is_absolute else f"{METHODS[method]}: {_RELATIVE}",
        "top": f"{scale:.2g} logits or more" if is_absolute else "this map's own maximum",
        "is_on": is_map_on(screening.summary, finding),
        "follows": not is_absolute,
        "box": box,
    }, levels


def _carried(scan: Scan, screening: Screening, finding: Finding, column: int, scale: float) -> Mapping[int, np.ndarray]:
    """Returns the maps of the aligned brain on the slices as acquired that it reaches, in [0, 1] of their scale."""
    aligned = screening.arrays.aligned
    if aligned is None or aligned.volume is None or aligned.to_scan is None:
        return {}
    maps = aligned.saliency[finding.disease][:, column] / scale
    found = carry_maps(maps, aligned.volume.shape, aligned.to_scan, scan.voxels.shape, _CARRIED_SIDE)
    return {index + 1: level for index, level in found.items()}


def _widths(screening: Screening, finding: Finding) -> dict[str, Any]:
    """Returns the two widths whose ratio is the Evans index, on the aligned slice where they were measured."""
    aligned, measured = screening.arrays.volume, finding.ventricles
    if aligned is None or measured is None or not measured.horns or not measured.brain:
        return {}
    _, height, width = aligned.shape
    lines = [
        (line.first / width, (line.row + 0.5) / height, (line.last + 1) / width, (line.row + 0.5) / height)
        for line in (measured.horns, measured.brain)
    ]
    number = measured.horns.slice_ + 1
    return {"lines": {number: lines}, "texts": {number: f"Evans index {measured.evans_index:.2f}"}}


def _strip(screening: Screening, finding: Finding, head: "HeadCard") -> dict[str, Any] | None:
    """Returns the probability of any disease class of each analysed slice, and the threshold of a slice."""
    values = 1 - screening.arrays.slice_probabilities[finding.disease][:, 0]
    if len(values) < 2:
        return None
    above = f"{(values >= head.threshold_high).sum()} of {count(len(values), 'slice')}"
    title = (
        f"Probability of {DISEASES[finding.disease].any_title} by slice: {above} at or above "
        f"{proportion(head.threshold_high)}, the threshold of a slice."
    )
    return {"title": title, "values": [round(float(value), 4) for value in values], "threshold": head.threshold_high}


def _chosen_map(head: "HeadCard", screening: Screening, finding: Finding) -> tuple[str, str]:
    """Returns class and method of the map that the settings, which are drawn below the viewer, ask for."""
    asked = st.session_state.get
    label = asked(widget_key(screening.summary, f"class-{finding.disease}")) or _shown_classes(head, finding)[0]
    method = None if _is_carried(screening, finding) else asked(widget_key(screening.summary, "method"))
    return label, method or CLOSED_FORM


def _draw_map_settings(head: "HeadCard", screening: Screening, finding: Finding) -> None:
    with st.expander("Map settings"):
        left, right = st.columns(2, gap="small")
        left.selectbox(
            "Class",
            _shown_classes(head, finding),
            format_func=class_title,
            key=widget_key(screening.summary, f"class-{finding.disease}"),
            help="The map shows the evidence for this class. The most probable disease class is shown first.",
        )
        if not _is_carried(screening, finding):
            key = widget_key(screening.summary, "method")
            right.selectbox("Method", list(METHODS), format_func=lambda method: METHODS[method], key=key)


def _shown_classes(head: "HeadCard", finding: Finding) -> Sequence[str]:
    """Returns the classes whose map can be chosen: those trained, the most probable disease class first."""
    reference = DISEASES[finding.disease].reference
    trained = [label for label in finding.probabilities if label not in head.untrained]
    return sorted(trained, key=lambda label: (label == reference, -finding.probabilities[label]))
