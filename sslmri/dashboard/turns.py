"""Screenings take turns: the cores serve few at a time, in the order of their coming, and who waits is told so."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition
from typing import TYPE_CHECKING

import streamlit as st

from sslmri.dashboard.words import count
from sslmri.errors import ScanError
from sslmri.journal import record
from sslmri.scans.scan import Scan

if TYPE_CHECKING:
    from sslmri.screening.screener import Screener, Screening

_TELL_EVERY_S = 0.5
_CORES_EACH = 2  # torch shares a pass among cores; passes side by side on the same cores wait for each other
_MOST = 2  # their memory adds up


class Turns:
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


_MODEL = Turns(max(1, min(_MOST, (os.cpu_count() or 1) // _CORES_EACH)))


@contextmanager
def turn_at_model() -> Iterator[None]:
    """Waits for this session's turn at the model, which all sessions share, saying on the page how long the line is."""
    place = st.empty()

    def tell(before: int) -> None:
        scans = count(before, "scan")
        place.info(f"Waiting for the model: {scans} before yours. A change on this page would put yours last.")

    with _MODEL.take(tell):
        place.empty()
        yield


def let_finish(seconds: float) -> None:
    """Waits that long at most for the screenings that have begun, so that each leaves its line in the log."""
    _MODEL.wait_until_empty(seconds)


def screen_in_turn(screener: "Screener", read: Callable[[], Scan], token: str) -> "Screening":
    """Returns the screening of the scan that ``read`` returns, and leaves one line in the log, without identity.

    Args:
        screener: with the model.
        read: called when it is this session's turn.
        token: random name of the screening, that of its report.

    Raises:
        ScanError: the scan cannot be read.
    """
    asked = time.monotonic()
    with turn_at_model():
        begun = time.monotonic()
        outcome, answers = "failed", {}
        try:
            screening = screener.screen(read())
            outcome = "screened"
            answers = {found.disease: found.status if found.applicable else "no answer" for found in screening.findings}
            return screening
        except ScanError:
            outcome = "refused"
            raise
        finally:
            record(
                "screening",
                id=token,
                model_sha256=screener.card.sha256,
                outcome=outcome,
                answers=answers,
                waited_s=round(begun - asked, 3),
                took_s=round(time.monotonic() - begun, 3),
            )
