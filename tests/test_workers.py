"""Worker processes: in order, bounded, and an end with a sentence when one is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sslmri.cohorts.workers import AHEAD, in_order
from sslmri.errors import ScanError, WorkerError
from sslmri.scans.prepare import prepare_files
from sslmri.scans.slices import Preparation, PreparedScan

ROOT = Path(__file__).resolve().parents[1]


def slow_double(number: int) -> int:
    time.sleep(0.02 * (number % 3))
    return 2 * number


def refuse(number: int) -> int:
    raise ScanError(f"Expected nothing, got {number}.")


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_amid_an_answer(number: int) -> int:
    if number == 3:
        sys.modules["__main__"].pipe._writer.write((1000).to_bytes(8, "big") + b"a part")
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_while_preparing(scans: Sequence[Sequence[Path]], preparation: Preparation) -> list[PreparedScan | ScanError]:
    """What tests of the store and of batches plant: this module is quick to import."""
    if scans[0][0].name in ("64.png", "032.jpg"):
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare_files(scans, preparation)


def loaded_for_preparing(_: int) -> set[str]:
    return set(sys.modules)


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{threading.main_thread().native_id}/children").read_text().split())


def test_results_come_in_the_order_of_the_tasks():
    assert list(in_order(slow_double, range(12), 2)) == [2 * number for number in range(12)]


def test_no_more_tasks_are_begun_than_the_window_holds():
    pending = []

    def tasks() -> Iterator[int]:
        for number in range(100):
            pending.append(number)
            yield number

    results = in_order(abs, tasks(), 2)
    for taken in range(1, 20):
        next(results)
        assert len(pending) < taken + AHEAD * 2
    results.close()


def test_one_worker_is_the_calling_process():
    assert list(in_order(lambda _: os.getpid(), range(3), 1)) == [os.getpid()] * 3


def test_an_error_comes_through_with_its_sentence():
    with pytest.raises(ScanError, match="Expected nothing, got 0"):
        list(in_order(refuse, range(4), 2))


@pytest.mark.parametrize("function", [die, die_amid_an_answer])
def test_a_killed_worker_ends_in_a_sentence(function):
    before = children()
    started = time.monotonic()
    with pytest.raises(WorkerError, match="got one that was killed"):
        list(in_order(function, range(50), 2))
    assert time.monotonic() - started < 30
    assert children() == before


def test_closing_early_stops_the_workers():
    before = children()
    results = in_order(slow_double, range(1000), 2)
    next(results)
    assert len(children() - before) == 2
    results.close()
    assert children() == before


def test_workers_of_a_killed_caller_end_too():
    code = (
        "from sslmri.cohorts.workers import in_order; from tests.test_workers import slow_double\n"
        "results = in_order(slow_double, range(10**6), 2); next(results)\n"
        "from tests.test_workers import children\n"
        "print(*children(), flush=True); results.send(None); import time; time.sleep(60)"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    workers = caller.stdout.readline().split()
    caller.kill()
    caller.wait()
    caller.stdout.close()
    assert len(workers) == 2
    until = time.monotonic() + 20
    while any(is_running(worker) for worker in workers):
        assert time.monotonic() < until
        time.sleep(0.1)


def is_running(pid: str) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_worker_that_prepares_loads_neither_torch_nor_pandas():
    for modules in in_order(loaded_for_preparing, range(2), 2):
        assert not modules & {"torch", "pandas", "streamlit"}
