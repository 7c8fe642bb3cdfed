"""Trials that end well, break and die; in a module of their own, for a fresh process imports it."""

import os
import signal

from soak.row import Row


def broken() -> Row:
    raise ValueError("no server")


def killed() -> Row:
    os.kill(os.getpid(), signal.SIGKILL)
    return sound()


def sound() -> Row:
    return Row("sound", 2, 0)
