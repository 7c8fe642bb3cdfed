"""Readers that misbehave: what a decoder with a hole in it might do to the process it runs in."""

import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sslmri.errors import ScanError
from sslmri.processes import MessagePipe
from sslmri.scans import parse, sandbox
from sslmri.scans.volume import Volume

MARK = b"\xff\xd8\xff"  # without which the sandbox asks no reader


def serve_faults(pipe: MessagePipe) -> None:
    """Serves as the sandbox does; a file that begins with JPEG's mark and the name of a fault commits it."""
    sound = parse.parse_volume

    def parse_volume(source: str, contents: Sequence[bytes], series: int | None = None) -> Volume:
        for start, fault in _FAULTS.items():
            if contents[0].startswith(MARK + start):
                fault(contents[0])
        return sound(source, contents, series)

    parse.parse_volume = parse_volume
    sandbox.CPU_SECONDS = 1
    time.process_time = lambda: 0.0  # far behind what the kernel counts, as it gets to be after many thousand files
    sandbox.serve(pipe)


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


def _spin_for(seconds: float) -> None:
    left = signal.getitimer(signal.ITIMER_PROF)[0]  # on a busy machine other clocks run ahead of the limit's own
    while signal.getitimer(signal.ITIMER_PROF)[0] > left - seconds:
        pass
    raise ScanError(f"{seconds} seconds are over")


def _want_memory(data: bytes) -> None:
    raise MemoryError


def _mislead(data: bytes) -> None:
    """Lets this reader answer, from now on, with what the file holds: JSON, then NUL, then bytes for voxels."""
    told, _, voxels = data.partition(b":")[2].partition(b"\0")

    def answer(pipe: MessagePipe, what: str, source: str, contents: object, series: int | None) -> None:
        pipe.send(told)
        pipe.send(voxels)

    sandbox._answer = answer


_FAULTS: dict[bytes, Callable[[bytes], None]] = {
    b"greedy": _allocate,
    b"endless": _spin,
    b"a while": lambda _: _spin_for(0.6),
    b"two seconds": lambda _: _spin_for(2.0),
    b"memory": _want_memory,
    b"crash": _crash,
    b"write": _write,
    b"asleep": _sleep,
    b"babble": _babble,
    b"handles": _open_all,
    b"mislead": _mislead,
}
