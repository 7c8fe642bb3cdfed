"""Who the patient is stays in the file: no report, log or disk sees it, and what a session held ends with it."""

import json
import tempfile
import time
from pathlib import Path

import requests

from soak.row import Row, row
from soak.samples import KINDS, large_sample, sample
from soak.server import printed, serve
from soak.sessions import APP, dashboard, pdf_text
from soak.visitor import visit
from sslmri.__main__ import DEFAULT_MODEL

FORGET_S = 120.0
_REPORTS = ("Report, PDF", "Report, CSV", "Report, JSON")
# a pipe is no file; four bytes are what tempfile tries
_NO_WRITES = 'exec prlimit --fsize=4 -- "$@" > >(cat >"$PRINTED") 2> >(cat >"$LOG")'


def canaries(count: int = 25, model: Path = DEFAULT_MODEL, script: str = APP) -> Row:
    """Returns how many names of patients, in every text of files of every format, came to light anywhere.

    Each is in the texts of a sound scan, is the name of one, and is name and text of one that is cut and refused. The
    server runs under a limit by which the kernel lets it write no more than four bytes into any file. The page shows a
    file's own name to the session that gave it; all else is looked for everywhere. The last file is one of several MB,
    which a server might be tempted to put aside on its disk.
    """
    names = [f"CANARY{number:02d}^ZEISIG" for number in range(count)]
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
                faults += ["a file of several MB is not read"] * (not visitor.pictures())
        faults += [f"{name} in the log" for name in names if name[:8] in server.said()]
        lines = [line for line in map(json.loads, log.read_text("utf-8").splitlines()) if line["event"] == "screening"]
    for outcome, expected in (("screened", 2 * count + 1), ("refused", count)):
        n_ids = len({line["id"] for line in lines if line["outcome"] == outcome and len(line["model_sha256"]) == 64})
        faults += [f"{n_ids} lines for {expected} scans {outcome}"] * (n_ids != expected)
    return row(
        "names in tags, EXIF, comments and file names: in page, PDF, CSV, JSON, log, or on any disk",
        count,
        faults,
        f"{len(lines)} screenings with a line each in the log; the server could write no file of over 4 bytes",
    )


def forgotten(count: int = 6, model: Path = DEFAULT_MODEL) -> Row:
    """Returns how many files of closed sessions can still be had 120 s later, when nobody else has come."""
    with dashboard(model) as server:
        left: list[str] = []
        for number in range(count):
            with visit(server.address) as visitor:
                visitor.upload(sample(KINDS[number % len(KINDS)], number, "gone"))
                visitor.download("Report, PDF")
                left += [server.address + path for path in {*visitor.pictures(), *visitor.fetched}]
        is_there = sum(requests.get(address, timeout=30).ok for address in left)
        deadline = time.monotonic() + FORGET_S
        while still := [address for address in left if requests.get(address, timeout=30).ok]:
            if time.monotonic() > deadline:
                break
            time.sleep(2)
        seconds = FORGET_S - (deadline - time.monotonic())
    faults = [f"{address} after {FORGET_S:g} s" for address in still]
    faults += ["nothing was there to be forgotten"] * (is_there == 0)
    return row("pictures and reports of closed sessions, 120 s later", len(left), faults, f"gone after {seconds:.0f} s")


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
            found = {label: visitor.download(label) for label in _REPORTS}
            found |= {"PDF's text": pdf_text(found[_REPORTS[0]]).encode()}
            found |= {} if is_named else {"page": b"".join(visitor.received)}
            scan = json.loads(found["Report, JSON"])["scans"][0]
            faults += [f"{kind}: {scan['scan_status']}"] * ((scan["scan_status"] == "refused") != (page == "cohort"))
        faults += [f"{kind}: {name} in {place}" for place, content in found.items() if name[:8].encode() in content]
    return faults
