"""DICOM results of the command line and of the page: of DICOM scans only, and nothing else names the patient."""

import io
import zipfile
from typing import Any

import pytest
import streamlit as st
from PIL import Image
from pydicom import dcmread
from streamlit.testing.v1 import AppTest

from sslmri.errors import ScanError
from sslmri.scans import read_headers
from sslmri.scans.scan import NOT_DICOM
from tests.dicom_series import PATIENT, STUDY, series, write
from tests.pages import png, upload, words_of


@pytest.fixture(scope="module")
def files(head) -> list[tuple[str, bytes]]:
    return series(head)


def test_the_series_of_a_zip_file_has_the_headers_of_its_files(files):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        for name, data in [*files, ("notes.txt", b"of the scan\n" * 20)]:
            target.writestr(name, data)
    assert read_headers([("a.zip", archive.getvalue())])[:4] == read_headers(files)[:4]


def test_what_is_no_scan_in_a_study_is_refused_in_a_sentence(files, head):
    png = io.BytesIO()
    Image.fromarray(head[20]).save(png, "PNG")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("a.png", png.getvalue())
    for data in (png.getvalue(), archive.getvalue()):
        with pytest.raises(ScanError, match=NOT_DICOM):
            read_headers([("a", data)])
    for tags in ({"StudyInstanceUID": None}, {"SOPInstanceUID": "1.2.3"}, {"StudyInstanceUID": "CANARY"}):
        with pytest.raises(ScanError, match="do not each state valid UIDs") as refused:
            read_headers(series(head, **tags))
        assert "CANARY" not in str(refused.value)
    other = series(head[:, :, ::-1], PatientID="2")
    with pytest.raises(ScanError, match="several studies or patients"):
        read_headers([*files[:20], *other[20:]])


def test_the_command_line_writes_them_and_nothing_else_names_the_patient(model_folder, files, tmp_path, call, caplog):
    folder = write(files, tmp_path / "scan")
    outputs = ("--csv", tmp_path / "a.csv", "--report", tmp_path / "a.pdf", "--dicom-out", tmp_path / "out")
    done = call("sslmri", "screen", folder, "--model", model_folder, *outputs)
    assert (done.returncode, done.stderr) == (0, "")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"0001-findings.dcm", "0001-report.dcm"} <= names
    assert dcmread(tmp_path / "out" / "0001-findings.dcm").PatientID == PATIENT["PatientID"]
    written = [(tmp_path / name).read_bytes().decode("latin1") for name in ("a.csv", "a.pdf")]
    everything = "".join([done.stdout, caplog.text, *written])
    assert not [text for text in ("CANARY", "Jane", STUDY) if text in everything]


def test_the_command_line_says_which_scan_is_not_dicom(model_folder, head, tmp_path, call):
    Image.fromarray(head[20]).save(tmp_path / "a.png")
    done = call("sslmri", "screen", tmp_path / "a.png", "--model", model_folder, "--dicom-out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr == f"DICOM results of scan 1 are missing. {NOT_DICOM}\n"


def test_without_highdicom_nothing_is_screened_and_the_extra_is_named(monkeypatch, model_folder, tmp_path, call):
    monkeypatch.setattr("sslmri.screening.report.dicom.find_spec", lambda _: None)
    done = call("sslmri", "screen", tmp_path / "a.png", "--model", model_folder, "--dicom-out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (1, "")
    assert 'pip install "sslmri[dicom]"' in done.stderr


def test_the_page_gives_a_zip_of_a_dicom_scan_and_no_other(configured, files, monkeypatch):
    saved = {}
    monkeypatch.setattr(st, "download_button", lambda label, data, *_, **__: saved.update({label: data}))
    app = upload(*files)
    button(app).click().run()
    assert not app.exception
    assert "contain the patient's name and identifiers" in words_of(app)
    with zipfile.ZipFile(io.BytesIO(saved["Download DICOM results (zip)"])) as archive:
        assert {"findings.dcm", "report.dcm"} <= set(archive.namelist())
        assert dcmread(io.BytesIO(archive.read("findings.dcm"))).StudyInstanceUID == STUDY
    assert button(upload(("a.png", png()))).disabled


def test_the_page_says_why_there_are_none(configured, head):
    app = upload(*series(head[10:30], StudyInstanceUID=None))
    button(app).click().run()
    assert [one.value for one in app.warning if "valid UIDs" in one.value]


def button(app: AppTest) -> Any:
    return next(one for one in app.button if one.label == "DICOM results")
