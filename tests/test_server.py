"""The server: it reports which model it serves, frees ended sessions, and stops in order."""

import asyncio
import dataclasses
import importlib
import itertools
import json
import logging
import time
from collections.abc import Callable
from threading import Event, Thread, Timer
from types import SimpleNamespace

import pytest
from streamlit.runtime.memory_session_storage import MemorySessionStorage

from sslmri.dashboard.screening import shared_model
from sslmri.dashboard.server import lifespan, queue, streamlit_internals
from sslmri.dashboard.server.queue import FifoLimiter
from sslmri.errors import ModelError
from sslmri.screening.screener import Screener


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(shared_model, "_screeners", {})
    monkeypatch.setattr(shared_model, "_refused", set())


def keep_up_until(is_enough: Callable[[], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the server's housekeeping, without a pause between two rounds, until something has happened."""

    async def live() -> None:
        keeping = asyncio.create_task(lifespan._keep_up())
        deadline = time.monotonic() + 20
        while not is_enough() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        keeping.cancel()

    monkeypatch.setattr(lifespan, "_HOUSEKEEPING_INTERVAL_S", 0.01)
    monkeypatch.setattr(streamlit_internals.runtime, "get_instance", runtime_without_sessions)
    asyncio.run(live())
    assert is_enough()


def runtime_without_sessions() -> SimpleNamespace:
    storage = MemorySessionStorage(ttl_seconds=1)
    return SimpleNamespace(_session_mgr=SimpleNamespace(_session_storage=storage))


def asked() -> tuple[int, dict]:
    answer = lifespan.health(None)
    return answer.status_code, json.loads(answer.body)


def test_health_says_which_model_is_loaded(configured):
    about = {"name": configured.name, "sha256": configured.sha256}
    assert asked() == (503, {"status": "loading", "model": about})
    shared_model.share_screener(configured)
    assert asked() == (200, {"status": "ok", "model": about})


def test_health_without_a_model_is_no_health(unconfigured):
    assert asked() == (503, {"status": "no model"})


def test_health_of_a_model_whose_weights_are_refused_says_that_there_is_none(configured, monkeypatch):
    def refuse(card) -> None:
        raise ModelError("Expected weights.")

    monkeypatch.setattr(Screener, "load", refuse)
    assert lifespan._load() == ("no model", {"reason": "Expected weights."})
    assert asked() == (503, {"status": "no model"})
    assert lifespan._load() is None  # it is not tried again and again


def test_a_model_put_in_the_place_of_another_is_loaded_and_told_once(configured, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="sslmri.logging_config")
    loaded: list[str] = []
    other = dataclasses.replace(configured, sha256="0" * 64)
    cards = itertools.chain([configured, configured], itertools.repeat(other))
    monkeypatch.setattr(lifespan, "open_model", lambda: next(cards))
    monkeypatch.setattr(lifespan, "share_screener", lambda card: loaded.append(card.sha256))
    monkeypatch.setenv(lifespan.EXAMPLES, "0")
    keep_up_until(lambda: len(loaded) > 4, monkeypatch)
    assert loaded[:4] == [configured.sha256] * 2 + [other.sha256] * 2
    assert [told.fields["model_sha256"] for told in caplog.records] == [configured.sha256, other.sha256]


def test_a_fault_while_the_model_is_loaded_is_logged_and_loading_is_tried_again(configured, monkeypatch, caplog):
    def fail(folder) -> None:
        raise MemoryError

    monkeypatch.setattr(Screener, "load", fail)
    assert lifespan._load() is None
    assert [told.getMessage() for told in caplog.records] == ["the model was not loaded"]
    monkeypatch.undo()
    assert not shared_model.is_refused(configured)


def test_a_model_that_becomes_another_while_it_is_loaded_is_refused(configured):
    with pytest.raises(ModelError, match="was replaced while it was being loaded"):
        shared_model.share_screener(SimpleNamespace(sha256="0" * 64, folder=configured.folder))
    assert not shared_model.is_loaded(configured)


@pytest.mark.parametrize(("ttl_s", "expected"), [(0.05, ["s"]), (60, [])])
def test_sessions_that_expired_are_closed_and_others_are_not(ttl_s, expected, monkeypatch):
    storage, closed = MemorySessionStorage(ttl_seconds=ttl_s), []
    storage.save(SimpleNamespace(session=SimpleNamespace(id="s", shutdown=lambda: closed.append("s"))))
    manager = SimpleNamespace(_session_mgr=SimpleNamespace(_session_storage=storage))
    monkeypatch.setattr(streamlit_internals.runtime, "get_instance", lambda: manager)
    time.sleep(0.1)
    assert streamlit_internals.close_expired_sessions() is bool(expected)
    assert closed == expected
    assert [info.session.id for info in storage.list()] == ([] if expected else ["s"])


def test_another_version_of_streamlit_is_refused_with_the_one_that_is_needed(monkeypatch):
    monkeypatch.setattr("streamlit.__version__", "1.70.0")
    with pytest.raises(
        ImportError, match=r'needs Streamlit 1\.67, not 1\.70\.0: run pip install "streamlit==1\.67\.\*"'
    ):
        importlib.reload(streamlit_internals)


def test_a_server_that_stops_lets_a_screening_end_and_log_first(monkeypatch, caplog):
    line, done = FifoLimiter(1), Event()
    monkeypatch.setattr(queue, "MODEL", line)
    monkeypatch.setattr(lifespan, "_load", lambda: None)
    caplog.set_level(logging.INFO, logger="sslmri.logging_config")

    def screen() -> None:
        with line.acquire(lambda before: None):
            done.wait(10)
            lifespan.record("screening")

    async def live() -> None:
        async with lifespan.lifespan(None):
            Thread(target=screen, daemon=True).start()
            while not line._queue:
                await asyncio.sleep(0.01)
            Timer(0.3, done.set).start()

    asyncio.run(live())
    assert [told.getMessage() for told in caplog.records] == ["start", "screening", "stop"]


def test_a_server_frees_large_blocks_at_once_from_before_it_loads_the_model_on(monkeypatch):
    done: list[str] = []
    monkeypatch.setattr(lifespan, "set_mmap_threshold", lambda: done.append("frees"))
    monkeypatch.setattr(lifespan, "_load", lambda: done.append("loads"))

    async def live() -> None:
        async with lifespan.lifespan(None):
            while len(done) < 2:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(live(), 20))
    assert done == ["frees", "loads"]


def test_a_sweep_that_fails_is_logged_and_the_next_one_runs(monkeypatch, caplog):
    done: list[int] = []

    def fail_once() -> bool:
        done.append(len(done))
        if len(done) == 1:
            raise KeyError("DOE^JANE")
        return False

    monkeypatch.setattr(lifespan, "_load", lambda: None)
    monkeypatch.setattr(streamlit_internals, "close_expired_sessions", fail_once)
    keep_up_until(lambda: len(done) > 1, monkeypatch)
    assert [told.getMessage() for told in caplog.records] == ["ended sessions were not freed"]


def test_a_page_that_breaks_says_one_sentence(monkeypatch):
    said = []
    monkeypatch.setattr(lifespan.st, "error", said.append)
    assert lifespan.show_failure(KeyError("DOE^JANE")) is True
    assert len(said) == 1
    assert "DOE" not in said[0]
