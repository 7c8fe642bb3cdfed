"""The controls of the viewer: plane, slice, the clickable probability strip, intensity window."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from sslmri.dashboard import charts
from sslmri.dashboard.screening.planes import ReformattedSlice, file_slice, n_slices_in, plane_of, planes_of, reformat
from sslmri.dashboard.screening.state import widget_key
from sslmri.dashboard.session_cache import keep
from sslmri.diseases import class_title
from sslmri.scans.scan import Scan
from sslmri.scans.slices import head_mask
from sslmri.screening.outcome import Finding, Screening, ScreeningSummary

_PERCENTILES = (1.0, 99.5)  # of the intensities inside the head, as in the preparation for the encoder
_ENDS = (0.0, 99.95)  # of all intensities: the range of the window; single bright voxels lie above
_STEPS = 200
_FINE_SIDE = 512  # pixels along the shorter side, enough for a slice's percentiles
_COARSE = (16, 128, 128)  # slices, rows and columns, enough for a volume's percentiles
_SCREENED, _ALL = "screened", "all"


@dataclass(frozen=True)
class View:
    """The slice in view.

    Attributes:
        slice_: its image.
        plane: or None where it is unknown.
        index: of the slice in that plane, from 0 on.
        screened: its position among the analysed slices, or None where it is none of them.
        title: which it is.
    """

    slice_: ReformattedSlice
    plane: str | None
    index: int
    screened: int | None
    title: str


def choose_view(scan: Scan, screening: Screening, finding: Finding | None, label: str | None) -> View:
    """Returns the slice that the reader chose, at first the key slice."""
    if len(scan.voxels) == 1:
        return View(file_slice(scan, 0), plane_of(scan), 0, 0, " ".join(filter(None, (plane_of(scan), "slice"))))
    choices = st.container(horizontal=True, gap="medium")
    plane = _choose_plane(scan, screening.summary, choices)
    if plane in (None, plane_of(scan)):
        return _choose_file_slice(scan, screening, finding, label, choices)
    n_slices = n_slices_in(scan, plane)
    key = widget_key(screening.summary, f"slice-{plane}")
    number: int = st.slider("Slice", 1, n_slices, value=(n_slices + 1) // 2, key=key)
    return View(reformat(scan, plane, number - 1), plane, number - 1, None, f"{plane} slice {number} of {n_slices}")


def _choose_plane(scan: Scan, summary: ScreeningSummary, row: DeltaGenerator) -> str | None:
    planes = planes_of(scan)
    if not planes:
        return plane_of(scan)
    return row.segmented_control(
        "Plane",
        planes,
        format_func=str.capitalize,
        key=widget_key(summary, "plane"),
        default=planes[0],
        required=True,
        help="The classifiers read axial slices only: other planes have no map.",
    )


def _choose_file_slice(
    scan: Scan, screening: Screening, finding: Finding | None, label: str | None, row: DeltaGenerator
) -> View:
    """Returns a slice of the file; slider and strip move the same number."""
    summary = screening.summary
    key = widget_key(summary, f"number-{finding.disease if finding else ''}")
    numbers = summary.slice_numbers
    if key not in st.session_state:
        st.session_state[key] = finding.key_slice if finding else numbers[len(numbers) // 2]
    n_slices = len(scan.voxels)
    which = _choose_which(summary, n_slices, row)
    options = numbers if which == _SCREENED else range(1, n_slices + 1)
    number = min(options, key=lambda option: abs(option - st.session_state[key]))
    if len(options) > 1:
        slider = f"slider-{which}-{key}"
        st.session_state[slider] = number
        st.select_slider("Slice", options, key=slider, on_change=_take_slider, args=(key, slider))
    if finding and label and len(numbers) > 1:
        _draw_strip(screening, finding, label, number, key)
    title = f"{plane_of(scan) or ''} slice {number} of {n_slices}".strip()
    screened = numbers.index(number) if number in numbers else None
    return View(file_slice(scan, number - 1), plane_of(scan), number - 1, screened, title)


def _choose_which(summary: ScreeningSummary, n_slices: int, row: DeltaGenerator) -> str:
    n_screened = len(summary.slice_numbers)
    if n_screened == n_slices:
        return _SCREENED
    titles = {_SCREENED: f"Analysed ({n_screened})", _ALL: f"All ({n_slices})"}
    return row.segmented_control(
        "Slices",
        [_SCREENED, _ALL],
        format_func=lambda which: titles[which],
        key=widget_key(summary, "which"),
        default=_SCREENED,
        required=True,
        help="Only analysed slices have a map.",
    )


def _take_slider(key: str, slider: str) -> None:
    st.session_state[key] = st.session_state[slider]


def _draw_strip(screening: Screening, finding: Finding, label: str, number: int, key: str) -> None:
    column = list(finding.probabilities).index(label)
    values = screening.arrays.slice_probabilities[finding.disease][:, column]
    strip = widget_key(screening.summary, f"strip-{finding.disease}")
    st.plotly_chart(
        charts.slice_strip(screening.summary.slice_numbers, values, number, class_title(label)),
        config=charts.QUIET,
        key=strip,
        on_select=lambda: _take_click(key, strip),
        selection_mode="points",
        alt=f"Probability of {class_title(label)} by slice",
    )


def _take_click(key: str, strip: str) -> None:
    points = st.session_state[strip]["selection"]["points"]
    if points:
        st.session_state[key] = int(points[0]["x"])


def choose_window(scan: Scan, summary: ScreeningSummary) -> tuple[float, float]:
    """Returns level and width of the intensity window in the units of the file."""
    default, lowest, highest, step = keep(
        "windows", summary.sha256, 16, lambda: _intensity_range(scan, summary.slice_numbers)
    )
    level_key, width_key = widget_key(summary, "level"), widget_key(summary, "width")
    for key, value in zip((level_key, width_key), default, strict=True):
        st.session_state.setdefault(key, value)
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    level = row.slider(
        "Level", lowest, highest, step=step, format="%g", key=level_key, help="Middle of the intensities shown."
    )
    width = row.slider(
        "Window",
        step,
        highest - lowest,
        step=step,
        format="%g",
        key=width_key,
        help="From black to white, in the file's units.",
    )
    row.button(
        "Reset",
        key=widget_key(summary, "reset"),
        type="tertiary",
        on_click=lambda: st.session_state.update({level_key: default[0], width_key: default[1]}),
    )
    return level, width


def _intensity_range(scan: Scan, numbers: Sequence[int]) -> tuple[tuple[float, float], float, float, float]:
    """Returns the window by percentiles inside the head of the middle slice, lowest and highest value, and a step."""
    image = scan.voxels[numbers[len(numbers) // 2] - 1]
    fine = max(1, min(image.shape) // _FINE_SIDE)
    image = image[::fine, ::fine]
    low, high = (float(value) for value in np.percentile(image[head_mask(image)], _PERCENTILES))
    coarse = tuple(slice(None, None, max(1, n // most)) for n, most in zip(scan.voxels.shape, _COARSE, strict=True))
    ends = np.percentile(scan.voxels[coarse], _ENDS)
    first, last = min(float(ends[0]), low), max(float(ends[1]), high)
    step = _round_step((last - first) / _STEPS)
    lowest, highest = float(np.floor(first / step) * step), float(np.ceil(last / step) * step)
    level, width = (float(round(value / step) * step) for value in ((low + high) / 2, high - low))
    return (level, min(max(width, step), highest - lowest)), lowest, highest, step


def _round_step(step: float) -> float:
    """Returns 1, 2 or 5 times a power of ten, at least ``step``."""
    power = 10.0 ** np.floor(np.log10(step))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.999))
