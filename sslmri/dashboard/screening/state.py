"""What one session keeps: its own scans, screenings and maps, few of them, under the hash of their content.

Patient pixels and what follows from them are held in ``st.session_state`` only: Streamlit's caches are shared by all
users. The weights are nobody's data, so the loaded model is shared.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import streamlit as st

from sslmri.dashboard.screening import gallery
from sslmri.dashboard.server.queue import acquire_model, screen_queued
from sslmri.dashboard.text import escape_markdown
from sslmri.errors import ModelError, ScanError
from sslmri.models.cards import ModelCard
from sslmri.scans.sandbox import read_scan, read_series, series_key
from sslmri.scans.scan import Scan

if TYPE_CHECKING:  # the other pages never load torch
    from sslmri.screening.screener import Finding, Screener, Screening

MAX_SCANS = 8
_MAX_MAPS = 32
_SCREENINGS = "screenings"
_MAX_VOXEL_BYTES = 320 * 2**20  # the largest scan has 64 million voxels of four bytes; a dropped one is read again
_T = TypeVar("_T")
_screeners: dict[str, "Screener"] = {}  # the one in use, under the hash of its model
_refused: set[str] = set()  # hashes of models whose cards are sound and whose weights are not
_loading = Lock()


@dataclass(frozen=True)
class Upload:
    """A scan that the user gave: one file, the loose files of one DICOM series, or a simulated patient.

    Attributes:
        name: its name.
        data: its content; empty where there are parts.
        parts: the files of a series.
        patient: key of the simulated patient, or empty.
    """

    name: str
    data: bytes
    parts: tuple["Upload", ...] = ()
    patient: str = ""

    @cached_property
    def sha256(self) -> str:
        """Hash of the content; it tells uploads apart."""
        words = self.patient or "".join(part.sha256 for part in self.parts)
        return hashlib.sha256(words.encode() or self.data).hexdigest()

    @cached_property
    def series(self) -> str | None:
        """What the files of one DICOM series have in common; None for any other file."""
        return series_key(self.data)


@dataclass(frozen=True)
class Outcome:
    """What became of one upload: a screening, or one sentence why there is none.

    Attributes:
        screening: the findings, or None.
        refusal: the sentence, or None.
        token: random name for downloads; says nothing of the file.
    """

    screening: "Screening | None"
    refusal: str | None
    token: str


def load_screener(card: ModelCard) -> "Screener":
    """Returns the screener of a model, loaded once for all sessions; says so on the page while it is being loaded.

    Raises:
        ModelError: the weights cannot be trusted.
    """
    if is_loaded(card):
        return share_screener(card)
    with st.spinner("Loading the model"):
        return share_screener(card)


def share_screener(card: ModelCard) -> "Screener":
    """Returns the screener of a model that all sessions share, loaded by the first who asks.

    Raises:
        ModelError: the weights cannot be trusted.
    """
    with _loading:
        if not is_loaded(card):
            from sslmri.screening.screener import Screener

            try:
                loaded = Screener.load(card.folder)
            except ModelError:
                _refused.add(card.sha256)
                raise
            if loaded.card.sha256 != card.sha256:
                raise ModelError(f"Expected the model in {card.folder} to stay as it was, got another: try again.")
            _screeners.clear()
            _screeners[card.sha256] = loaded
        return _screeners[card.sha256]


def is_loaded(card: ModelCard) -> bool:
    """Returns whether the screener of a model is at hand."""
    return card.sha256 in _screeners


def is_refused(card: ModelCard) -> bool:
    """Returns whether the weights of a model whose card is sound were looked at and cannot be trusted."""
    return card.sha256 in _refused


def screen_uploads(screener: "Screener", uploads: Sequence[Upload]) -> list[Outcome]:
    """Returns the outcome of each upload, screening only those that this session has not screened yet."""
    _forget_scans({_name(upload) for upload in uploads})
    progress = st.empty()
    outcomes = []
    for number, upload in enumerate(uploads, start=1):

        def make(upload: Upload = upload, number: int = number) -> Outcome:
            which = f", file {number} of {len(uploads)}" if len(uploads) > 1 else ""
            progress.progress(
                (number - 0.5) / len(uploads), f"Reading and screening {escape_markdown(upload.name)}{which}"
            )
            return _screen(screener, upload)

        outcomes.append(keep(_SCREENINGS, _screening_key(screener, upload), MAX_SCANS, make))
    progress.empty()
    return outcomes


def _screen(screener: "Screener", upload: Upload) -> Outcome:
    """Returns the outcome of an upload: that of the run of this page before this one where that has ended meanwhile."""
    token, key = secrets.token_hex(6), _screening_key(screener, upload)
    kept: dict[str, Outcome] = st.session_state[_SCREENINGS]

    def screen(scan: Scan) -> "Screening | None":
        if key in kept:
            return None
        kept[key] = Outcome(screener.screen(scan), None, token)
        return kept[key].screening

    try:
        screen_queued(screener.card.sha256, token, lambda: scan_of(upload), screen)
    except ScanError as error:
        return Outcome(None, str(error), token)
    return kept[key]


def _screening_key(screener: "Screener", upload: Upload) -> str:
    return f"{screener.card.sha256}/{_name(upload)}"


def scan_of(upload: Upload) -> Scan:
    """Returns the scan of an upload, read again where its voxels had to make room for others.

    Raises:
        ScanError: the upload cannot be read.
    """
    kept: dict[str, Scan] = st.session_state.setdefault("scans", {})
    name = _name(upload)
    scan = kept.pop(name, None) or read_upload(upload)
    while kept and scan.voxels.nbytes + sum(own.voxels.nbytes for own in kept.values()) > _MAX_VOXEL_BYTES:
        del kept[next(iter(kept))]
    kept[name] = scan
    return scan


def read_upload(upload: Upload) -> Scan:
    """Returns the scan of an upload.

    Raises:
        ScanError: it cannot be read.
    """
    if upload.patient:
        return gallery.load(upload.patient)[0]
    if upload.parts:
        return read_series([(part.name, part.data) for part in upload.parts])
    return read_scan(upload.data, upload.name)


def true_mask(upload: Upload) -> np.ndarray | None:
    """Returns where the finding of a simulated patient was drawn, bool (D, H, W); None for any other scan."""
    mask = gallery.load(upload.patient)[1] if upload.patient else None
    return mask if mask is not None and mask.any() else None


def _name(upload: Upload) -> str:
    return f"{upload.sha256}/{upload.name}"


def _forget_scans(present: set[str]) -> None:
    """Drops the voxels of scans that the user has removed."""
    kept: dict[str, Scan] = st.session_state.get("scans", {})
    for name in kept.keys() - present:
        del kept[name]


def explain(
    screener: "Screener", screening: "Screening", finding: "Finding", index: int, label: str, method: str
) -> np.ndarray:
    """Returns another method's map of a class on one slice of a screening: (H, W) in [0, 1]."""
    key = f"{screening.model_sha256}/{screening.sha256}/{index}/{finding.disease}/{label}/{method}"

    def make() -> np.ndarray:
        with acquire_model():
            return screener.explain(screening.slices[index], finding.disease, label, method)

    return keep("maps", key, _MAX_MAPS, make)


def keep(shelf: str, key: str, limit: int, make: Callable[[], _T]) -> _T:
    """Returns what this session keeps under a key, made if need be; the oldest are dropped beyond the limit."""
    kept: dict[str, _T] = st.session_state.setdefault(shelf, {})
    found = kept.pop(key) if key in kept else make()
    kept[key] = found
    while len(kept) > limit:
        del kept[next(iter(kept))]
    return found


def widget_key(screening: "Screening", name: str) -> str:
    """Returns the key of a widget that belongs to one scan: another scan never inherits its choice."""
    return f"{name}-{screening.sha256}"
