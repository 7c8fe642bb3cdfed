"""What one session keeps: its own screenings and maps, few of them, under the hash of the content they came from.

Patient pixels and what follows from them are held in ``st.session_state`` only: Streamlit's caches are shared by all
users. The weights are nobody's data, so the loaded model is shared.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import streamlit as st

from sslmri.errors import ScanError
from sslmri.learning.cards import ModelCard
from sslmri.scans.reading import read_scan

if TYPE_CHECKING:  # the other pages never load torch
    from sslmri.screening.screener import Finding, Screener, Screening

MAX_SCANS = 8
_MAX_MAPS = 32
_T = TypeVar("_T")


@dataclass(frozen=True)
class Upload:
    """A file that the user gave.

    Attributes:
        name: its name.
        data: its content.
    """

    name: str
    data: bytes


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
    """Returns the screener of a model, loaded once for all sessions.

    Raises:
        ModelError: the weights cannot be trusted.
    """
    return _load(str(card.folder), card.sha256)


@st.cache_resource(max_entries=2, show_spinner="Loading the model")
def _load(folder: str, sha256: str) -> "Screener":
    from sslmri.screening.screener import Screener

    return Screener.load(Path(folder))


def screen_uploads(screener: "Screener", uploads: Sequence[Upload]) -> list[Outcome]:
    """Returns the outcome of each upload, screening only those that this session has not screened yet."""
    progress = st.empty()
    outcomes = []
    for number, upload in enumerate(uploads, start=1):
        content = hashlib.sha256(upload.data).hexdigest()
        key = f"{screener.card.sha256}/{content}/{upload.name}"

        def make(upload: Upload = upload, number: int = number) -> Outcome:
            if len(uploads) > 1:
                progress.progress(number / len(uploads), f"Screening file {number} of {len(uploads)}")
            return _screen(screener, upload)

        outcomes.append(keep("screenings", key, MAX_SCANS, make))
    progress.empty()
    return outcomes


def _screen(screener: "Screener", upload: Upload) -> Outcome:
    token = secrets.token_hex(6)
    try:
        return Outcome(screener.screen(read_scan(upload.data, upload.name)), None, token)
    except ScanError as error:
        return Outcome(None, str(error), token)


def explain(
    screener: "Screener", screening: "Screening", finding: "Finding", index: int, label: str, method: str
) -> np.ndarray:
    """Returns another method's map of a class on one slice of a screening: (H, W) in [0, 1]."""
    key = f"{screening.model_sha256}/{screening.sha256}/{index}/{finding.disease}/{label}/{method}"
    return keep(
        "maps", key, _MAX_MAPS, lambda: screener.explain(screening.slices[index], finding.disease, label, method)
    )


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
