"""The trials of what the running server lets out and leaves behind, small: one with a mistake does not pass them."""

import json
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.harness import server
from tests.soak import outside, privacy, result, sessions
from tests.soak.sessions import LEAKY

needs_network = pytest.mark.skipif(
    not outside.can_unshare(), reason="this machine lets nobody make a network of their own"
)


def test_no_name_of_a_patient_comes_to_light(model_folder):
    found = privacy.canaries(2, model_folder)
    assert (found.tried, found.failed) == (2, 0), found


def test_a_server_that_logs_names_is_found_out(model_folder):
    found = privacy.canaries(1, model_folder, LEAKY)
    assert "CANARY00^ZEISIG in the log" in found.faults


def test_files_that_a_server_keeps_on_a_disk_are_found(model_folder, monkeypatch):
    found = privacy.on_disk(1, model_folder)
    assert (found.tried, found.failed) == (2, 0), found
    monkeypatch.setattr(result, "_SHOWN", 99)
    found = privacy.on_disk(1, model_folder, LEAKY)
    for said in ("CANARY00^ZEISIG in ", "the file CANARY00^ZEISIG.png in ", "the file CANARY00^ZEISIG.dcm in "):
        assert any(fault.startswith(said) for fault in found.faults), found


def test_a_removed_file_that_is_still_open_is_searched(tmp_path):
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        file.write(b"CANARY07")
        file.flush()
        opened = privacy._opened(SimpleNamespace(pids=[os.getpid()]), tmp_path)
        assert len(privacy._found(opened, {"CANARY07^ZEISIG": b"CANARY07"})) == 1


def test_what_a_closed_session_leaves_for_too_long_is_found_out(model_folder, monkeypatch):
    monkeypatch.setattr(privacy, "FORGET_S", 0.1)  # long before the server forgets
    monkeypatch.setattr(result, "_SHOWN", 99)
    found = privacy.forgotten(1, model_folder)
    assert any("/media/" in fault for fault in found.faults), found
    assert found.faults[-1].endswith(" bytes of uploads after 0.1 s")


@needs_network
def test_the_server_tries_to_reach_nothing(model_folder):
    found = outside.connections(1, model_folder)
    assert (found.tried, found.failed) == (7, 0), found


def test_a_try_is_counted(monkeypatch):
    said = SimpleNamespace(returncode=0, stdout='{"tries": 3, "on_purpose": 2}', stderr="")
    monkeypatch.setattr(outside, "can_unshare", lambda: True)
    monkeypatch.setattr(outside.subprocess, "run", lambda *a, **k: said)
    assert outside.connections(1).faults == ("3 tries",)
    said.stdout = '{"tries": 0, "on_purpose": 0}'
    assert outside.connections(1).faults == ("nothing is counted",)
    said.returncode, said.stderr = 1, "no such page"
    assert outside.connections(1).faults == ("the visit broke: no such page",)


def test_the_server_stops_without_a_word_of_trouble_and_leaves_no_process(model_folder, tmp_path):
    log = tmp_path / "log"
    with server.serve("run", "app.py", log=log, wait_for="/health", SSLMRI_MODEL=str(model_folder)) as running:
        seen = sessions._screen(running, *sessions.sample("PNG", 0, "last"), has_reports=False)
        assert not seen.error
        pids = running.pids
        assert len(pids) > 1  # one that reads files
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert told[-1]["event"] == "stop"
    assert not [line for line in told if line["level"] == "error"]
    deadline = time.monotonic() + 10
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)
