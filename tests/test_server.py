"""The server beside its pages: it says which model it serves, and forgets sessions that ended."""

import asyncio
import json
import logging
import time
from contextlib import suppress
from threading import Event, Thread, Timer
from types import SimpleNamespace

import pytest
from streamlit.runtime.memory_session_storage import MemorySessionStorage

from sslmri.dashboard import server, state, turns
from sslmri.dashboard.turns import Turns
from sslmri.errors import ModelError


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(state, "_screeners", {})


def asked() -> tuple[int, dict]:
    answer = server.health(None)
    return answer.status_code, json.loads(answer.body)


def test_health_says_which_model_is_loaded(configured):
    about = {"name": configured.name, "sha256": configured.sha256}
    assert asked() == (503, {"status": "loading", "model": about})
    state.share_screener(configured)
    assert asked() == (200, {"status": "ok", "model": about})


def test_health_without_a_model_is_no_health(unconfigured):
    assert asked() == (503, {"status": "no model"})


def test_health_of_a_model_whose_weights_are_refused_says_that_there_is_none(configured, monkeypatch):
    def refuse(card) -> None:
        raise ModelError("Expected weights.")

    monkeypatch.setattr(server, "_refused", set())
    monkeypatch.setattr(server, "share_screener", refuse)
    server._load()
    assert asked() == (503, {"status": "no model"})


def test_a_model_that_becomes_another_while_it_is_loaded_is_refused(configured):
    with pytest.raises(ModelError, match="stay as it was"):
        state.share_screener(SimpleNamespace(sha256="0" * 64, folder=configured.folder))
    assert not state.is_loaded(configured)


def test_sessions_that_ended_are_forgotten_and_others_are_not(monkeypatch):
    storage = MemorySessionStorage(ttl_seconds=1)
    ended = []

    def session(name: str) -> SimpleNamespace:
        return SimpleNamespace(session=SimpleNamespace(id=name, shutdown=lambda: ended.append(name)))

    storage.save(session("gone"))
    time.sleep(1.1)
    storage._cache._data["here"] = session("here")
    storage._cache._expirations["here"] = time.monotonic() + 60
    manager = SimpleNamespace(_session_mgr=SimpleNamespace(_session_storage=storage))
    monkeypatch.setattr(server.runtime, "get_instance", lambda: manager)
    monkeypatch.setattr(server, "_SWEEP_EVERY_S", 0.01)

    async def sweep() -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(server._sweep(), 0.2)

    asyncio.run(sweep())
    assert ended == ["gone"]
    assert list(storage._cache._data) == ["here"]


def test_a_server_that_stops_lets_a_screening_end_and_log_first(monkeypatch, caplog):
    line, done = Turns(1), Event()
    monkeypatch.setattr(turns, "_MODEL", line)
    monkeypatch.setattr(server, "_load", lambda: None)
    caplog.set_level(logging.INFO, logger="sslmri.journal")

    def screen() -> None:
        with line.take(lambda before: None):
            done.wait(10)
            server.record("screening")

    async def live() -> None:
        async with server.lifespan(None):
            Thread(target=screen, daemon=True).start()
            while not line._line:
                await asyncio.sleep(0.01)
            Timer(0.3, done.set).start()

    asyncio.run(live())
    assert [told.getMessage() for told in caplog.records] == ["start", "screening", "stop"]


def test_a_sweep_that_fails_is_logged_and_the_next_one_runs(monkeypatch, caplog):
    tries = iter([KeyError("DOE^JANE"), None, None])
    done: list[object] = []

    def forget() -> None:
        done.append(fault := next(tries))
        if fault:
            raise fault

    monkeypatch.setattr(server, "_forget_ended", forget)
    monkeypatch.setattr(server, "_SWEEP_EVERY_S", 0.05)

    async def sweep() -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(server._sweep(), 0.13)

    asyncio.run(sweep())
    assert len(done) == 2
    assert [told.getMessage() for told in caplog.records] == ["sessions that ended were not forgotten"]


def test_a_page_that_breaks_says_one_sentence(monkeypatch):
    said = []
    monkeypatch.setattr(server.st, "error", said.append)
    assert server.say_failed(KeyError("DOE^JANE")) is True
    assert len(said) == 1
    assert "DOE" not in said[0]
