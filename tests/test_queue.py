"""Screenings take turns: few at a time, in their order, and whoever waits is told and may leave."""

import json
import logging
import time
from collections.abc import Callable
from threading import Event, Thread
from types import SimpleNamespace

import pytest

from sslmri.dashboard.screening import state
from sslmri.dashboard.screening.uploads import FileUpload
from sslmri.dashboard.server import queue
from sslmri.dashboard.server.queue import FifoLimiter, screen_in_turn
from sslmri.logging_config import JsonLines
from sslmri.scans import read_scan
from tests.pages import PAGES, open_page, png, upload, words_of


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Visitor(Thread):
    """Takes a turn in a thread of its own and keeps it until it is let go."""

    def __init__(self, line: FifoLimiter, served: list[int], number: int) -> None:
        super().__init__(daemon=True)
        self.told: list[int] = []
        self.go, self.has_turn, self._line, self._served, self._number = Event(), Event(), line, served, number

    def run(self) -> None:
        with self._line.acquire(self.told.append):
            self._served.append(self._number)
            self.has_turn.set()
            self.go.wait(10)


def line_of(places: int, n: int, monkeypatch: pytest.MonkeyPatch) -> tuple[FifoLimiter, list[int], list[Visitor]]:
    """Returns a line and visitors who came one after the other."""
    monkeypatch.setattr(queue, "_REPORT_INTERVAL_S", 0.02)
    line, served = FifoLimiter(places), []
    visitors = [Visitor(line, served, number) for number in range(n)]
    for number, visitor in enumerate(visitors):
        visitor.start()
        wait_until(lambda number=number: len(line._queue) > number)
    return line, served, visitors


def test_no_more_than_the_places_are_served_at_a_time(monkeypatch):
    _, served, visitors = line_of(2, 4, monkeypatch)
    for done, visitor in enumerate(visitors):
        assert visitor.has_turn.wait(5)
        assert len(served) <= done + 2
        visitor.go.set()
        visitor.join(5)
    assert sorted(served) == [0, 1, 2, 3]


def test_who_came_first_is_served_first(monkeypatch):
    _, served, visitors = line_of(1, 5, monkeypatch)
    for visitor in visitors:
        visitor.go.set()
    for visitor in visitors:
        visitor.join(5)
    assert served == [0, 1, 2, 3, 4]


def test_who_waits_is_told_how_many_come_before(monkeypatch):
    _, _, visitors = line_of(1, 3, monkeypatch)
    wait_until(lambda: len(visitors[2].told) >= 2)
    visitors[0].go.set()
    assert visitors[1].has_turn.wait(5)
    wait_until(lambda: visitors[2].told[-1] == 1)
    visitors[1].go.set()
    assert visitors[2].has_turn.wait(5)
    assert visitors[2].told[0] == 2
    assert visitors[0].told == []
    visitors[2].go.set()


def test_a_visitor_who_goes_away_holds_up_nobody(monkeypatch):
    line, _, visitors = line_of(1, 1, monkeypatch)

    def leave(before: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), line.acquire(leave):
        pass
    visitors[0].go.set()
    visitors[0].join(5)
    assert line._queue == []
    with line.acquire(leave):
        pass


def test_a_server_that_stops_waits_for_who_is_served_and_no_longer_than_told(monkeypatch):
    line, _, (visitor,) = line_of(1, 1, monkeypatch)
    assert not line.wait_until_empty(0.05)
    assert visitor.is_alive()
    visitor.go.set()
    assert line.wait_until_empty(60)
    assert line._queue == []


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict]:
    lines = [json.loads(JsonLines().format(r)) for r in caplog.records if r.name == "sslmri.logging_config"]
    return [line for line in lines if line["event"] == "screening"]


@pytest.fixture
def journal(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="sslmri.logging_config")
    return caplog


def test_each_screening_leaves_one_line_without_identity(configured, journal):
    app = upload(("DOE^JANE 1959.png", png()))
    assert not app.exception
    app.run()
    (line,) = lines_of(journal)
    assert line["outcome"] == "screened"
    assert line["model_sha256"] == configured.sha256
    assert set(line["answers"]) == set(configured.heads)
    assert app.session_state["screenings"].popitem()[1].token == line["id"]
    assert "DOE" not in json.dumps(line)
    assert "1959" not in json.dumps(line)


def test_what_a_screening_freed_is_given_back_once_its_turn_is_over(configured, monkeypatch):
    lines = []
    monkeypatch.setattr(queue, "release_freed_memory", lambda: lines.append(list(queue.MODEL._queue)))
    upload(("a.png", png()))
    assert lines == [[]]


def test_a_refused_scan_leaves_a_line_too(configured, journal):
    upload(("DOE^JANE.png", b"no picture"))
    (line,) = lines_of(journal)
    assert line["outcome"] == "refused"
    assert line["answers"] == {}
    assert "DOE" not in json.dumps(line)


def screen_nothing() -> None:
    """Queues a scan that no model can screen."""

    def screen(scan: object, report: object) -> None:
        raise ZeroDivisionError("DOE^JANE")

    screener = SimpleNamespace(card=SimpleNamespace(sha256="0" * 64), screen=screen)
    screen_in_turn(screener, "", "a1", lambda: None, lambda: False, lambda result: None)


def test_a_screening_that_fails_leaves_a_line_and_its_place(journal):
    for _ in range(queue._MAX_PARALLEL + 1):
        with pytest.raises(ZeroDivisionError):
            screen_nothing()
    assert [line["outcome"] for line in lines_of(journal)] == ["failed"] * (queue._MAX_PARALLEL + 1)
    assert queue.MODEL._queue == []


def test_a_visitor_who_leaves_before_their_turn_leaves_no_line(journal, monkeypatch):
    def leave() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(queue, "acquire_model", leave)
    with pytest.raises(KeyboardInterrupt):
        screen_nothing()
    assert lines_of(journal) == []


def test_a_file_that_is_slow_to_read_holds_up_nobody_at_the_model(configured, monkeypatch):
    monkeypatch.setattr(queue, "MODEL", FifoLimiter(1))
    monkeypatch.setattr(state.st, "session_state", {})
    reading, read_on, done = Event(), Event(), []

    def read(data: bytes, name: str):
        if name == "slow.png":
            reading.set()
            assert read_on.wait(10)
        return read_scan(data, name)

    monkeypatch.setattr("sslmri.dashboard.screening.uploads.read_scan", read)
    summary = SimpleNamespace(summary=SimpleNamespace(findings={}))
    screener = SimpleNamespace(card=configured, screen=lambda scan, report: (done.append(scan.info.name), summary)[1])

    def visit(name: str) -> None:
        state.screen_uploads(screener, FileUpload(name, png(len(name))).scans)

    slow = Thread(target=visit, args=["slow.png"], daemon=True)
    slow.start()
    assert reading.wait(10)
    visit("quick.png")
    read_on.set()
    slow.join(10)
    assert done == ["quick.png", "slow.png"]


def test_a_page_that_starts_anew_while_its_scan_is_screened_does_not_screen_it_again(configured, journal, monkeypatch):
    """The script before this one has the model; both ask for the same scan of the same session."""
    monkeypatch.setattr(queue, "MODEL", FifoLimiter(1))
    kept: dict[str, state.Screened] = {}
    monkeypatch.setattr(state.st, "session_state", {"screenings": kept})
    screening, go_on, screened = Event(), Event(), []

    def screen(scan, report) -> SimpleNamespace:
        screened.append(scan)
        screening.set()
        assert go_on.wait(10)
        return SimpleNamespace(summary=SimpleNamespace(findings={}))

    screener = SimpleNamespace(card=configured, screen=screen)
    scans = FileUpload("scan.png", png()).scans
    threads = [Thread(target=state.screen_uploads, args=[screener, scans], daemon=True) for _ in range(3)]
    threads[0].start()
    assert screening.wait(30)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: len(queue.MODEL._queue) == 3)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert len(screened) == 1
    assert len(kept) == 1
    assert [line["id"] for line in lines_of(journal)] == [next(iter(kept.values())).token]


def test_the_page_says_how_many_scans_are_before_ones_own(configured, monkeypatch):
    line = FifoLimiter(1)
    monkeypatch.setattr(queue, "MODEL", line)
    monkeypatch.setattr(queue, "_REPORT_INTERVAL_S", 0.02)
    open_page(PAGES[0])
    said = []
    real = queue.st.empty

    def empty():
        place = real()
        show = place.info
        place.info = lambda text: (said.append(text), leave.set(), show(text))
        return place

    monkeypatch.setattr(queue.st, "empty", empty)
    leave = Event()

    def hold() -> None:
        with line.acquire(lambda before: None):
            leave.wait(60)

    holder = Thread(target=hold, daemon=True)
    holder.start()
    wait_until(lambda: bool(line._queue))
    app = upload(("scan.png", png()))
    assert said[0] == ("Waiting for the model: 1 scan ahead of yours. Any change on this page moves yours to the end.")
    assert not app.exception
    assert "Waiting" not in words_of(app)
