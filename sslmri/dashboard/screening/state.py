"""The scans, screenings and maps of one session, under the hash of their content.

Patient pixels and what follows from them are held in ``st.session_state`` only.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from scipy.ndimage import zoom

from sslmri.dashboard.screening.examples import find_example
from sslmri.dashboard.screening.uploads import MAX_SCANS, Upload
from sslmri.dashboard.server.queue import acquire_model, screen_in_turn
from sslmri.dashboard.session_cache import keep
from sslmri.dashboard.text import escape_markdown
from sslmri.diseases import SequenceChoice
from sslmri.scans.atlas.slab import PIXEL_ASPECT
from sslmri.scans.prepare import turned
from sslmri.scans.scan import Scan
from sslmri.scans.volume import AXIAL
from sslmri.screening.aligned import to_align
from sslmri.screening.maps import reached_slices
from sslmri.screening.outcome import Finding, Refusal, Screening, ScreeningSummary
from sslmri.screening.sequences import with_sequence
from sslmri.text import capital, count

if TYPE_CHECKING:
    from sslmri.screening.screener import Screener

_MAX_MAPS = 32
_SCREENINGS, _SCANS = "screenings", "scans"  # in the session
_MAX_VOXEL_BYTES = 320 * 2**20  # the largest scan has 64 million voxels of four bytes; a dropped one is read again


@dataclass(frozen=True)
class Screened:
    """What became of one upload, with a random name for downloads and the log, which says nothing of the file."""

    result: Screening | Refusal
    token: str


def screen_uploads(screener: "Screener", uploads: Sequence[Upload]) -> list[Screened]:
    """Returns what became of each upload, screening only those that this session has not screened yet."""
    scans: dict[str, Scan] = st.session_state.setdefault(_SCANS, {})
    for removed in scans.keys() - {_name(upload) for upload in uploads}:
        del scans[removed]
    kept: dict[str, Screened] = st.session_state.setdefault(_SCREENINGS, {})
    keys = [f"{screener.card.sha256}/{_name(upload)}" for upload in uploads]
    place = st.empty()
    for number, (key, upload) in enumerate(zip(keys, uploads, strict=True), start=1):
        example = find_example(screener.card, upload.patient) if upload.patient else None
        if example:
            kept[key] = Screened(example, secrets.token_hex(6))
        elif key not in kept:
            which = f"{number} of {len(uploads)}: " if len(uploads) > 1 else ""
            with place.container():
                left, right = st.columns([9, 11], gap="medium")
                right.html('<div class="pending"></div>')
                status = left.status(f"Screening {which}{escape_markdown(upload.name)}", expanded=True)
            _screen(screener, upload, key, kept, status.write)
    place.empty()
    screened = [kept[key] for key in keys]
    for key in [key for key in kept if key not in keys][: max(0, len(kept) - MAX_SCANS)]:
        del kept[key]
    return screened


def _screen(
    screener: "Screener", upload: Upload, key: str, kept: dict[str, Screened], report: Callable[[str], object]
) -> None:
    token = secrets.token_hex(6)

    def keep_result(result: Screening | Refusal) -> None:
        kept[key] = Screened(result, token)

    def read() -> Scan:
        report("Reading the file")
        scan = scan_of(upload)
        report(f"{count(scan.info.n_slices, 'slice')} read, running the classifiers")
        return scan

    screen_in_turn(screener, upload.sha256, token, read, lambda: key in kept, keep_result, lambda s: report(capital(s)))


def with_choice(screener: "Screener", upload: Upload, screening: Screening, choice: SequenceChoice) -> Screening:
    """Returns a screening for the sequence that the reader chose, aligned where only that choice asks for it."""
    if screening.arrays.aligned is not None or not to_align(screening, choice):
        return with_sequence(screening, choice)

    def make() -> Screening:
        place = st.empty()
        status = place.status("Screening", expanded=True)
        with acquire_model():
            aligned = screener.align(screening, lambda: scan_of(upload), choice, lambda s: status.write(capital(s)))
        place.empty()
        return aligned

    return keep("aligned", f"{screening.summary.model_sha256}/{_name(upload)}/{choice}", MAX_SCANS, make)


def scan_of(upload: Upload) -> Scan:
    """Returns the scan of an upload, read again where its voxels were dropped for others.

    Raises:
        ScanError: the upload cannot be read.
    """
    kept: dict[str, Scan] = st.session_state.setdefault(_SCANS, {})
    name = _name(upload)
    scan = kept.pop(name, None) or upload.read()
    while kept and scan.voxels.nbytes + sum(other.voxels.nbytes for other in kept.values()) > _MAX_VOXEL_BYTES:
        del kept[next(iter(kept))]
    kept[name] = scan
    return scan


def _name(upload: Upload) -> str:
    return f"{upload.sha256}/{upload.name}"


def explain(
    screener: "Screener", screening: Screening, disease: str, index: int, label: str, method: str
) -> np.ndarray:
    """Returns another method's map of a class on one slice of a screening: (H, W) in [0, 1]."""
    summary = screening.summary

    def make() -> np.ndarray:
        slice_, is_aligned = screening.arrays.slices[index], screening.arrays.volume is not None
        with acquire_model():
            map_ = screener.explain(turned(slice_) if is_aligned else slice_, disease, label, method)
        return turned(map_) if is_aligned else map_

    key = f"{summary.model_sha256}/{summary.sha256}/{index}/{disease}/{label}/{method}"
    return keep("maps", key, _MAX_MAPS, make)


def in_view(
    scan: Scan, screening: Screening, finding: Finding | None, is_original: bool = False
) -> tuple[Scan, Screening]:
    """Returns the slices that a finding is of, as a scan, and its screening as if it were of these alone.

    Where the slices as acquired are asked for, the map of a finding of the aligned brain is carried back to those that
    it reaches.
    """
    aligned = screening.arrays.aligned
    if finding is None or not finding.is_aligned or aligned is None or aligned.volume is None:
        return scan, screening
    if is_original and aligned.to_scan is not None:
        reached = reached_slices(aligned.volume.shape, aligned.to_scan, len(scan.voxels))
        numbers = tuple(index + 1 for index in reached)
        return scan, replace(screening, summary=replace(screening.summary, slice_numbers=numbers))
    n_slices = len(aligned.volume)
    info = replace(scan.info, n_slices=n_slices, spacing_mm=None, orientation=AXIAL)
    summary = replace(
        screening.summary,
        sha256=f"{screening.summary.sha256}-aligned",
        slice_numbers=tuple(range(1, n_slices + 1)),
        n_file_slices=n_slices,
        spacing_mm=None,
        orientation=AXIAL,
    )
    arrays = replace(screening.arrays, slices=aligned.slices, features=aligned.features, volume=aligned.volume)
    square = zoom(aligned.volume, (1, PIXEL_ASPECT, 1), order=1)
    return Scan(info, square), replace(screening, summary=summary, arrays=arrays)


def widget_key(summary: ScreeningSummary, name: str) -> str:
    """Returns the key of a widget that belongs to one scan: another scan never inherits its choice."""
    return f"{name}-{summary.sha256}"
