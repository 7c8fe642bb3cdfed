"""What a session keeps of many scans: their entries without arrays, and few of the files so that a scan can be opened.

All of it is in ``st.session_state``: nothing of a patient is in a cache that sessions share, and nothing is written.
"""

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from sslmri.dashboard.screening.uploads import FileUpload, Upload, join_series, joined
from sslmri.dashboard.server.queue import FifoLimiter, screen_in_turn
from sslmri.dashboard.text import count
from sslmri.errors import ScanError
from sslmri.models.cards import ModelCard
from sslmri.scans.dicomweb import Archive, ArchiveSeries
from sslmri.screening.outcome import Entry, Refusal, Screening
from sslmri.screening.report.images import key_images, thumbnail

if TYPE_CHECKING:  # the page is open before anything is screened
    from sslmri.screening.screener import Screener

MAX_SCANS = 200
MAX_KEPT_BYTES = 64 * 2**20
ARCHIVE = FifoLimiter(1)  # of all sessions: a series takes up to 1 GB until it is screened
_KEY = "cohort"
_Scan = TypeVar("_Scan")


@dataclass
class Cohort:
    """The list of one session.

    Attributes:
        model_sha256: of the model that screened it.
        entries: by hash of the content.
        names: of the files, by number; shown to this session, never exported.
        thumbnails: the slice of the most urgent finding of each scan, by number: JPEG.
        kept: uploads of the scans that can be opened, by number.
        pending: series of an archive that are still to be fetched.
        drop: how often files were taken in; another number empties the uploader.
        note: what became of files that are not in the list.
        folded: diseases whose verdicts come last and uncoloured, because the evidence for them is insufficient.
        token: random name for downloads.
    """

    model_sha256: str
    entries: dict[str, Entry] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    thumbnails: dict[int, bytes] = field(default_factory=dict)
    kept: dict[int, Upload] = field(default_factory=dict)
    pending: list[ArchiveSeries] = field(default_factory=list)
    drop: int = 0
    note: str = ""
    folded: set[str] = field(default_factory=set)
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


def accept(cohort: Cohort, files: Sequence[FileUpload]) -> list[Upload]:
    """Returns the scans among files that are still to be screened; the cohort's note says what was left out."""
    scans = {scan.sha256: scan for scan in join_series(files)}
    return _as_many_as_fit(cohort, [scan for key, scan in scans.items() if key not in cohort.entries])


def _as_many_as_fit(cohort: Cohort, scans: list[_Scan]) -> list[_Scan]:
    free = MAX_SCANS - len(cohort.entries)
    left_out = f"{count(len(scans) - free, 'scan')} left out: the list holds {MAX_SCANS}. Clear it to screen more."
    cohort.note = left_out if len(scans) > free else ""
    return scans[:free]


def ask_for(cohort: Cohort, series: list[ArchiveSeries]) -> None:
    """Adds the series of a study to those pending; the cohort's note says what was left out."""
    cohort.pending = _as_many_as_fit(cohort, list(dict.fromkeys([*cohort.pending, *series])))


def fetch(cohort: Cohort, archive: Archive, series: ArchiveSeries) -> list[Upload]:
    """Returns a series to be screened, none where the list has it; one that did not come whole is listed as refused."""
    try:
        files = [FileUpload(series.name, data) for data in archive.fetch(series)]
    except ScanError as error:
        number = len(cohort.entries) + 1
        cohort.entries[secrets.token_hex()] = Entry(number, Refusal(error.reason, None), n_files=series.n_files)
        cohort.names[number] = series.name
        return []
    scan = joined(files, series.name)
    return [] if scan.sha256 in cohort.entries else [scan]


def screen_into(screener: "Screener", cohort: Cohort, scans: Sequence[Upload]) -> Iterator[tuple[int, float]]:
    """Adds what became of each scan to the list; yields how many are done and how many seconds are left."""
    started = time.monotonic()
    for done, upload in enumerate(scans, start=1):
        number = len(cohort.entries) + 1
        screen_in_turn(
            screener,
            upload.sha256,
            f"{cohort.token}-{number}",
            upload.read,
            partial(cohort.entries.__contains__, upload.sha256),
            partial(_add, screener.card, cohort, upload, number),
        )
        yield done, (time.monotonic() - started) / done * (len(scans) - done)


def time_left(seconds: float) -> str:
    """Returns a time to wait in words."""
    if seconds < 5:
        return "a few seconds left"
    return f"about {5 * round(seconds / 5)} s left" if seconds < 90 else f"about {round(seconds / 60)} min left"


def _add(card: ModelCard, cohort: Cohort, upload: Upload, number: int, result: Screening | Refusal) -> None:
    if isinstance(result, Refusal):
        entry = Entry(number, result, n_files=upload.n_files)
    else:
        images = key_images(card, result.summary, result.arrays)
        entry = Entry(number, result.summary, n_files=upload.n_files, images=images)
        cohort.thumbnails[number] = thumbnail(result)
    cohort.entries[upload.sha256] = entry
    cohort.names[number] = upload.name
    if sum(kept.n_bytes for kept in cohort.kept.values()) + upload.n_bytes <= MAX_KEPT_BYTES:
        cohort.kept[number] = upload
