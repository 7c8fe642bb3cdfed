"""Texts that would run: in what the page and the command line save. No spreadsheet, PDF reader or terminal runs one."""

import csv
import io
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pypdfium2
from pypdfium2 import raw

from sslmri.cohorts.patients import PATIENTS
from sslmri.diseases import DISEASES
from sslmri.files import neutralised
from sslmri.project import DEFAULT_MODEL
from sslmri.screening.report.pdf_page import latin
from tests.harness.client import Visitor, visit
from tests.harness.server import ROOT
from tests.soak.injection import Numbered, batches, broken, on_disk, sound, write_manifest
from tests.soak.payloads import PAYLOADS, Payload, some
from tests.soak.result import Row, row
from tests.soak.samples import sample
from tests.soak.sessions import dashboard, pdf_text

_FORMULAS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_TRIMMED = " \u00a0\ufeff\u200b\u2028\u2029\u3000"  # what a spreadsheet may leave out before it looks
_ACTIONS = re.compile(
    rb"/(JavaScript|JS|OpenAction|AA|Launch|URI|GoToR|SubmitForm|ImportData|EmbeddedFiles?|RichMedia|XFA|AcroForm|Annots)\b"
)
_VIEW = re.compile(rb"/OpenAction \[[^\]<]*\]")  # an array is where the view begins; an action would be a dictionary
_STREAM = re.compile(rb"stream\r?\n.*?endstream", re.S)
_STRING = re.compile(rb"\((?:\\.|[^\\()])*\)", re.S)
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_TIMEOUT_S = 600
_MOST = 300  # letters that a reason may have
_CLASSES = ("glioma", "meningioma", "pituitary")


def in_reports(count: int = len(PAYLOADS), model: Path = DEFAULT_MODEL) -> Row:
    """Returns how many texts did more than stand there in the page's reports, as a reason that a reviewer typed."""
    with dashboard(model) as server:
        return in_reasons(server.address, count)


def in_reasons(address: str, count: int) -> Row:
    """Returns how many reasons of a reviewer did more than stand there in the reports of a running server."""
    faults: list[str] = []
    with visit(address) as visitor:
        visitor.press(next(iter(PATIENTS.values())).title)
        titles = [own.title for own in DISEASES.values() if f"Your reading of {own.title}" in visitor.words()]
        for title in titles:
            visitor.set(f"Your reading of {title}", string_array_value=["Other"])
        visitor.set("Your initials", string_value="AB")
        for batch in batches(some(count), len(titles)):
            faults += _save(visitor, titles, [payload for _, payload in batch])
    hazard = "texts as a reviewer's reason, in PDF, CSV and JSON of the page: a formula, an action, or not as typed"
    return row(hazard, count, faults, f"{len(titles)} a report")


def in_commands(count: int = len(PAYLOADS), model: Path = DEFAULT_MODEL) -> Row:
    """Returns how many texts, as names of files and folders, did more than stand there in what the commands write."""
    numbered = list(enumerate(some(count)))
    with tempfile.TemporaryDirectory() as folder:
        faults = [*_screen(Path(folder, "scans"), numbered, model), *_audit(Path(folder, "data"), numbered)]
        faults += _make_manifest(Path(folder, "classes"), numbered)
    hazard = "texts as names of files, folders, cohorts: in CSV, PDF or output of screen, audit, manifest: one runs"
    return row(hazard, count, faults, "three commands")


def formulas(table: bytes) -> list[str]:
    """Returns a line on each cell that a spreadsheet takes for a formula, and on each row of another length."""
    rows = list(csv.reader(io.StringIO(table.decode("utf-8"), newline=""), strict=True))
    cells = [cell for cells in rows for cell in cells if cell.lstrip(_TRIMMED).startswith(_FORMULAS)]
    faults = [f"a formula: {cell[:60]!r}" for cell in cells if not _is_number(cell)]
    return faults + [f"{len(cells)} cells in place of {len(rows[0])}" for cells in rows if len(cells) != len(rows[0])]


def actions(pdf: bytes) -> list[str]:
    """Returns a line on everything in a PDF that a reader may run, follow or open."""
    outside = _VIEW.sub(b"", _STRING.sub(b"()", _STREAM.sub(b"", pdf)))
    faults = [f"an action: {found.decode()}" for found in sorted(set(_ACTIONS.findall(outside)))]
    with pypdfium2.PdfDocument(pdf) as document:
        counts = {
            "scripts": raw.FPDFDoc_GetJavaScriptActionCount(document),
            "files": raw.FPDFDoc_GetAttachmentCount(document),
            "annotations": sum(raw.FPDFPage_GetAnnotCount(page) for page in document),
        }
    return faults + [f"{number} {thing}" for thing, number in counts.items() if number]


def controls(text: str) -> list[str]:
    """Returns a line on each sign in a text that steers a terminal."""
    places = [found.start() for found in _CONTROL.finditer(text)]
    return [f"to the terminal: {text[max(0, at - 30) : at + 30]!r}" for at in places]


def lost(reasons: Mapping[str, str], told: bytes, table: bytes, words: str) -> Iterator[str]:
    """Yields a line on each reason, by title of its disease, that stands otherwise in a report's JSON, CSV or PDF.

    Args:
        reasons: as they were typed.
        told: the JSON.
        table: the CSV.
        words: of the PDF.
    """
    written = {DISEASES[review["disease"]].title: review["text"] for review in json.loads(told)["reviews"]}
    cells = {cell for cells in csv.reader(io.StringIO(table.decode("utf-8"), newline="")) for cell in cells}
    for title, reason in reasons.items():
        if written.get(title) != reason.strip():
            yield f"JSON has {written.get(title)!r} in place of {reason!r}"
        if neutralised(reason.strip()) not in cells:
            yield f"CSV lacks {reason!r}"
        if _packed(latin(reason)) not in _packed(words):
            yield f"PDF lacks {reason!r}"


def _save(visitor: Visitor, titles: Sequence[str], payloads: Sequence[Payload]) -> Iterator[str]:
    """Yields the faults of the three reports whose reasons are these."""
    reasons = {title: payload.text[-_MOST:] for title, payload in zip(titles, payloads, strict=False)}
    for title, reason in reasons.items():
        visitor.set(f"Your words on {title}", string_value=reason)
    told, table, pdf = (visitor.download(f"Report, {kind}") for kind in ("JSON", "CSV", "PDF"))
    yield from lost(reasons, told, table, pdf_text(pdf))
    yield from formulas(table)
    yield from actions(pdf)


def _packed(text: str) -> str:
    return "".join(text.split())


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _screen(folder: Path, numbered: Sequence[Numbered], model: Path) -> Iterator[str]:
    folder.mkdir()
    for number, payload in numbered:
        for make in (sound, broken):
            name, data = make(number, payload)
            Path(folder, on_disk(payload, number, name.rpartition(".")[2])).write_bytes(data)
    with tempfile.TemporaryDirectory() as saved:
        table, report = Path(saved, "out.csv"), Path(saved, "out.pdf")
        done = _run("screen", ".", "--model", model, "--csv", table, "--report", report, cwd=folder)
        if done.returncode != 2:
            yield f"screen ended with {done.returncode}: {done.stderr[-200:]}"
            return
        printed = [json.loads(line) for line in done.stdout.splitlines()]
        yield from formulas(table.read_bytes())
        yield from actions(report.read_bytes())
        yield from controls(done.stdout + done.stderr)
        n_rows = len(list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"), newline=""))))
        expected = sum(max(1, len(told["findings"])) for told in printed)
        yield from [f"{n_rows} rows in place of {expected}"] * (n_rows != expected)
        n_files = sum(not name.startswith(".") for name in os.listdir(folder))
        yield from [f"{len(printed)} scans"] * (sum(told["n_files"] for told in printed) != n_files)


def _audit(folder: Path, numbered: Sequence[Numbered]) -> Iterator[str]:
    for has_broken, expected in ((True, (1,)), (False, (0, 3))):  # more than one bad file in fifty stops it
        own = folder / str(has_broken)
        own.mkdir(parents=True)
        manifest, table = write_manifest(own, numbered, has_broken), own / "out.csv"
        done = _run("audit", manifest, "--csv", table, "--cache", own, cwd=own)
        yield from controls(done.stdout + done.stderr)
        if done.returncode not in expected:
            yield f"audit ended with {done.returncode}: {done.stderr[-200:]}"
        elif not has_broken:
            yield from formulas(table.read_bytes())


def _make_manifest(folder: Path, numbered: Sequence[Numbered]) -> Iterator[str]:
    for (number, payload), label in zip(numbered, itertools.cycle(_CLASSES), strict=False):
        place = folder / on_disk(payload, number, "x") / label
        place.mkdir(parents=True)
        (place / on_disk(payload, number, "png")).write_bytes(sample("PNG", number, "plain")[1])
    done = _run("manifest", ".", "--cohort", "tumours", cwd=folder)
    if done.returncode:
        yield f"manifest ended with {done.returncode}: {done.stderr[-200:]}"
        return
    table = (folder / "manifest.csv").read_bytes()
    yield from formulas(table)
    yield from controls(done.stdout + done.stderr)
    read = _run("audit", "manifest.csv", "--cache", folder, cwd=folder)
    yield from [f"the manifest cannot be read: {read.stderr[-200:]}"] * (read.returncode == 1)


def _run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "sslmri", *map(str, arguments))
    env = os.environ | {"PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
