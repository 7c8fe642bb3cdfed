"""Screenings take turns: the cores serve few at a time, in the order of their coming, and who waits is told so."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from sslmri.dashboard.text import count
from sslmri.errors import ScanError
from sslmri.logging_config import record
from sslmri.memory import release_freed_memory
from sslmri.scans.scan import Scan

if TYPE_CHECKING:
    from sslmri.screening.screener import Screening

_Found = TypeVar("_Found", "Screening", "Screening | None")
_TELL_EVERY_S = 0.5
_CORES_EACH = 2  # torch shares a pass among cores; passes side by side on the same cores wait for each other
_MOST = 2  # their memory adds up


class FifoLimiter:
    """A line in which at most ``places`` are served at a time, first come, first served."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._line: list[object] = []
        self._moved = Condition()

    @contextmanager
    def take(self, tell: Callable[[int], object]) -> Iterator[None]:
        """Holds a place; while there is none, ``tell`` is called twice a second with how many are to be served before.

        Whatever ``tell`` raises leaves the line: a visitor who has gone holds up nobody.
        """
        own = object()
        with self._moved:
            self._line.append(own)
        try:
            while before := self._wait(own):
                tell(before)
            yield
        finally:
            with self._moved:
                self._line.remove(own)
                self._moved.notify_all()

    def wait_until_empty(self, seconds: float) -> bool:
        """Returns whether the line was empty at some moment within that time."""
        with self._moved:
            return self._moved.wait_for(lambda: not self._line, seconds)

    def _wait(self, own: object) -> int:
        """Waits for a moment and returns how many are to be served before; 0 once there is a place."""
        with self._moved:
            self._moved.wait_for(lambda: self._line.index(own) < self._places, _TELL_EVERY_S)
            return max(0, self._line.index(own) - self._places + 1)


_MODEL = FifoLimiter(max(1, min(_MOST, (os.cpu_count() or 1) // _CORES_EACH)))


@contextmanager
def acquire_model() -> Iterator[None]:
    """Waits for this session's turn at the model, which all sessions share, saying on the page how long the line is."""
    place = st.empty()

    def tell(before: int) -> None:
        scans = count(before, "scan")
        place.info(f"Waiting for the model: {scans} before yours. A change on this page would put yours last.")

    with _MODEL.take(tell):
        place.empty()
        yield


def wait_until_idle(seconds: float) -> None:
    """Waits that long at most for the screenings that have begun, so that each leaves its line in the log."""
    _MODEL.wait_until_empty(seconds)


def screen_queued(model_sha256: str, token: str, read: Callable[[], Scan], screen: Callable[[Scan], _Found]) -> _Found:
    """Returns what ``screen`` makes of the scan that ``read`` returns; leaves one line in the log, without identity.

    The scan is read before it waits for its turn: a file that is slow to read holds up nobody at the model.

    Args:
        model_sha256: hash of the model.
        token: random name of the screening, that of its report.
        read: returns the scan.
        screen: called when it is this session's turn. A change on a page starts its script anew while the model still
            works for the script before; where that has screened the scan meanwhile, ``screen`` returns None.

    Raises:
        ScanError: the scan cannot be read.
    """
    with _line_in_log(model_sha256, token) as line:
        scan = read()
        asked = time.monotonic()
        with acquire_model():
            pending = time.monotonic()
            screening = screen(scan)
            seconds = {"waited_s": round(pending - asked, 3), "took_s": round(time.monotonic() - pending, 3)}
        release_freed_memory()  # or a pass of the model would leave some 100 MB
        if screening is not None:
            found = {own.disease: own.status if own.applicable else "no answer" for own in screening.findings}
            line |= {"outcome": "screened", "answers": found, **seconds}
        return screening


@contextmanager
def _line_in_log(model_sha256: str, token: str) -> Iterator[dict[str, Any]]:
    """Gives what the line will say; none is written without an outcome: the visitor left before it was their turn."""
    line: dict[str, Any] = {"answers": {}, "waited_s": 0.0, "took_s": 0.0}
    try:
        yield line
    except ScanError:
        line["outcome"] = "refused"
        raise
    except Exception:
        line["outcome"] = "failed"
        raise
    finally:
        if "outcome" in line:
            record("screening", id=token, model_sha256=model_sha256, **line)
