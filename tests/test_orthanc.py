"""Studies in Orthanc, a DICOM archive, which the tests start where it is installed."""

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from dicomweb_client import DICOMwebClient

from sslmri.dashboard.cohort.intake import ARCHIVE_ADDRESS
from sslmri.diseases import DISEASES
from sslmri.errors import ScanError
from sslmri.scans.dicomweb import Archive
from tests.conftest import Call
from tests.pages import open_page, words_of
from tests.studies import STUDY, make_study

ORTHANC = shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin:/usr/bin")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
needs_orthanc = pytest.mark.skipif(not (ORTHANC and PLUGIN.exists()), reason="no Orthanc with its DICOMweb plug-in")


@pytest.fixture(scope="module")
def study(head: np.ndarray) -> dict[str, list[bytes]]:
    return make_study(head)


@pytest.fixture(scope="module")
def orthanc(study: dict[str, list[bytes]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Returns the address of an Orthanc that has the study, and asks for a password."""
    folder = tmp_path_factory.mktemp("orthanc")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "Plugins": [str(PLUGIN)],
        "HttpPort": port, "DicomServerEnabled": False, "RegisteredUsers": {"reader": "secret"},
        "AuthenticationEnabled": True, "DicomWeb": {"Enable": True},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with subprocess.Popen([str(ORTHANC), folder / "orthanc.json"], stderr=subprocess.DEVNULL) as server:
        try:
            root = f"http://127.0.0.1:{port}"
            for _ in range(100):
                with socket.socket() as probe:
                    if not probe.connect_ex(("127.0.0.1", port)):
                        break
                time.sleep(0.1)
            with requests.Session() as session:
                session.auth = ("reader", "secret")
                for data in (data for files in study.values() for data in files):
                    session.post(f"{root}/instances", data=data).raise_for_status()
            yield f"{root}/dicom-web"
        finally:
            server.terminate()


@pytest.fixture
def signed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login reader password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@needs_orthanc
@pytest.mark.usefixtures("signed_in")
def test_the_mr_series_of_a_study_are_screened_as_their_files_are_and_none_is_kept(
    orthanc, study, call: Call, model_folder, tmp_path, monkeypatch
):
    kept = tmp_path / "temporary"
    kept.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(kept))
    done = call("sslmri", "screen", "--dicomweb", orthanc, "--study", STUDY, "--model", model_folder)
    assert done.returncode == 0, done.stderr
    assert not list(kept.iterdir())
    found = {line["file"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert list(found) == ["1.2.7.1", "1.2.7.2"] == [uid for uid in found if found[uid]["n_files"] == 20]
    assert [line["scan"] for line in found.values()] == [1, 2]
    for number, data in enumerate(study["1.2.7.2"]):
        (tmp_path / f"{number}.dcm").write_bytes(data)
    files = json.loads(call("sslmri", "screen", *tmp_path.glob("*.dcm"), "--model", model_folder).stdout)
    assert found["1.2.7.2"]["sha256"] == files["sha256"]
    assert found["1.2.7.2"]["findings"] == files["findings"]


@needs_orthanc
def test_an_archive_refuses_without_a_password(orthanc, monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(ScanError, match=r"The archive refuses access \(HTTP 401\)"):
        Archive(orthanc).list_series(STUDY)


@needs_orthanc
@pytest.mark.usefixtures("signed_in")
def test_a_study_that_the_archive_does_not_have_is_one_sentence(orthanc, call: Call, model_folder):
    done = call("sslmri", "screen", "--dicomweb", orthanc, "--study", "1.2.8", "--model", model_folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: The archive has no study of this UID. Check the UID.\n"


@needs_orthanc
@pytest.mark.usefixtures("signed_in")
def test_results_are_stored_in_the_study_and_the_archive_lists_them(orthanc, call: Call, model_folder):
    done = call("sslmri", "screen", "--dicomweb", orthanc, "--study", STUDY, "--model", model_folder, "--store")
    assert (done.returncode, done.stderr) == (0, "")
    scans = [json.loads(line) for line in done.stdout.splitlines()]
    mapped = [[one for one in scan["findings"] if is_mapped(one)] for scan in scans]
    assert any(mapped)
    client = DICOMwebClient(orthanc)
    listed = Counter(one["00080060"]["Value"][0] for one in client.search_for_series(STUDY))
    assert listed == Counter(MR=2, CT=1, SR=2, DOC=2, SEG=sum(map(bool, mapped)), OT=sum(map(bool, mapped)))
    assert len(client.search_for_instances(STUDY, search_filters={"Modality": "OT"})) == sum(map(len, mapped))
    report = next(one for one in client.search_for_instances(STUDY) if one["00080060"]["Value"] == ["SR"])
    assert report["00100020"]["Value"] == ["canary"]
    assert [one.n_files for one in Archive(orthanc).list_series(STUDY)] == [20, 20]  # captures are no MR


def is_mapped(finding: dict) -> bool:
    """Returns whether the map of a finding is notable and of a disease, and is exported for that."""
    return finding["coverage"] is not None and finding["top_class"] != DISEASES[finding["disease"]].reference


@needs_orthanc
@pytest.mark.usefixtures("configured", "signed_in")
def test_the_cohort_page_fetches_from_the_archive_that_the_server_names(orthanc, monkeypatch):
    monkeypatch.setenv(ARCHIVE_ADDRESS, orthanc)
    app = open_page("pages/cohort.py")
    assert orthanc not in app.text_input[0].help  # it may hold a password, which is refused only once it is used
    app.text_input[0].set_value(f" {STUDY} ")
    app.button[0].click().run()
    assert not app.exception
    assert set(app.dataframe[0].value["File"]) == {"Series 1", "Series 2"}
    assert "canary" not in words_of(app)
    app.text_input[0].set_value("1.2.8")
    app.button[0].click().run()
    assert "no study of this UID" in app.warning[0].value


@pytest.mark.usefixtures("configured")
def test_the_cohort_page_asks_no_archive_that_the_server_does_not_name(monkeypatch):
    monkeypatch.delenv(ARCHIVE_ADDRESS, raising=False)
    assert not open_page("pages/cohort.py").text_input
