"""Runs one trial in a process of its own, within a time, and leaves nothing of it behind."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection

from tests.harness import memory
from tests.soak.result import Row

Trial = Callable[[], Row]
LIMIT_S = 15 * 60.0  # for one trial
_SPAWN = get_context("spawn")


def run(trial: Trial, limit_s: float = LIMIT_S) -> Row:
    """Returns the row of a trial in a process of its own, printed with its seconds.

    One that raises, dies or is not over in time has failed once. Whatever it started is ended with it.
    """
    started = time.monotonic()
    mine, theirs = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_lead, args=(trial, theirs))
    process.start()
    theirs.close()  # else its end would not be seen here
    try:
        row = mine.recv() if mine.poll(limit_s) else _failed(trial, f"not over after {limit_s:g} s")
    except EOFError:
        row = _failed(trial, "its process died")
    finally:
        _end(process.pid or 0)
        process.join()
    print(f"{time.monotonic() - started:7.1f} s  {row}", file=sys.stderr, flush=True)
    return row


def _lead(trial: Trial, answer: Connection) -> None:
    """Sends the row of a trial that is run here, by the leader of a session of its own."""
    os.setsid()
    try:
        row = trial()
    except Exception as error:  # the other trials go on
        traceback.print_exc()
        row = _failed(trial, f"{type(error).__name__}: {error}")
    answer.send(row)


def _end(leader: int) -> None:
    """Kills a process with its session and all below it: a browser makes a session of its own."""
    for pid in reversed(memory.below(leader)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _failed(trial: Trial, fault: str) -> Row:
    return Row(_name(trial), 1, 1, "", (fault,))


def _name(trial: Callable[..., object]) -> str:
    """Returns module and name of the function that a trial calls in the end."""
    while isinstance(trial, partial):
        trial = next((given for given in trial.args if callable(given)), trial.func)
    return f"{trial.__module__}.{trial.__name__}"
