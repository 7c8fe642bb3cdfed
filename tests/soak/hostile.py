"""Files built to break readers, one after the other, through the reader, the command line and the running dashboard."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from streamlit.proto.Alert_pb2 import Alert

from sslmri.errors import ScanError
from sslmri.project import DEFAULT_MODEL
from sslmri.scans import read_scan
from tests.harness.client import Visitor, visit
from tests.harness.memory import Memory, children, watch
from tests.harness.server import ROOT, Server
from tests.soak.result import Row, is_plain_sentence, row
from tests.soak.samples import KINDS, sample
from tests.soak.sessions import dashboard

FOLDER = ROOT.parent / "shared" / "hostile"
MAX_SECONDS = 5.0
MAX_REFUSAL_SECONDS = 3.0  # in the reader: a bomb must not be unpacked first
MAX_PAGE_SECONDS = 20.0  # for a scan that is read: the page screens and draws it too
MAX_GROWTH_MB = 400.0  # of the process that reads, and of the server apart from the processes that it bounds
ALLOWED = {  # silent: read, but no disease has a score
    "reject_unreadable": {"refused"},
    "reject_clear_or_decode": {"refused", "silent"},
    "reject_not_brain_mri": {"refused", "silent"},
    "reject_or_abstain": {"refused", "silent"},
    "reject_or_accept_safe": {"refused", "silent", "answered"},
    "accept": {"silent", "answered"},
    "accept_escape_name": {"silent", "answered"},
    "accept_no_phi": {"silent", "answered"},
    "accept_with_warning": {"silent", "answered"},
    "accept_or_abstain": {"silent", "answered"},
    "accept_or_reject_no_phi": {"refused", "silent", "answered"},
}
_CANARY = "CANARY"  # the whole is PHI-CANARY, which a page writes with a backslash
_MOST_S = 300  # for the command line with all files
_LEFT_OUT = "left out: number"
_BROKEN_PAGE = "a fault in the program"


@dataclass(frozen=True)
class Hostile:
    """A file with what its list says must become of it.

    Attributes:
        name: as listed.
        path: where it is.
        expected: a key of ``ALLOWED``.
    """

    name: str
    path: Path
    expected: str

    @property
    def allowed(self) -> set[str]:
        """How it may end."""
        return ALLOWED[self.expected]

    @property
    def is_brain(self) -> bool:
        """Whether it must not be taken for something else where it is read."""
        return "accept" in self.expected and "abstain" not in self.expected


@dataclass(frozen=True)
class End:
    """How a file ended.

    Attributes:
        how: ``"refused"``, ``"silent"`` or ``"answered"``; ``"read"`` where nothing screened it.
        told: all that was said of it, in which no mark of a patient may stand.
        reason: why it was refused.
        warnings: those given with what was read.
        is_brain: whether it was taken for a brain, where that is told.
        seconds: until that was known.
    """

    how: str
    told: str = ""
    reason: str = ""
    warnings: Sequence[str] = ()
    is_brain: bool = True
    seconds: float = 0.0


def listed(folder: Path = FOLDER) -> list[Hostile]:
    """Returns the files of a folder by its MANIFEST.csv, none where there is no such folder."""
    manifest = folder / "MANIFEST.csv"
    if not manifest.is_file():
        return []
    rows = csv.DictReader(manifest.read_text(encoding="utf-8").splitlines())
    return [Hostile(entry["file"], folder / entry["file"], entry["expected_outcome"].split()[0]) for entry in rows]


def by_reader(passes: int = 3, folder: Path = FOLDER) -> Row:
    """Returns how many files did not end as listed in the reader, within 5 s, or left it broken."""
    files = listed(folder) * passes
    sound = [sample(kind, 0, "sound") for kind in KINDS]
    for name, data in sound:  # the libraries of each format are loaded with its first file
        read_scan(data, name)
    with watch(lambda: children(os.getpid())) as memory:
        ends = [_end_in_reader(file) for file in files]
    faults = [
        fault
        for file, end in zip(files, ends, strict=True)
        if (fault := _fault_of(file, end, MAX_SECONDS, MAX_REFUSAL_SECONDS))
    ]
    faults += [f"afterwards {name} is not read" for name, data in sound if not read_scan(data, name).voxels.size]
    faults += _grown(memory)
    measured = f"{_of(listed(folder))}; slowest {_slowest(ends)}; the process that reads held {memory.most:.0f} MB"
    return row(
        "hostile files, the reader: ends as listed, one sentence, refused in 3 s, read in 5 s, 400 MB",
        len(files),
        faults,
        measured,
    )


def by_command(passes: int = 3, folder: Path = FOLDER, model: Path = DEFAULT_MODEL) -> Row:
    """Returns how many files did not end as listed in one run of the command line over all of them."""
    files = listed(folder)
    faults: list[str] = []
    for _ in range(passes if files else 0):
        command = (sys.executable, "-m", "sslmri", "screen", "--model", str(model), *(str(file.path) for file in files))
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=_MOST_S, check=False, errors="replace"
        )
        outcomes = {outcome["file"]: outcome for outcome in map(json.loads, done.stdout.splitlines())}
        n_files = sum(outcome["n_files"] for outcome in outcomes.values())
        if n_files != len(files) or done.returncode not in (0, 2):
            faults.append(f"exit {done.returncode}, {n_files} of {len(files)} files in its lines")
        for file in files:  # of the files of one series only the first has a line
            if outcome := outcomes.get(str(file.path)):
                faults += filter(None, [_fault_of(file, _end_in_line(outcome), MAX_SECONDS)])
        faults += [f"standard error said {done.stderr[:80]}"] * bool(done.stderr)
        faults += ["a canary was printed"] * (_CANARY in _without_paths(done.stdout + done.stderr, files))
    hazard = "hostile files, the command line: ends as listed, no traceback"
    return row(hazard, passes * len(files), faults, _of(files))


def by_page(passes: int = 3, folder: Path = FOLDER, model: Path = DEFAULT_MODEL) -> Row:
    """Returns how many files did not end as listed on the page of one server that is given all of them."""
    files = listed(folder) * passes
    with dashboard(model) as server:
        with visit(server.address) as visitor:
            visitor.upload(sample("PNG", 0, "first"))
        with watch(lambda: [server.process.pid]) as memory:  # those that read and align have limits of their own
            ends = _ends_on_page(server, files, len(files) // max(1, passes))
        faults = [
            fault for file, end in zip(files, ends, strict=True) if (fault := _fault_of(file, end, MAX_PAGE_SECONDS))
        ]
        faults += _after(server)
    faults += _grown(memory)
    refused, read = (_slowest([end for end in ends if (end.how == "refused") == is_it]) for is_it in (True, False))
    return row(
        "hostile files, the running dashboard: ends as listed, refused in 5 s, 400 MB in the server itself, alive",
        len(files),
        faults,
        f"{_of(listed(folder))}; slowest refusal {refused}, slowest screening {read}; memory {memory.growth:+.0f} MB",
    )


def _end_in_reader(file: Hostile) -> End:
    pending = time.monotonic()
    try:
        scan = read_scan(file.path.read_bytes(), "upload")
    except ScanError as error:
        return End("refused", str(error), error.reason, seconds=time.monotonic() - pending)
    told = f"{scan.info.name} {scan.info.source} {scan.info.modality} {scan.info.orientation} {scan.info.warnings}"
    return End("read", told, warnings=scan.info.warnings, seconds=time.monotonic() - pending)


def _end_in_line(outcome: dict[str, Any]) -> End:
    """Returns the end that a line of the command line tells of."""
    if outcome["status"] != "screened":
        return End("refused", reason=outcome["reason"])
    return End(_answer(outcome), warnings=outcome["warnings"])


def _ends_on_page(server: Server, files: Sequence[Hostile], n_first: int) -> list[End]:
    """Returns how each file ended; the first ``n_first`` are each followed by a sound scan that must be screened.

    A file that breaks its session ends so, and the next one is given to another session.
    """
    ends: list[End] = []
    while len(ends) < len(files):
        try:
            with visit(server.address) as visitor:
                for file in files[len(ends) :]:
                    end = _end_on_page(visitor, file)
                    if len(ends) < n_first and not _is_screened(visitor, len(ends)):
                        end = replace(end, how=f"{end.how}, and the sound scan after it is not screened")
                    ends.append(end)
        except Exception as error:  # whatever it is, it is what the trial counts
            ends.append(End(f"broke its session: {error!r}"))
    return ends


def _is_screened(visitor: Visitor, number: int) -> bool:
    visitor.upload(sample("PNG", number, "sound"))
    return bool(visitor.slices())


def _end_on_page(visitor: Visitor, file: Hostile) -> End:
    """Returns how a file ended on the page that it is given to; what was read is told by the page's report."""
    visitor.received.clear()
    visitor.fetched.clear()
    pending = time.monotonic()
    visitor.upload((file.path.name, file.path.read_bytes()))
    seconds = time.monotonic() - pending
    report: dict[str, Any] = {}
    if visitor.slices():
        report = json.loads(visitor.download("Report, JSON"))["scans"][0]
    told = b"".join([*visitor.received, *visitor.fetched.values()]).decode(errors="replace")
    if report:
        return End(_answer(report), told, "", report["warnings"], report["is_brain_mri"] is not False, seconds)
    alerts = [e.alert for e in visitor.elements.values() if e.WhichOneof("type") == "alert"]
    reason = " ".join(alert.body for alert in alerts if alert.format == Alert.ERROR)
    return End("refused" if reason else "neither read nor refused", told, reason, seconds=seconds)


def _answer(outcome: dict[str, Any]) -> str:
    return "answered" if any(finding["verdict"] != "not assessed" for finding in outcome["findings"]) else "silent"


def _fault_of(file: Hostile, end: End, max_seconds: float, max_refusal_seconds: float = MAX_SECONDS) -> str:
    """Returns what is wrong with an end, or an empty string."""
    is_allowed = end.how in file.allowed or (end.how == "read" and file.allowed != {"refused"})
    checks = {
        f"{end.how}, expected {' or '.join(sorted(file.allowed))}": is_allowed,
        "refused otherwise than in one plain sentence": is_plain_sentence(end.reason) or end.how != "refused",
        "no word of what was left out": _LEFT_OUT in str(end.warnings) or file.expected != "accept_with_warning",
        "not taken for a brain": end.is_brain or not file.is_brain,
        "the page broke": _BROKEN_PAGE not in end.told,
        "a canary came to light": _CANARY not in end.told,
        f"took {end.seconds:.1f} s": end.seconds <= (max_refusal_seconds if end.how == "refused" else max_seconds),
    }
    wrong = [fault for fault, holds in checks.items() if not holds]
    return f"{file.name}: {'; '.join(wrong)}" if wrong else ""


def _without_paths(text: str, files: Sequence[Hostile]) -> str:
    """Returns what the command printed, without the names that it was given."""
    for file in files:
        text = text.replace(str(file.path), "").replace(file.path.name, "")
    return text


def _after(server: Server) -> list[str]:
    """Returns a line if the server does not screen a sound scan any more, or told a canary to its log."""
    with visit(server.address) as visitor:
        is_well = _is_screened(visitor, 1) and server.process.poll() is None
    faults = [] if is_well else ["the scan after them is not screened"]
    return [*faults, *["a canary in the log"] * (_CANARY in server.said())]


def _grown(memory: Memory) -> list[str]:
    return [f"{memory.growth:.0f} MB more memory"] * (memory.growth > MAX_GROWTH_MB)


def _slowest(ends: Sequence[End]) -> str:
    return f"{max((end.seconds for end in ends), default=0.0):.1f} s"


def _of(files: Sequence[Hostile]) -> str:
    return f"{len(files)} files" if files else "no folder of hostile files on this machine"
