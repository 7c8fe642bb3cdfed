"""Readers that misbehave: what a decoder with a hole in it might do to the process it runs in."""

import json
import os
import signal
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans import reading, sandbox
from sslmri.scans.scan import Scan


def serve_faults(handle: int) -> None:
    """Serves as the sandbox does; a file that begins with the name of a fault commits it."""
    sound = reading.read_scan

    def read_scan(data: bytes, name: str) -> Scan:
        for start, fault in _FAULTS.items():
            if data.startswith(start):
                fault(data)
        return sound(data, name)

    reading.read_scan = read_scan
    sandbox.CPU_SECONDS = 1
    sandbox.serve(handle)


def _allocate(data: bytes) -> None:
    np.ones(3 * 2**30, np.uint8)


def _spin(data: bytes) -> None:
    while True:
        pass


def _crash(data: bytes) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _write(data: bytes) -> None:
    target = Path(data.split(b":", 1)[1].decode())
    try:
        with target.open("wb") as file:
            file.write(b"stolen")
    except OSError as error:
        raise ScanError(f"no file: {error.strerror}") from None


def _sleep(data: bytes) -> None:
    signal.pause()


def _babble(data: bytes) -> None:
    raise ScanError("x" * 2**21)


def _open_all(data: bytes) -> None:
    try:
        kept = [socket.socket() for _ in range(1000)]
    except OSError as error:
        raise ScanError(f"no handle: {error.strerror}") from None
    raise AssertionError(len(kept))


def _mislead(data: bytes) -> None:
    sandbox._answer = _answer_wrongly


def _answer_wrongly(pipe: Connection, what: str, files: object) -> None:
    """Sends more voxels than were announced."""
    pipe.send_bytes(json.dumps({"shape": [1, 8, 8], "spacing_mm": ["a"]}).encode())
    pipe.send_bytes(bytes(4 * 8 * 9))


_FAULTS: dict[bytes, Callable[[bytes], None]] = {
    b"greedy": _allocate,
    b"endless": _spin,
    b"crash": _crash,
    b"write": _write,
    b"asleep": _sleep,
    b"babble": _babble,
    b"handles": _open_all,
    b"mislead": _mislead,
}
