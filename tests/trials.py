"""Trials that end well, break, die and hang; in a module of their own, for a fresh process imports it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.soak.result import Row


def broken() -> Row:
    raise ValueError("no server")


def killed() -> Row:
    os.kill(os.getpid(), signal.SIGKILL)
    return sound()


def called(trial: Callable[[], Row]) -> Row:
    return trial()


def hanging(told: Path) -> Row:
    """Starts two processes, one in a session of its own, writes their ids and does not end."""
    started = [subprocess.Popen(("sleep", "600"), start_new_session=is_apart) for is_apart in (True, False)]
    told.write_text(" ".join(str(process.pid) for process in started))
    time.sleep(600)
    return sound()


def leaving(told: Path) -> Row:
    """Ends, and leaves a process behind."""
    told.write_text(str(subprocess.Popen(("sleep", "600")).pid))
    return sound()


def sound() -> Row:
    return Row("sound", 2, 0)
