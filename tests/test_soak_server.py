"""The trials of the running server, small: the shipped one passes them, and one with a mistake does not."""

import json
import os
import re
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from soak import memory, outside, privacy, row, server, sessions

LEAKY = "soak/leaky.py"
WAITED = {"event": "screening", "time": "2026-01-01T00:00:00+00:00", "waited_s": 2.0, "took_s": 1.0}
needs_network = pytest.mark.skipif(
    not outside.can_unshare(), reason="this machine lets nobody make a network of their own"
)


def test_sessions_at_once_see_their_own_scan_only(model_folder):
    found = sessions.crossings(6, model_folder)
    assert (found.tried, found.failed) == (6, 0), found


def test_a_server_that_shares_screenings_is_found_out(model_folder, monkeypatch):
    monkeypatch.setattr(row, "_SHOWN", 99)
    found = sessions.crossings(3, model_folder, LEAKY)
    told = "\n".join(found.faults)
    for said in ("was sent", "JSON on the scans", "CSV on the scans", "was shown .*: /media", "was shown .*: PDF"):
        assert re.search(said, told), (said, told)


def test_uploads_at_once_wait_and_are_told(model_folder):
    found = sessions.rush(6, model_folder)
    assert (found.tried, found.failed) == (6, 0), found
    assert "4 single slices and 2 volumes of 12 slices" in found.hazard


def test_a_server_whose_model_serves_all_at_once_is_found_out(model_folder):
    found = sessions.rush(12, model_folder, LEAKY)
    assert "0 told of the queue, 0 waited" in found.faults
    assert any(fault.endswith("at the model at once") for fault in found.faults), found


def test_one_who_waits_and_is_not_told_is_found_out(model_folder, monkeypatch):
    monkeypatch.setattr(sessions, "_WAITING", "Other words")
    monkeypatch.setattr(server.Server, "events", lambda self: [WAITED] * 2)
    assert "0 told of the queue, 2 waited" in sessions.rush(1, model_folder).faults


def test_a_session_whose_page_does_not_come_holds_up_no_other(monkeypatch):
    monkeypatch.setattr(sessions, "visit", lambda address: nullcontext(SimpleNamespace(received=[], fetched={})))
    monkeypatch.setattr(sessions, "_look", lambda *arguments: None)
    monkeypatch.setattr(sessions, "_OPEN_S", 0.5)
    together = sessions._together(SimpleNamespace(address=""), [("a", b"")] * 3)
    assert [seen.error for seen in together] == [""] * 3
    comes = iter((False, True, True))
    monkeypatch.setattr(sessions, "visit", lambda address: visit_of(next(comes)))
    together = sessions._together(SimpleNamespace(address=""), [("a", b"")] * 3)
    assert sorted(seen.error.partition(":")[0] for seen in together) == ["BrokenBarrierError"] * 2 + ["TimeoutError"]


def visit_of(comes):
    if not comes:
        raise TimeoutError
    return nullcontext(SimpleNamespace(received=[], fetched={}))


def test_no_name_of_a_patient_comes_to_light(model_folder):
    found = privacy.canaries(2, model_folder)
    assert (found.tried, found.failed) == (2, 0), found


def test_a_server_that_logs_names_is_found_out(model_folder):
    found = privacy.canaries(1, model_folder, LEAKY)
    assert "CANARY00^ZEISIG in the log" in found.faults


def test_files_that_a_server_keeps_on_a_disk_are_found(model_folder, monkeypatch):
    found = privacy.on_disk(1, model_folder)
    assert (found.tried, found.failed) == (2, 0), found
    monkeypatch.setattr(row, "_SHOWN", 99)
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
    monkeypatch.setattr(row, "_SHOWN", 99)
    found = privacy.forgotten(1, model_folder)
    assert any("/media/" in fault for fault in found.faults), found
    assert found.faults[-1].endswith(" bytes of uploads after 0.1 s")


def test_memory_that_grows_is_found_out(model_folder, monkeypatch):
    held = iter(range(1000, 1_000_000, 80))
    monkeypatch.setattr(memory, "held_mb", lambda pids: next(held))
    monkeypatch.setattr(sessions, "FORGOTTEN_S", 0.0)
    monkeypatch.setattr(sessions, "_READ_EVERY_S", 0.0)
    found = sessions.cycles(5, 2, model_folder)
    assert found.faults == ("800 MB more than warm", "80.00 MB a cycle")


def test_cycles_go_on_until_half_of_them_are_left_for_the_slope(model_folder, monkeypatch):
    monkeypatch.setattr(memory, "held_mb", lambda pids: 1000.0)
    monkeypatch.setattr(sessions, "_READ_EVERY_S", 0.0)
    monkeypatch.setattr(sessions, "FORGOTTEN_S", 4.0)
    found = sessions.cycles(3, 0, model_folder)
    n_steady = int(found.measured.rpartition(" ")[2])
    assert 2 * n_steady >= found.tried >= 3
    assert found.failed == 0, found


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
