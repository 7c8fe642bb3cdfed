"""What a session keeps of many scans: their sheets without pixels, and few of the files so that a scan can be opened.

All of it is in ``st.session_state``: nothing of a patient is in a cache that sessions share, and nothing is written.
"""

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st

from sslmri.dashboard.screening.intake import join_series
from sslmri.dashboard.screening.state import Upload, read_upload
from sslmri.dashboard.server.queue import screen_queued
from sslmri.dashboard.text import count
from sslmri.errors import ScanError
from sslmri.models.cards import ModelCard
from sslmri.scans.scan import Scan
from sslmri.screening.report.report_data import Reported, make_refusal, make_sheet

if TYPE_CHECKING:  # the page is open before anything is screened
    from sslmri.screening.screener import Screener, Screening

MAX_SCANS = 200
MAX_GIVEN_BYTES = 512 * 2**20  # of one drop
MAX_KEPT_BYTES = 64 * 2**20
_KEY = "cohort"


@dataclass(frozen=True)
class Row:
    """One scan of the list.

    Attributes:
        number: in the order in which scans came, from 1 on.
        name: of the file; shown to this session, never exported.
        scan: what a report needs of it.
    """

    number: int
    name: str
    scan: Reported


@dataclass
class Cohort:
    """The list of one session.

    Attributes:
        model_sha256: of the model that screened it.
        rows: by hash of the content.
        kept: files of the scans that can be opened, by number.
        drop: how often files were taken in; another number empties the uploader.
        note: what became of files that are not in the list.
        token: random name for downloads.
    """

    model_sha256: str
    rows: dict[str, Row] = field(default_factory=dict)
    kept: dict[int, Upload] = field(default_factory=dict)
    drop: int = 0
    note: str = ""
    token: str = field(default_factory=lambda: secrets.token_hex(6))


def open_cohort(card: ModelCard) -> Cohort:
    """Returns the list of this session, an empty one for a model that has not screened it."""
    cohort: Cohort | None = st.session_state.get(_KEY)
    if cohort is None or cohort.model_sha256 != card.sha256:
        cohort = Cohort(card.sha256)
        st.session_state[_KEY] = cohort
    return cohort


def clear_cohort() -> None:
    """Forgets the list and its files; for a button's ``on_click``."""
    cohort: Cohort = st.session_state[_KEY]
    st.session_state[_KEY] = Cohort(cohort.model_sha256, drop=cohort.drop + 1)


def accept(cohort: Cohort, files: Sequence[Upload]) -> list[Upload]:
    """Returns the scans among files that are still to be screened; what is left out is said in the cohort's note."""
    affordable, size = [], 0
    for upload in files:
        size += len(upload.data)
        if size <= MAX_GIVEN_BYTES:
            affordable.append(upload)
    scans = {scan.sha256: scan for scan in join_series(affordable)}
    fresh = [scan for key, scan in scans.items() if key not in cohort.rows]
    room = MAX_SCANS - len(cohort.rows)
    said = []
    if len(affordable) < len(files):
        left_out = count(len(files) - len(affordable), "file")
        said.append(f"{left_out} beyond {MAX_GIVEN_BYTES >> 20} MB at once left out: give them next.")
    if len(fresh) > room:
        said.append(f"{count(len(fresh) - room, 'scan')} beyond {MAX_SCANS} left out: clear the list to screen them.")
    cohort.note = " ".join(said)
    return fresh[:room]


def screen_into(screener: "Screener", cohort: Cohort, scans: Sequence[Upload]) -> Iterator[tuple[int, float]]:
    """Adds the outcome of each scan to the list; yields how many are done and how many seconds are left."""
    pending = time.monotonic()
    for done, upload in enumerate(scans, start=1):
        _screen_into(screener, cohort, upload)
        yield done, (time.monotonic() - pending) / done * (len(scans) - done)


def time_left(seconds: float) -> str:
    """Returns a time to wait in words."""
    if seconds < 5:
        return "a few seconds left"
    return f"about {5 * round(seconds / 5)} s left" if seconds < 90 else f"about {round(seconds / 60)} min left"


def _screen_into(screener: "Screener", cohort: Cohort, upload: Upload) -> None:
    """Adds the outcome of a scan, unless the run of this page before this one has done so meanwhile."""
    number = len(cohort.rows) + 1

    def screen(scan: Scan) -> "Screening | None":
        if upload.sha256 in cohort.rows:
            return None
        screening = screener.screen(scan)
        _add(cohort, number, upload, make_sheet(screening))
        return screening

    try:
        screen_queued(screener.card.sha256, f"{cohort.token}-{number}", lambda: read_upload(upload), screen)
    except ScanError as error:
        names = [upload.name, *(part.name for part in upload.parts)]
        _add(cohort, number, upload, make_refusal(names, str(error), upload.sha256))


def _add(cohort: Cohort, number: int, upload: Upload, sheet: Reported) -> None:
    cohort.rows[upload.sha256] = Row(number, upload.name, sheet)
    if sum(map(_size, cohort.kept.values())) + _size(upload) <= MAX_KEPT_BYTES:
        cohort.kept[number] = upload


def _size(upload: Upload) -> int:
    return len(upload.data) + sum(map(_size, upload.parts))
