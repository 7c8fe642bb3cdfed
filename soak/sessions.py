"""Several users at once: nobody sees another's scan, everybody is served in time, and memory comes back."""

import hashlib
import io
import json
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pypdfium2
from PIL import Image

from soak.row import Row, row
from soak.samples import KINDS, sample
from soak.server import Server, serve
from soak.visitor import Visitor, visit
from sslmri.__main__ import DEFAULT_MODEL

APP = "app.py"
P95_S = 20.0
MEMORY_MB = 150.0
SLOPE_MB = 0.1
MOST_AT_ONCE = max(1, (os.cpu_count() or 1) // 2)
_LAST = 20  # cycles whose median is the memory at the end
_WAITING = "Waiting for the model"


@dataclass
class _Seen:
    """What one session was shown.

    Attributes:
        messages: all that the server sent.
        pictures: small grey copies of the pictures, by address.
        reports: their texts, by label.
        error: what went wrong.
        seconds: from the upload until the page was drawn.
    """

    messages: bytes = b""
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)
    error: str = ""
    seconds: float = math.nan


@contextmanager
def dashboard(model: Path, script: str = APP) -> Iterator[Server]:
    """Runs the dashboard, or a changed one, with its log in a file, and waits until the model is loaded."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with serve("run", script, log=log, wait_for="/health", SSLMRI_MODEL=str(model)) as server:
            yield server


def crossings(n_sessions: int = 50, model: Path = DEFAULT_MODEL, script: str = APP) -> Row:
    """Returns how many of many sessions at once were shown anything of another's scan.

    Each session's pictures are compared with those that every session is shown when it is alone; a report names its
    scan by the hash of the file.
    """
    marks = [f"WMK{number:03d}Q" for number in range(n_sessions)]
    scans = [sample(KINDS[number % len(KINDS)], number, mark) for number, mark in enumerate(marks)]
    with dashboard(model, script) as server:
        alone = [_screen(server, *scan) for scan in scans]
        crowd = _together(n_sessions, lambda number: _screen(server, *scans[number]))
        log = server.said()
    hashes = [hashlib.sha256(data).hexdigest() for _, data in scans]
    faults = [fault for number, seen in enumerate(crowd) for fault in _crossed(number, seen, marks, alone)]
    faults += [fault for number, seen in enumerate(crowd) for fault in _swapped(number, seen, hashes)]
    faults += [f"{mark} in the log" for mark in marks if mark in log]
    return row(
        "sessions at once, each with a watermarked scan: another's mark in page, picture, report or log",
        n_sessions,
        faults,
        f"{sum(len(seen.pictures) for seen in crowd)} pictures and "
        f"{sum(len(seen.reports) for seen in crowd)} reports looked at",
    )


def rush(n_uploads: int = 25, model: Path = DEFAULT_MODEL) -> Row:
    """Returns how many of many uploads at once ended in an error, how long they took, and what was said meanwhile."""
    scans = [sample(KINDS[number % len(KINDS)], number, f"rush {number}") for number in range(n_uploads)]
    with dashboard(model) as server:
        _screen(server, *sample("PNG", n_uploads, "first"))
        seen = _together(n_uploads, lambda number: _screen(server, *scans[number], has_reports=False))
        at_once = _most_at_once(_log_of(server))
    slowest = float(np.quantile([one.seconds for one in seen], 0.95, method="higher"))
    faults = [f"session {number}: {one.error}" for number, one in enumerate(seen) if one.error]
    faults += [f"95 % within {slowest:.1f} s"] * (not slowest <= P95_S)
    n_told = sum(_WAITING.encode() in one.messages for one in seen)
    faults += ["nobody was told of the queue"] * (n_told == 0)
    faults += [f"{at_once} at the model at once"] * (at_once > MOST_AT_ONCE)
    return row(
        "uploads at once: an error, over 20 s for one in twenty, nobody told of the queue, or too many at the model",
        n_uploads,
        faults,
        f"95 % within {slowest:.1f} s (limit {P95_S:g}), {n_told} told of the queue, "
        f"at most {at_once} at the model at once (limit {MOST_AT_ONCE})",
    )


def cycles(n_cycles: int = 500, n_warm: int = 100, model: Path = DEFAULT_MODEL) -> Row:
    """Returns whether the server's memory comes back after many sessions that open, upload and close.

    Every session has another scan; every tenth saves its reports. Warm is the server once the first sessions have been
    forgotten, a minute after they ended: from then on as many are forgotten as come.
    """
    used, faults = [], []
    with dashboard(model) as server:
        for number in range(n_warm + n_cycles):
            scan = sample(KINDS[number % len(KINDS)], number, f"cycle {number}")
            seen = _screen(server, *scan, has_reports=number % 10 == 0)
            faults += [f"cycle {number}: {seen.error}"] * bool(seen.error)
            used.append(server.memory_mb())
    warm, later = used[n_warm - 1], np.array(used[n_warm:])
    slope = float(np.polyfit(np.arange(n_cycles), later, 1)[0])
    growth = float(np.median(later[-_LAST:]) - warm)
    faults += [f"{growth:.0f} MB more than warm"] * (growth > MEMORY_MB) + [f"{slope:.2f} MB a cycle"] * (
        slope > SLOPE_MB
    )
    return row(
        "open, upload, close: an error, over 150 MB more than warm, or over 0.1 MB a cycle",
        n_cycles,
        faults,
        f"warm {warm:.0f} MB, at the end {growth:+.0f} MB, {slope:+.3f} MB a cycle",
    )


def _screen(server: Server, name: str, data: bytes, has_reports: bool = True) -> _Seen:
    """Returns what one session is shown of one scan; an error is told, not raised."""
    seen = _Seen()
    try:
        with visit(server.address) as visitor:
            try:
                _look(visitor, seen, name, data, has_reports)
            finally:
                seen.messages = b"\0".join([*visitor.received, *visitor.fetched.values()])
    except Exception as error:  # whatever it is, it is what the trial counts
        seen.error = f"{type(error).__name__}: {error}"
    return seen


def _look(visitor: Visitor, seen: _Seen, name: str, data: bytes, has_reports: bool) -> None:
    """Uploads a scan and takes down what is shown."""
    begun = time.monotonic()
    visitor.upload((name, data))
    seen.seconds = time.monotonic() - begun
    seen.pictures = {path: _small(content) for path, content in visitor.pictures().items()}
    if not seen.pictures:
        raise LookupError(f"no picture on the page: {visitor.words()[-200:]}")
    if has_reports:
        seen.reports["PDF"] = pdf_text(visitor.download("Report, PDF"))
        seen.reports["JSON"] = visitor.download("Report, JSON").decode()


def _together(n: int, act: Callable[[int], _Seen]) -> list[_Seen]:
    """Returns what sessions see that begin at the same moment."""
    start = threading.Barrier(n)

    def begin(number: int) -> _Seen:
        start.wait()
        return act(number)

    with ThreadPoolExecutor(n) as threads:
        return list(threads.map(begin, range(n)))


def _crossed(number: int, seen: _Seen, marks: Sequence[str], alone: Sequence[_Seen]) -> list[str]:
    """Returns a line on everything in a session that is not its own."""
    if seen.error:
        return [f"session {number}: {seen.error}"]
    faults = ["a session's own mark would not be found"] * (marks[number].encode() not in seen.messages)
    found = [mark for other, mark in enumerate(marks) if other != number and mark.encode() in seen.messages]
    faults += [f"session {number} was sent {mark}" for mark in found]
    faults += [f"{mark} in {name}" for mark in marks for name, text in seen.reports.items() if mark in text]
    for path, picture in seen.pictures.items():
        nearest = min(range(len(alone)), key=lambda other: _distance(picture, alone[other]))
        faults += [f"session {number} was shown {marks[nearest]}: {path}"] * (nearest != number)
    return faults


def _swapped(number: int, seen: _Seen, hashes: Sequence[str]) -> list[str]:
    """Returns a line on each report that names another scan than the session's own, or more."""
    named = {name: [n for n, digest in enumerate(hashes) if digest in text] for name, text in seen.reports.items()}
    return [f"session {number}: {name} on the scans of {found}" for name, found in named.items() if found != [number]]


def _distance(picture: np.ndarray, seen: _Seen) -> float:
    """Returns the mean difference of grey levels to the closest picture of the same size in another session."""
    same = [other for other in seen.pictures.values() if other.shape == picture.shape]
    return min((float(np.abs(picture - other).mean()) for other in same), default=math.inf)


def _small(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB").resize((160, 160)), dtype=np.float32)


def pdf_text(data: bytes) -> str:
    """Returns the words of a PDF."""
    with pypdfium2.PdfDocument(data) as document:
        return "\n".join(page.get_textpage().get_text_range() for page in document)


def _log_of(server: Server) -> str:
    assert server.log is not None
    return server.log.read_text(encoding="utf-8")


def _most_at_once(log: str) -> int:
    """Returns how many screenings were at the model at the same moment, by the log."""
    changes = []
    for line in log.splitlines():
        told = json.loads(line)
        if told["event"] == "screening":
            ended = datetime.fromisoformat(told["time"]).timestamp()
            changes += [(ended - told["took_s"] + 0.002, 1), (ended, -1)]
    return int(np.cumsum([change for _, change in sorted(changes)]).max())
