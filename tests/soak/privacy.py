"""Who the patient is stays in the file: no report, log or disk sees it, and what a session held ends with it."""

import json
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import requests

from sslmri.project import DEFAULT_MODEL
from tests.harness.client import Visitor, visit
from tests.harness.server import Server, printed, serve
from tests.soak.result import Row, row
from tests.soak.samples import KINDS, large_sample, sample
from tests.soak.sessions import APP, dashboard, pdf_text

FORGET_S = 120.0
_REPORTS = ("Report, PDF", "Report, CSV", "Report, JSON")
_LOGGED_S = 10.0  # until the words of a server that has stopped are in its log
_UPLOADED = re.compile(r'^cache_memory_bytes\{[^}]*"UploadedFileManager"[^}]*\} (\d+)', re.M)
# a pipe is no file; four bytes are what tempfile tries
_NO_WRITES = 'exec prlimit --fsize=4 -- "$@" > >(cat >"$PRINTED") 2> >(cat >"$LOG")'


def canaries(count: int = 25, model: Path = DEFAULT_MODEL, script: str = APP) -> Row:
    """Returns how many names of patients, in every text of files of every format, came to light anywhere.

    Each is in the texts of a sound scan, is the name of one, and is name and text of one that is cut and refused. The
    server runs under a limit by which the kernel lets it write no more than four bytes into any file. The page shows a
    file's own name to the session that gave it; all else is looked for everywhere. The last file is one of several MB,
    which a server might be tempted to put aside on its disk.
    """
    names = _names(count)
    with tempfile.TemporaryDirectory() as folder:
        log, kept = Path(folder, "log"), Path(folder, "kept")
        kept.mkdir()
        with serve(
            *("run", script), prefix=("bash", "-c", _NO_WRITES, "bash"), wait_for="/health", log=log,
            LOG=str(log), PRINTED=str(printed(log)), SSLMRI_MODEL=str(model), TMPDIR=str(kept),
        ) as server:  # fmt: skip
            faults = [fault for number, name in enumerate(names) for fault in _leaks(server.address, name, number)]
            faults += [f"{path.name} on the disk" for path in kept.rglob("*") if "CANARY" in path.name]
            with visit(server.address) as visitor:
                visitor.upload(("large.dcm", large_sample()))
                faults += ["a file of several MB is not read"] * (not visitor.slices())
        _wait_for_log(server)
        faults += [f"{name} in the log" for name in names if name[:8] in server.said()]
        lines = [line for line in server.events() if line["event"] == "screening"]
    for outcome, expected in (("screened", 2 * count + 1), ("refused", count)):
        n_ids = len({line["id"] for line in lines if line["outcome"] == outcome and len(line["model_sha256"]) == 64})
        faults += [f"{n_ids} lines for {expected} scans {outcome}"] * (n_ids != expected)
    return row(
        "names in tags, EXIF, comments and file names: in page, PDF, CSV, JSON, log, or on any disk",
        count,
        faults,
        f"{len(lines)} screenings with a line each in the log; the server could write no file of over 4 bytes",
    )


def on_disk(count: int = 6, model: Path = DEFAULT_MODEL, script: str = APP) -> Row:
    """Returns how often a name, or a file as it was given, came to a disk where the server may write.

    Its temporary files, its home and its caches are looked through, names and contents, those too that were removed
    and are still open: while each session is there, and once the server has stopped. The last file is of several MB.
    """
    names = _names(count)
    given = [sample(KINDS[number % len(KINDS)], number, name) for number, name in enumerate(names)]
    given.append((f"{names[0]}.dcm", large_sample(names[0])))
    marks = {name: name[:8].encode() for name in names} | {f"the file {name}": data for name, data in given}
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        places = {name: Path(folder, name) for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR")}
        for place in places.values():
            place.mkdir()
        with dashboard(model, script, **{name: str(place) for name, place in places.items()}) as server:
            for file in given:
                with visit(server.address) as visitor:
                    visitor.upload(file)
                    faults += ["nothing is screened"] * (not visitor.slices())
                    visitor.download("Report, PDF")
                    faults += _found(_opened(server, Path(folder)), marks)
        left = [path for path in Path(folder).rglob("*") if path.is_file()]
        faults += _found(left, marks)
    hazard = "names of patients and their files in what a server writes that may write: temporary files, home, caches"
    return row(hazard, len(given), faults, f"{len(left)} files left by it")


def forgotten(count: int = 6, model: Path = DEFAULT_MODEL) -> Row:
    """Returns how many files of closed sessions can still be had 120 s later, when nobody else has come.

    All must have been there before the session was closed. Of the uploads the server says how many bytes it holds.
    """
    given = [sample(KINDS[number % len(KINDS)], number, "gone") for number in range(count)]
    n_bytes = sum(len(data) for _, data in given)
    with dashboard(model) as server:
        left = [address for file in given for address in _leave(server, file)]
        held, pending = _uploaded(server), time.monotonic()
        while (still := [own for own in left if _is_there(own)]) or _uploaded(server):
            if time.monotonic() - pending > FORGET_S:
                break
            time.sleep(2)
        seconds, kept = time.monotonic() - pending, _uploaded(server)
    faults = [f"{address} after {FORGET_S:g} s" for address in still]
    faults += [f"{held} bytes of uploads were there to be forgotten, not {n_bytes}"] * (held != n_bytes)
    faults += [f"{kept} bytes of uploads after {FORGET_S:g} s"] * (kept > 0)
    return row(
        "uploads, images and reports of closed sessions, 120 s later",
        len(left) + count,
        faults,
        f"{len(left)} images and reports and {n_bytes:,} bytes of {count} uploads gone after {seconds:.0f} s",
    )


def _leave(server: Server, file: tuple[str, bytes]) -> list[str]:
    """Returns the addresses of all that a session is shown and saves, which is closed then.

    Raises:
        LookupError: one of them cannot be had even while the session is there.
    """
    with visit(server.address) as visitor:
        visitor.upload(file)
        visitor.download("Report, PDF")
        visitor.pictures()
        shown = [server.address + path for path in visitor.fetched]
        if missing := [address for address in shown if not _is_there(address)]:
            raise LookupError(f"Expected {missing[0]} while its session is there.")
        return shown


def _names(count: int) -> list[str]:
    return [f"CANARY{number:02d}^ZEISIG" for number in range(count)]


def _leaks(address: str, name: str, number: int) -> list[str]:
    """Returns a line on each place where a name came to light: from texts of a file, as its own name, and refused."""
    kind = KINDS[number % len(KINDS)]
    _, data = sample(kind, number, name)
    _, plain = sample(kind, number + 1000, "plain")
    faults = []
    for page, given, is_named in (
        ("", ("scan", data), False),
        ("", (f"{name}.x", plain), True),
        ("cohort", (f"{name}.x", data[: len(data) // 2]), True),
    ):
        with visit(address, page) as visitor:
            visitor.upload(given)
            found = _shown(visitor, is_named)
            scan = json.loads(found["Report, JSON"])["scans"][0]
            faults += [f"{kind}: {scan['status']}"] * ((scan["status"] == "refused") != (page == "cohort"))
        faults += [f"{kind}: {name} in {place}" for place, content in found.items() if name[:8].encode() in content]
    return faults


def _shown(visitor: Visitor, is_named: bool) -> dict[str, bytes]:
    """Returns what a session is shown and saves, by place; without the page where that shows the file's own name."""
    found = {label: visitor.download(label) for label in _REPORTS}
    found["PDF's text"] = pdf_text(found[_REPORTS[0]]).encode()
    return found | visitor.pictures() | visitor.slices() | ({} if is_named else {"page": b"".join(visitor.received)})


def _opened(server: Server, folder: Path) -> Iterator[Path]:
    """Yields the files in a folder, and those of it that were removed and that the server still has open."""
    yield from (path for path in folder.rglob("*") if path.is_file())
    for pid in server.pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            with suppress(OSError):  # closed meanwhile
                if link.readlink().is_relative_to(folder) and link.is_file():
                    yield link


def _found(files: Iterable[Path], marks: Mapping[str, bytes]) -> list[str]:
    """Returns a line on each file that has a mark in its name or content, while it is there."""
    faults = []
    for path in files:
        with suppress(FileNotFoundError):
            told = str(path).encode() + path.read_bytes()
            faults += [f"{name} in {path}" for name, mark in marks.items() if mark in told]
    return faults


def _wait_for_log(server: Server) -> None:
    """Waits until the last line of a server that has stopped has come through the pipe to its log."""
    deadline = time.monotonic() + _LOGGED_S
    while not any(event["event"] == "stop" for event in server.events()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Expected the line of a stop in the log within {_LOGGED_S:g} s, got none.")
        time.sleep(0.1)


def _is_there(address: str) -> bool:
    return requests.get(address, timeout=30).ok


def _uploaded(server: Server) -> int:
    """Returns how many bytes of uploads the server says it holds."""
    answer = requests.get(f"{server.address}/_stcore/metrics", timeout=30)
    answer.raise_for_status()
    return sum(map(int, _UPLOADED.findall(answer.text)))
