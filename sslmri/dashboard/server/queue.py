"""The queue for the model: a few screenings at a time, first come, first served, and the page shows who is ahead."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition
from typing import TYPE_CHECKING

import streamlit as st

from sslmri.errors import ScanError
from sslmri.logging_config import record
from sslmri.memory import release_freed_memory
from sslmri.scans.scan import Scan
from sslmri.screening.outcome import Refusal, Screening
from sslmri.text import count

if TYPE_CHECKING:  # the other pages never load torch
    from sslmri.screening.screener import Screener

_REPORT_INTERVAL_S = 0.5
_CORES_EACH = 2  # torch uses several cores for a pass; passes on the same cores slow each other down
_MAX_PARALLEL = 2  # their memory adds up


class FifoLimiter:
    """Admits at most ``capacity`` callers at a time, in the order in which they came."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._queue: list[object] = []
        self._changed = Condition()

    @contextmanager
    def acquire(self, report: Callable[[int], object]) -> Iterator[None]:
        """Waits for admission and holds it; meanwhile calls ``report`` twice a second with how many are ahead.

        An exception of ``report`` leaves the queue: a user who closed the page delays nobody.
        """
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
        try:
            while ahead := self._wait(ticket):
                report(ahead)
            yield
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def wait_until_empty(self, seconds: float) -> bool:
        """Returns whether the queue was empty at any time within that time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, seconds)

    def _wait(self, ticket: object) -> int:
        """Waits up to half a second and returns how many must leave before admission, 0 once admitted."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue.index(ticket) < self._capacity, _REPORT_INTERVAL_S)
            return max(0, self._queue.index(ticket) - self._capacity + 1)


MODEL = FifoLimiter(max(1, min(_MAX_PARALLEL, (os.cpu_count() or 1) // _CORES_EACH)))


@contextmanager
def acquire_model() -> Iterator[None]:
    """Waits until this session may use the model, which all sessions share; the page shows how many are ahead."""
    message = st.empty()

    def report(ahead: int) -> None:
        scans = count(ahead, "scan")
        message.info(f"Waiting for the model: {scans} ahead of yours. Any change on this page moves yours to the end.")

    with MODEL.acquire(report):
        message.empty()
        yield


def screen_in_turn(
    screener: "Screener",
    sha256: str,
    token: str,
    read: Callable[[], Scan],
    is_kept: Callable[[], bool],
    keep: Callable[[Screening | Refusal], object],
    report: Callable[[str], object] = lambda step: None,
) -> None:
    """Reads a scan, waits for the model, screens the scan, and logs one line without identity.

    The scan is read before the queue: a slow file delays nobody. A change on the page restarts its script while the
    model still works for the last run, so ``is_kept`` is asked once the model is free. Leaving the queue logs nothing.
    The token is the random id of the screening, also in its report; ``report`` gets the name of each slow step.
    """
    fields: dict[str, object] = {"outcome": "", "answers": {}, "waited_s": 0.0, "took_s": 0.0}
    try:
        scan = read()
        queued = time.monotonic()
        with acquire_model():
            admitted = time.monotonic()
            if not is_kept():
                screening = screener.screen(scan, report)
                keep(screening)
                answers = {key: str(finding.verdict) for key, finding in screening.summary.findings.items()}
                fields |= {"outcome": "screened", "answers": answers, "waited_s": round(admitted - queued, 3)}
                fields["took_s"] = round(time.monotonic() - admitted, 3)
        release_freed_memory()  # a pass of the model would otherwise keep some 100 MB
    except ScanError as error:
        fields["outcome"] = "refused"
        keep(Refusal(error.reason, sha256))
    except Exception:
        fields["outcome"] = "failed"
        raise
    finally:
        if fields["outcome"]:
            record("screening", id=token, model_sha256=screener.card.sha256, **fields)
