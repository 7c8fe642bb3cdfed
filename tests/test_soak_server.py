"""The trials of the running server, small: the shipped one passes them, and one with a mistake does not."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from soak import outside, privacy, server, sessions

LEAKY = "soak/leaky.py"
needs_network = pytest.mark.skipif(
    not outside.can_unshare(), reason="this machine lets nobody make a network of their own"
)


def test_sessions_at_once_see_their_own_scan_only(model_folder):
    found = sessions.crossings(6, model_folder)
    assert (found.tried, found.failed) == (6, 0), found


def test_a_server_that_shares_screenings_is_found_out(model_folder):
    found = sessions.crossings(3, model_folder, LEAKY)
    assert any("was sent" in fault for fault in found.faults), found
    assert any("JSON on the scans of" in fault for fault in found.faults), found


def test_no_name_of_a_patient_comes_to_light(model_folder):
    found = privacy.canaries(2, model_folder)
    assert (found.tried, found.failed) == (2, 0), found


def test_a_server_that_logs_names_is_found_out(model_folder):
    found = privacy.canaries(1, model_folder, LEAKY)
    assert "CANARY00^ZEISIG in the log" in found.faults


def test_memory_that_grows_is_found_out(model_folder, monkeypatch):
    held = iter(range(1000, 100_000, 80))
    monkeypatch.setattr(server.Server, "memory_mb", lambda self: next(held))
    found = sessions.cycles(5, 2, model_folder)
    assert found.faults == ("240 MB more than warm", "80.00 MB a cycle")


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
