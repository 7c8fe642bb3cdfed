"""Archives that are down, slow or refuse, or send half a study: a small server that misbehaves."""

import io
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from pydicom import dcmread

from sslmri.dashboard.cohort import session
from sslmri.dashboard.cohort.intake import ARCHIVE_ADDRESS
from sslmri.dashboard.cohort.session import Cohort, ask_for
from sslmri.errors import ScanError
from sslmri.scans import dicomweb
from sslmri.scans.dicomweb import Archive, ArchiveSeries
from tests.conftest import Call
from tests.pages import open_page, table_of, words_of
from tests.studies import STUDY, make_study


@pytest.fixture(scope="module")
def study(head: np.ndarray) -> dict[str, list[bytes]]:
    return make_study(head)


MULTIPART = 'multipart/related; type="application/dicom"; boundary="b-1"'


class Misbehaving(BaseHTTPRequestHandler):
    """An archive of the study, whose answers ``misbehave`` writes."""

    study: dict[str, list[bytes]]
    misbehave: Callable[["Misbehaving", str, bytes], None]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        uid = path.rpartition("/")[2]
        body = self.listing() if uid == "series" else multipart(self.study[uid])
        type(self).misbehave(self, uid, body)

    def do_POST(self) -> None:
        if length := self.headers["Content-Length"]:
            self.rfile.read(int(length))
        else:
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
        type(self).misbehave(self, "studies", b"")

    def listing(self) -> bytes:
        rows = [
            {"00080060": {"Value": [modality]}, "0020000E": {"Value": [uid]}, "00201209": {"Value": [len(files)]}}
            for (uid, files), modality in zip(self.study.items(), ("MR", "MR", "CT"), strict=True)
        ]
        return json.dumps(rows).encode()

    def answer(self, body: bytes, status: int = 200, length: int | None = None, kind: str = MULTIPART) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def multipart(files: list[bytes]) -> bytes:
    parts = b"".join(b"--b-1\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in files)
    return parts + b"--b-1--\r\n"


@pytest.fixture
def misbehaving(study) -> Iterator[Callable[[Callable[[Misbehaving, str, bytes], None]], str]]:
    """Returns a function that starts such an archive and returns its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(misbehave: Callable[[Misbehaving, str, bytes], None]) -> str:
        members = {"study": study, "misbehave": staticmethod(misbehave)}
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), type("Archive", (Misbehaving,), members)))
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def trickle(archive: Misbehaving, uid: str, body: bytes) -> None:
    archive.send_response(200)
    archive.end_headers()
    for _ in range(40):  # a few seconds, in none of which it is silent
        archive.wfile.write(b" ")
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("misbehave", "sentence"),
    [
        (lambda archive, uid, body: time.sleep(2), "The archive does not answer in time."),
        (trickle, "The archive does not answer in time."),
        (lambda archive, uid, body: archive.answer(b"", 403), "The archive refuses access (HTTP 403)."),
        (lambda archive, uid, body: archive.answer(b"", 404), "The archive has nothing there (HTTP 404)."),
        (lambda archive, uid, body: archive.answer(b"", 503), "The archive failed (HTTP 503)."),
        (lambda archive, uid, body: archive.answer(b"<html>"), "The archive's answer is not DICOMweb."),
        (lambda archive, uid, body: archive.answer(b'["x"]'), "The archive's answer is not DICOMweb."),
        (lambda archive, uid, body: archive.answer(body[:9], length=len(body)), "The archive cannot be reached, or"),
        (lambda archive, uid, body: archive.answer(b"[]"), "The archive has no study of this UID."),
        (lambda archive, uid, body: archive.answer(body.replace(b'"MR"', b'"PT"')), "The study has no MR series."),
    ],
)  # fmt: skip
def test_an_archive_that_fails_to_list_a_study_is_one_sentence(misbehave, sentence, misbehaving, monkeypatch):
    monkeypatch.setattr(dicomweb, "SILENT_S", 0.5)
    monkeypatch.setattr(dicomweb, "ANSWER_S", 1.0)
    with pytest.raises(ScanError) as error:
        Archive(misbehaving(misbehave)).list_series(STUDY)
    assert error.value.reason.startswith(sentence)


def test_an_archive_that_is_down_is_one_sentence():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        archive = Archive(f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(ScanError, match="The archive cannot be reached"):
            archive.list_series(STUDY)


def damaged(files: list[bytes]) -> list[bytes]:
    return [*files[:-1], b"<html>"]


@pytest.mark.parametrize(
    ("change", "sent"),
    [
        (lambda files: multipart(files[:7]), 7),
        (lambda files: multipart(files)[:-3000], 19),  # in the last file; nothing else says that it is not whole
        (lambda files: multipart(damaged(files)), 19),
        (lambda files: b"", 0),
    ],
)
def test_nothing_is_screened_of_half_a_series_and_the_others_are(
    change, sent, misbehaving, study, call: Call, model_folder
):
    def halve(archive: Misbehaving, uid: str, body: bytes) -> None:
        archive.answer(change(study[uid]) if uid == "1.2.7.1" else body)

    address = misbehaving(halve)
    done = call("sslmri", "screen", "--dicomweb", address, "--study", STUDY, "--model", model_folder)
    assert done.returncode == 2, done.stderr
    half, whole = map(json.loads, done.stdout.splitlines())
    assert (half["status"], half["file"], half["findings"]) == ("refused", "1.2.7.1", [])
    assert half["reason"].startswith(f"The archive lists 20 files of this series and sent {sent} that are whole.")
    assert (whole["status"], whole["file"]) == ("screened", "1.2.7.2")


@pytest.mark.usefixtures("configured")
def test_the_cohort_page_lists_half_a_series_as_refused_and_takes_it_once_it_is_whole(misbehaving, study, monkeypatch):
    is_whole = []

    def halve(archive: Misbehaving, uid: str, body: bytes) -> None:
        archive.answer(body if uid != "1.2.7.1" or is_whole else multipart(study[uid][:7]))

    monkeypatch.setenv(ARCHIVE_ADDRESS, misbehaving(halve))
    app = open_page("pages/cohort.py")
    app.text_input[0].set_value(STUDY)
    app.button[0].click().run()
    assert "**1 screened**, 0 not brain MRI, 1 refused" in words_of(app)
    assert "sent 7 that are whole" in table_of(app, "Reason")["Reason"].item()
    is_whole.append(True)
    next(button for button in app.button if button.label == "Fetch and screen").click().run()
    assert "**2 screened**, 0 not brain MRI, 1 refused" in words_of(app)


def test_series_still_to_come_are_kept_when_another_study_is_asked_for_as_many_as_fit(monkeypatch):
    cohort, (first, second) = Cohort(""), (ArchiveSeries(STUDY, uid, "", 1) for uid in ("1", "2"))
    ask_for(cohort, [first])
    ask_for(cohort, [first, second])
    assert (cohort.pending, cohort.note) == ([first, second], "")
    monkeypatch.setattr(session, "MAX_SCANS", 1)
    ask_for(cohort, [])
    assert cohort.pending == [first]
    assert cohort.note == "1 scan left out: the list holds 1. Clear it to screen more."


def test_a_series_is_no_larger_than_an_upload_may_be(misbehaving, monkeypatch):
    archive = Archive(misbehaving(lambda archive, uid, body: archive.answer(body)))
    first, _ = archive.list_series(STUDY)
    monkeypatch.setattr(dicomweb, "MAX_SLICES", 19)
    with pytest.raises(ScanError, match="The series has too many files: 20, over 19."):
        archive.fetch(first)
    monkeypatch.setattr(dicomweb, "MAX_SLICES", 20)
    monkeypatch.setattr(dicomweb, "MAX_SERIES_BYTES", 2**15)
    with pytest.raises(ScanError, match="The series is too large"):
        archive.fetch(first)


def test_files_come_as_they_are_stored_and_with_the_token(misbehaving, study, monkeypatch):
    monkeypatch.setenv(dicomweb.TOKEN, "t0ken")
    seen: list[str] = []

    def note(archive: Misbehaving, uid: str, body: bytes) -> None:
        seen.append(archive.headers["Authorization"])
        archive.answer(body, length=len(body))

    archive = Archive(misbehaving(note))
    files = archive.fetch(archive.list_series(STUDY)[0])
    assert files == study["1.2.7.1"]
    assert seen == ["Bearer t0ken"] * 2


def test_results_that_an_archive_does_not_store_are_one_sentence_and_the_findings_are_printed(
    misbehaving, study, call: Call, model_folder, tmp_path
):
    address = misbehaving(lambda archive, uid, body: archive.answer(body, 507 if uid == "studies" else 200))
    out = ("--study", STUDY, "--model", model_folder, "--store", "--dicom-out", tmp_path)
    done = call("sslmri", "screen", "--dicomweb", address, *out)
    assert done.returncode == 2
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["screened"] * 2
    sentence = "The archive failed (HTTP 507). Try again later."
    assert done.stderr.splitlines() == [f"DICOM results of scan {n} are missing. {sentence}" for n in (1, 2)]
    assert {"0001-findings.dcm", "0002-findings.dcm"} <= {path.name for path in tmp_path.iterdir()}


def test_how_many_results_an_archive_did_not_store_is_said(misbehaving, study):
    failed = b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [272]}}]}}'

    def refuse_one(archive: Misbehaving, uid: str, body: bytes) -> None:
        archive.answer(failed, 202, kind="application/dicom+json")

    made = [dcmread(io.BytesIO(data)) for data in study["1.2.7.1"][:3]]
    with pytest.raises(ScanError, match="The archive did not store 1 of the 3 objects."):
        Archive(misbehaving(refuse_one)).store(made)


@pytest.mark.parametrize("address", ["127.0.0.1:8042", "ftp://127.0.0.1", "http://reader:secret@127.0.0.1", "http://["])
def test_an_address_that_is_none_or_has_a_password_is_refused_without_being_repeated(address):
    with pytest.raises(ScanError, match="Expected the address of a DICOMweb service") as error:
        Archive(address)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("study_uid", ["", "DOE^JANE", "1.2/../../instances", "1..2"])
def test_a_study_uid_that_is_none_is_refused_before_it_is_sent(study_uid):
    with pytest.raises(ScanError, match="A study UID consists of numbers separated by dots"):
        Archive("http://127.0.0.1:1").list_series(study_uid)


def test_without_its_package_an_archive_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "dicomweb_client", None)
    with pytest.raises(ScanError, match=r'pip install "sslmri\[dicom\]"'):
        Archive("http://127.0.0.1:8042")


@pytest.mark.parametrize(
    "given", ["--study 1.2", "--dicomweb http://a.b", "x --dicomweb http://a.b --study 1.2", "x --store"]
)
def test_files_and_an_archive_are_not_mixed(given, call: Call):
    done = call("sslmri", "screen", *given.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert "Expected files, or --dicomweb and --study together" in done.stderr
