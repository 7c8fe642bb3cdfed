"""Several users at once: nobody sees another's scan, everybody is served in time, and memory comes back."""

import hashlib
import io
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
from PIL import Image
from pypdfium2 import raw

from sslmri.project import DEFAULT_MODEL
from tests.harness import memory
from tests.harness.client import Visitor, visit
from tests.harness.server import Server, serve
from tests.soak.result import Row, row
from tests.soak.samples import DEPTH, KINDS, VOLUMES, sample

APP = "app.py"
SLOW = "tests/soak/slow.py"  # the same with a slow model
LEAKY = "tests/soak/leaky.py"  # the same with mistakes, each of which a trial has to find
P95_S = 20.0
MEMORY_MB = 150.0
SLOPE_MB = 0.1
MOST_AT_ONCE = max(1, min(2, (os.cpu_count() or 1) // 2))
FORGOTTEN_S = 75.0  # after which a closed session is forgotten: disconnectedSessionTTL, the sweep, and some
_READINGS, _READ_EVERY_S = 5, 1.0  # of memory, whose median counts
_OPEN_S = 120.0  # until the pages of all sessions are there
_TOLD_S = 1.0  # who waits longer must have been told
_LOGGED_S = 0.05  # a screening's line may come that long after its end
_SIDE = 80  # pixels of a small copy
_WAITING = "Waiting for the model"


@dataclass
class _Seen:
    """What one session was shown.

    Attributes:
        messages: all that the server sent.
        images: small grey copies of the images on the page, by address, and in the PDF, by number.
        reports: their texts, by label.
        pdf: the report that ``_read_pdf`` adds to images and reports.
        error: what went wrong.
        seconds: from the upload until the page was drawn.
    """

    messages: bytes = b""
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)
    pdf: bytes = b""
    error: str = ""
    seconds: float = math.nan


@contextmanager
def dashboard(model: Path, script: str = APP, **env: str) -> Iterator[Server]:
    """Runs the dashboard, or a changed one, with its log in a file, and waits until the model is loaded."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with serve("run", script, log=log, wait_for="/health", SSLMRI_MODEL=str(model), **env) as server:
            yield server


def crossings(n_sessions: int = 50, model: Path = DEFAULT_MODEL, script: str = APP) -> Row:
    """Returns how many of many sessions at once were shown anything of another's scan.

    Each session's images are compared with those that every session is shown when it is alone, at another server:
    one that has seen all scans before may have put the right ones aside. A report names its scan by the file's hash.
    """
    marks = [f"WMK{number:03d}Q" for number in range(n_sessions)]
    scans = [sample(KINDS[number % len(KINDS)], number, mark) for number, mark in enumerate(marks)]
    with dashboard(model) as server:
        alone = [_screen(server, *scan) for scan in scans]
    with dashboard(model, script) as server:
        crowd = _together(server, scans)
        log = server.said()
    for seen in (*alone, *crowd):
        if not seen.error:
            _read_pdf(seen)
    hashes = [hashlib.sha256(data).hexdigest() for _, data in scans]
    faults = [f"session {number}, alone: {seen.error}" for number, seen in enumerate(alone) if seen.error]
    faults += [fault for number, seen in enumerate(crowd) for fault in _crossed(number, seen, marks, alone)]
    faults += [fault for number, seen in enumerate(crowd) for fault in _swapped(number, seen, hashes)]
    faults += [f"{mark} in the log" for mark in marks if mark in log]
    return row(
        "sessions at once, each with a watermarked scan: another's mark in page, image, report or log",
        n_sessions,
        faults,
        f"{sum(len(seen.pictures) for seen in crowd)} images and "
        f"{sum(len(seen.reports) for seen in crowd)} reports looked at",
    )


def rush(n_uploads: int = 25, model: Path = DEFAULT_MODEL, script: str = APP) -> Row:
    """Returns how many of many uploads at once ended in an error, how long they took, and what was said meanwhile."""
    kinds = [KINDS[number % len(KINDS)] for number in range(n_uploads)]
    with dashboard(model, script) as server:
        _screen(server, *sample("PNG", n_uploads, "first"))
        scans = [sample(kind, number, f"rush {number}") for number, kind in enumerate(kinds)]
        seen = _together(server, scans, has_reports=False)
        events = [event for event in server.events() if "took_s" in event]
    slowest = float(np.quantile([one.seconds for one in seen], 0.95, method="higher"))
    n_told = sum(_WAITING.encode() in one.messages for one in seen)
    n_waited = sum(event["waited_s"] > _TOLD_S for event in events)
    at_once = _most_at_once(events)
    faults = [f"session {number}: {one.error}" for number, one in enumerate(seen) if one.error]
    faults += [f"95 % within {slowest:.1f} s"] * (not slowest <= P95_S)
    faults += [f"{n_told} shown the queue, {n_waited} waited"] * (n_told < max(1, n_waited))
    faults += [f"{at_once} at the model at once"] * (at_once > MOST_AT_ONCE)
    n_volumes = sum(kind in VOLUMES for kind in kinds)
    return row(
        f"uploads at once, {n_uploads - n_volumes} single slices and {n_volumes} volumes of {DEPTH} slices: an error, "
        "over 20 s for one in twenty, one not shown that it waits, or too many at the model",
        n_uploads,
        faults,
        f"95 % within {slowest:.1f} s (limit {P95_S:g}), {n_told} shown the queue, {n_waited} waited over "
        f"{_TOLD_S:g} s, at most {at_once} at the model at once (limit {MOST_AT_ONCE})",
    )


def cycles(n_cycles: int = 500, n_warm: int = 40, model: Path = DEFAULT_MODEL) -> Row:
    """Returns whether the server's memory comes back after many sessions that open, upload and close.

    Every session has another scan; every tenth saves its reports. At the beginning and at the end memory is read once
    all sessions are forgotten. The slope is that of the cycles in which as many are forgotten as come: there are more
    cycles than asked for where less than half of them would be of that kind.
    """
    with dashboard(model) as server:
        faults = [fault for number in range(n_warm) for fault in _cycle(server, number)]
        warm = _settled_mb(server)
        pending, used, n_filling = time.monotonic(), list[float](), 0
        while len(used) < n_cycles or 2 * n_filling > len(used):
            faults += _cycle(server, n_warm + len(used))
            used.append(memory.held_mb(server.pids))
            n_filling += time.monotonic() - pending < FORGOTTEN_S
        growth = _settled_mb(server) - warm
    steady = used[n_filling:]
    slope = float(np.polyfit(np.arange(len(steady)), steady, 1)[0]) if len(steady) > 1 else math.nan
    faults += [f"{growth:.0f} MB more than warm"] * (growth > MEMORY_MB)
    faults += [f"{slope:.2f} MB a cycle"] * (not slope <= SLOPE_MB)
    return row(
        "open, upload, close: an error, over 150 MB more than warm once all are forgotten, or over 0.1 MB a cycle",
        len(used),
        faults,
        f"warm {warm:.0f} MB, at the end {growth:+.0f} MB, {slope:+.3f} MB a cycle over the last {len(steady)}",
    )


def _cycle(server: Server, number: int) -> list[str]:
    scan = sample(KINDS[number % len(KINDS)], number, f"cycle {number}")
    seen = _screen(server, *scan, has_reports=number % 10 == 0)
    return [f"cycle {number}: {seen.error}"] if seen.error else []


def _settled_mb(server: Server) -> float:
    """Returns what the server holds once it has forgotten all sessions, in MB."""
    time.sleep(FORGOTTEN_S)
    readings = []
    for _ in range(_READINGS):
        readings.append(memory.held_mb(server.pids))
        time.sleep(_READ_EVERY_S)
    return float(np.median(readings))


def _screen(
    server: Server, name: str, data: bytes, has_reports: bool = True, ready: Callable[[], object] = lambda: None
) -> _Seen:
    """Returns what one session is shown of one scan; an error is told, not raised.

    Args:
        server: where the scan is screened.
        name, data: of the scan.
        has_reports: whether the reports are saved too.
        ready: called when the page is there, before the upload.
    """
    seen = _Seen()
    try:
        with visit(server.address) as visitor:
            try:
                ready()
                _look(visitor, seen, name, data, has_reports)
            finally:
                seen.messages = b"\0".join([*visitor.received, *visitor.fetched.values()])
    except Exception as error:  # whatever it is, it is what the trial counts
        seen.error = f"{type(error).__name__}: {error}"
    return seen


def _look(visitor: Visitor, seen: _Seen, name: str, data: bytes, has_reports: bool) -> None:
    """Uploads a scan and takes down what is shown."""
    pending = time.monotonic()
    visitor.upload((name, data))
    seen.seconds = time.monotonic() - pending
    shown = visitor.pictures() | visitor.slices()
    seen.pictures = {path: _small(Image.open(io.BytesIO(content))) for path, content in shown.items()}
    if not visitor.slices():
        raise LookupError(f"no picture on the page: {visitor.words()[-200:]}")
    if has_reports:
        seen.pdf = visitor.download("Report, PDF")
        seen.reports |= {kind: visitor.download(f"Report, {kind}").decode() for kind in ("CSV", "JSON")}


def _together(server: Server, scans: Sequence[tuple[str, bytes]], has_reports: bool = True) -> list[_Seen]:
    """Returns what sessions see that upload at the same moment, each once the pages of all are there."""
    start = threading.Barrier(len(scans), timeout=_OPEN_S)

    def begin(scan: tuple[str, bytes]) -> _Seen:
        seen = _screen(server, *scan, has_reports, start.wait)
        if seen.error:
            start.abort()  # the others would wait for one whose page never came
        return seen

    with ThreadPoolExecutor(len(scans)) as threads:
        return list(threads.map(begin, scans))


def _crossed(number: int, seen: _Seen, marks: Sequence[str], alone: Sequence[_Seen]) -> list[str]:
    """Returns a line on everything in a session that is not its own."""
    if seen.error:
        return [f"session {number}: {seen.error}"]
    faults = ["a session's own mark would not be found"] * (marks[number].encode() not in seen.messages)
    found = [mark for other, mark in enumerate(marks) if other != number and mark.encode() in seen.messages]
    faults += [f"session {number} was sent {mark}" for mark in found]
    faults += [f"{mark} in {name}" for mark in marks for name, text in seen.reports.items() if mark in text]
    for path, picture in seen.pictures.items():
        distances = [_distance(picture, other) for other in alone]
        nearest = int(np.argmin(distances))
        is_foreign = distances[nearest] < distances[number]  # some, such as a scale of colours, are the same for all
        faults += [f"session {number} was shown {marks[nearest]}: {path}"] * is_foreign
    return faults


def _swapped(number: int, seen: _Seen, hashes: Sequence[str]) -> list[str]:
    """Returns a line on each report that names another scan than the session's own, or more."""
    named = {name: [n for n, digest in enumerate(hashes) if digest in text] for name, text in seen.reports.items()}
    return [f"session {number}: {name} on the scans of {found}" for name, found in named.items() if found != [number]]


def _distance(picture: np.ndarray, seen: _Seen) -> float:
    """Returns the mean difference of grey levels to the closest image of another session."""
    return min((float(np.abs(picture - other).mean()) for other in seen.pictures.values()), default=math.inf)


def _small(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L").resize((_SIDE, _SIDE)), dtype=np.float32)


def pdf_text(data: bytes) -> str:
    """Returns the words of a PDF."""
    with pypdfium2.PdfDocument(data) as document:
        return "\n".join(page.get_textpage().get_text_range() for page in document)


def _read_pdf(seen: _Seen) -> None:
    """Adds the words and images of a session's report; called by one thread, for PDFium is made for one."""
    seen.reports["PDF"] = pdf_text(seen.pdf)
    with pypdfium2.PdfDocument(seen.pdf) as document:
        found = [image for page in document for image in page.get_objects(filter=(raw.FPDF_PAGEOBJ_IMAGE,))]
        pictures = [_small(image.get_bitmap().to_pil()) for image in found]
    seen.pictures |= {f"PDF {number}": picture for number, picture in enumerate(pictures)}


def _most_at_once(events: Sequence[Mapping[str, Any]]) -> int:
    """Returns how many screenings were at the model at the same moment, by the log."""
    changes = []
    for event in events:
        ended = datetime.fromisoformat(event["time"]).timestamp()
        changes += [(ended - event["took_s"] + _LOGGED_S, 1), (ended, -1)]
    return int(np.cumsum([change for _, change in sorted(changes)]).max(initial=0))
