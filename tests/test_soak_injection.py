"""Texts that would run, a few through each door; and that the trials of them can fail."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from fpdf import FPDF
from playwright.sync_api import Browser, Page

from sslmri.cohorts.manifest import read_manifest, write_manifest
from sslmri.cohorts.public import build_manifest
from sslmri.dashboard.text import escape_markdown
from sslmri.files import neutralised
from sslmri.text import printable_line
from tests.conftest import Call
from tests.harness.browser import CHROMIUM, browse
from tests.harness.client import Visitor
from tests.harness.server import ROOT, serve
from tests.soak import injected_reports, injection
from tests.soak.injected_reports import actions, controls, formulas, lost
from tests.soak.payloads import ELSEWHERE, MARK, PAYLOADS, some
from tests.soak.sessions import dashboard
from tests.soak.watched import Watch

needs_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}")
_UNESCAPED = "import sslmri.dashboard.text as text\ntext.escape_markdown = str\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browse() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(model_folder: Path) -> Iterator[str]:
    with dashboard(model_folder) as server:
        yield server.address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


def test_there_are_more_than_sixty_of_ten_kinds_and_no_two_are_alike() -> None:
    assert len({payload.text for payload in PAYLOADS}) == len(PAYLOADS) > 60
    assert len({payload.kind for payload in some(20)}) >= 8


@needs_browser
def test_texts_in_names_tags_and_manifests_stay_texts_in_a_browser(browser: Browser, address: str) -> None:
    row = injection.in_pages(browser, address, 2)
    assert (row.tried, row.failed) == (2, 0), row.faults


def test_reasons_of_a_reviewer_stay_texts_in_the_reports(address: str) -> None:
    row = injected_reports.in_reasons(address, 4)
    assert (row.tried, row.failed) == (4, 0), row.faults


@needs_browser
def test_the_trial_in_a_browser_fails_where_names_are_not_escaped(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_UNESCAPED)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")  # of the server
    with serve("run", "app.py", SSLMRI_MODEL="no-model") as server:
        row = injection.in_pages(browser, server.address, 2, ["data"])
    for said in ("Expected a manifest at", "Expected a label of"):
        assert any(fault.startswith("not shown letter by letter") and said in fault for fault in row.faults)


@needs_browser
@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ("<img src=x onerror='window.__ran=1'>", "a script ran"),
        ("<script>alert(1)</script>", "a dialog opened"),
        (f"<img src=https://{ELSEWHERE}/a.png>", "asked https"),
        (f"<b {MARK}>x</b>", "an element was added"),
        ("<a href='javascript:1'>x</a>", "an element was added"),
        (f"<meta http-equiv=refresh content='0;url=data:text/html,<i>{MARK}</i>'>", "an element was added"),
        ("<div data-testid=stText><b>a</b> k000k</div>", "not shown letter by letter"),
    ],
)
def test_the_watch_sees_what_runs_in_a_page(page: Page, html: str, fault: str) -> None:
    watch = Watch(page, "http://127.0.0.1:1")
    page.set_content(html if "refresh" not in html else html.replace("0;url=data:", f"9;url=https://{ELSEWHERE}?"))
    page.wait_for_timeout(100)
    assert any(found.startswith(fault) for found in watch.check({0: "**a** k000k"}))


def test_names_of_files_stay_texts_in_what_the_commands_write(
    model_folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(cwd)
        done = call("sslmri", *arguments)
        done.stderr = done.stderr.replace("\r", "\n")  # of progress bars, which the real trial leaves out
        return done

    monkeypatch.setattr(injected_reports, "_run", run)  # in this process, which has torch
    row = injected_reports.in_commands(6, model_folder)
    assert (row.tried, row.failed) == (6, 0), row.faults


def test_a_formula_a_lost_row_an_action_and_a_steering_sign_are_found() -> None:
    for cell in ("=1", "\uff1d1+x", " @x", "\u00a0+x", '"\n=x"', "-x"):
        assert formulas(f"a,b\n{cell},1\n".encode())
    assert formulas(b"a,b\n1\n")
    assert not formulas(b"a,b\n-1.5,'=x\n")
    pdf = FPDF()
    pdf.add_page()
    pdf.embed_file(basename="a.txt", bytes=b"a")
    pdf.link(0, 0, 9, 9, "https://127.0.0.1")
    assert {"an action: URI", "an action: EmbeddedFiles", "1 files", "1 annotations"} <= set(
        actions(bytes(pdf.output()))
    )
    assert controls("a\x1b[31m")
    assert not controls("a\nb")


def test_a_reason_that_a_report_lacks_or_has_otherwise_is_found() -> None:
    reasons = {"Tumour": " =1+1"}
    told = b'{"reviews": [{"disease": "tumours", "text": "=1+1"}]}'
    assert not list(lost(reasons, told, b"reason\n'=1+1\n", "Reason:\n=1 +1"))
    assert list(lost(reasons, told, b"reason\n=1+1\n", "=1+1")) == ["CSV lacks ' =1+1'"]
    assert list(lost(reasons, told, b"reason\n\n", "=1+1")) == ["CSV lacks ' =1+1'"]
    assert list(lost(reasons, told, b"reason\n'=1+1\n", "")) == ["PDF lacks ' =1+1'"]
    assert list(lost(reasons, told.replace(b"=1", b"=2"), b"reason\n'=1+1\n", "=1+1"))


def test_the_trial_of_reasons_fails_where_the_table_leaves_them_out(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_reasons(visitor: Visitor, label: str) -> bytes:
        return b"reason\nnone\n" if label == "Report, CSV" else download(visitor, label)

    download = Visitor.download
    monkeypatch.setattr(Visitor, "download", without_reasons)
    row = injected_reports.in_reasons(address, 4)
    assert (row.tried, row.failed) == (4, 4)
    assert all(fault.startswith("CSV lacks") for fault in row.faults)


def test_the_trial_of_reports_fails_where_the_command_line_writes_formulas(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaky(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        for name in ("manifest.csv", "out.csv"):
            (cwd / name).write_text("path,cohort\n=1+1,x\n")
        return subprocess.CompletedProcess([], 0, "\x1b[2J", "")

    monkeypatch.setattr(injected_reports, "_run", leaky)
    row = injected_reports.in_commands(2, model_folder)
    assert any("a formula" in fault for fault in row.faults)
    assert any("to the terminal" in fault for fault in row.faults)


def test_full_width_and_hidden_starts_of_a_formula_are_neutralised() -> None:
    for cell in ("\uff1d1+1", "\u00a0=1+1", "\ufeff=1+1", "\n=1+1", "\u3000\uff20x"):
        assert neutralised(cell) == f"'{cell}"
    assert neutralised("a=1") == "a=1"
    assert neutralised("a\r=1") == "a\n=1"


def test_a_folder_that_is_a_formula_stands_in_a_manifest_as_a_path(tmp_path: Path) -> None:
    for label in ("glioma", "meningioma", "pituitary"):
        folder = tmp_path / "=1+1" / label
        folder.mkdir(parents=True)
        (folder / "a.png").touch()
    paths = build_manifest(tmp_path, "tumours")["path"]
    assert all(path.startswith("./=1+1/") and (tmp_path / path).is_file() for path in paths)


def test_a_carriage_return_in_a_name_begins_no_row_of_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "a\r=1.png").touch()
    rows = pd.DataFrame({"path": ["a\r=1.png"], "cohort": ["x"], "disease": ["ms"], "label": ["normal"]})
    write_manifest(tmp_path / "manifest.csv", rows)
    assert [record.name for record in read_manifest(tmp_path / "manifest.csv")] == ["a\r=1.png"]


def test_signs_that_turn_the_writing_or_steer_a_terminal_are_not_passed_on() -> None:
    assert "\u202e" not in escape_markdown("report\u202egnp.exe")
    assert printable_line("a\x1b[2J\u202eb\nc") == "a\\x1b[2J\\u202eb\\nc"
