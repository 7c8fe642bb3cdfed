"""The trials of many sessions of the running server, small: the shipped one passes, one with a mistake does not."""

import re
from contextlib import nullcontext
from types import SimpleNamespace

from tests.harness import memory, server
from tests.soak import result, sessions
from tests.soak.sessions import LEAKY, SLOW

WAITED = {"event": "screening", "time": "2026-01-01T00:00:00+00:00", "waited_s": 2.0, "took_s": 1.0}


def test_sessions_at_once_see_their_own_scan_only(model_folder):
    found = sessions.crossings(6, model_folder)
    assert (found.tried, found.failed) == (6, 0), found


def test_a_server_that_shares_screenings_is_found_out(model_folder, monkeypatch):
    monkeypatch.setattr(result, "_SHOWN", 99)
    found = sessions.crossings(3, model_folder, LEAKY)
    told = "\n".join(found.faults)
    for said in ("was sent", "JSON on the scans", "CSV on the scans", "was shown .*: slice", "was shown .*: PDF"):
        assert re.search(said, told), (said, told)


def test_uploads_at_once_wait_and_are_told(model_folder):
    found = sessions.rush(6, model_folder, SLOW)
    assert (found.tried, found.failed) == (6, 0), found
    assert "4 single slices and 2 volumes of 12 slices" in found.hazard


def test_a_server_whose_model_serves_all_at_once_is_found_out(model_folder):
    found = sessions.rush(12, model_folder, LEAKY)
    assert "0 shown the queue, 0 waited" in found.faults
    assert any(fault.endswith("at the model at once") for fault in found.faults), found


def test_one_who_waits_and_is_not_told_is_found_out(model_folder, monkeypatch):
    monkeypatch.setattr(sessions, "_WAITING", "Other words")
    monkeypatch.setattr(server.Server, "events", lambda self: [WAITED] * 2)
    assert "0 shown the queue, 2 waited" in sessions.rush(1, model_folder).faults


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
