"""The door for files of unknown origin: read in another process, whose time and memory the operating system bounds.

The checks in the readers refuse all that is known to cost too much. What they miss, and what crashes a decoder, ends
that process and nothing else. It can write nothing into a file, starts no process unless it runs as root, whom Linux
does not count, and answers in plain bytes: nothing is unpickled.
"""

import json
import math
import os
import resource
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from multiprocessing.connection import Connection
from threading import BoundedSemaphore, Lock, Timer
from typing import Any

import numpy as np

from sslmri.errors import ScanError
from sslmri.journal import record
from sslmri.processes import start_with_pipe
from sslmri.scans import reading
from sslmri.scans.images import MAX_PIXELS
from sslmri.scans.reading import bare_name
from sslmri.scans.scan import Scan
from sslmri.scans.sniffing import kind_of

CPU_SECONDS = 20  # for one scan; the largest that is accepted takes a tenth of it
WALL_SECONDS = 120  # a machine busy with others' scans is slow, not wrong
MEMORY_BYTES = 2 * 2**30  # of addresses, libraries included; the largest scan that is accepted needs 0.8 of them
BOUNDS = f"that can be read in {CPU_SECONDS} seconds and {MEMORY_BYTES >> 30} GB of memory, got one that cannot"
_MAX_ANSWER = 2**20  # bytes of an answer without its voxels
_MAX_FILES = 64  # handles a reader may hold
_READERS = min(2, os.cpu_count() or 1)  # of one process: their memory adds up
_LIMITS = {
    resource.RLIMIT_AS: MEMORY_BYTES, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NPROC: 0, resource.RLIMIT_CORE: 0,
    resource.RLIMIT_NOFILE: _MAX_FILES,
}  # fmt: skip
_KEPT = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}  # without it some Pythons end


def read_scan(data: bytes, name: str) -> Scan:
    """Returns what ``reading.read_scan`` returns.

    Raises:
        ScanError: as there; or reading took too long, too much memory, or crashed a decoder.
    """
    return _read("scan", [(name, data)])


def read_series(files: Sequence[tuple[str, bytes]]) -> Scan:
    """Returns what ``reading.read_series`` returns.

    Raises:
        ScanError: as ``read_scan``.
    """
    return _read("series", files)


def series_key(data: bytes) -> str | None:
    """Returns what ``reading.series_key`` returns; None as well for a file that cannot be read within the bounds."""
    if kind_of(data) != "DICOM":  # no need to ask
        return None
    try:
        answer, _ = _ask("key", [("", data)])
    except _Ended:
        return None
    key = answer["key"]
    return None if key is None else str(key)


def serve(handle: int) -> None:
    """Reads, in a process of its own, the files that come through the pipe of that handle until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller is interrupted too, and closes the pipe
    for kind, most in _LIMITS.items():
        least = _within(kind, most)
        resource.setrlimit(kind, (least, least))
    with Connection(handle) as pipe, suppress(EOFError, ConnectionError):
        while True:
            asked = json.loads(pipe.recv_bytes())
            files = [(name, pipe.recv_bytes()) for name in asked["names"]]
            seconds = math.ceil(time.process_time()) + CPU_SECONDS
            hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
            resource.setrlimit(resource.RLIMIT_CPU, (_within(resource.RLIMIT_CPU, seconds), hard))
            _answer(pipe, asked["what"], files)
            del files


def _within(kind: int, most: int) -> int:
    """Returns a limit that is no higher than the one this process was given, which it may not raise."""
    given = resource.getrlimit(kind)[1]
    return most if given == resource.RLIM_INFINITY else min(most, given)


class _Ended(Exception):
    """The reading process ended before it answered, or answered in another form."""


class _Reader:
    """A process that reads one scan at a time."""

    def __init__(self) -> None:
        quiet = _KEPT | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process, self._pipe = start_with_pipe(__name__, "serve", quiet, is_mute=True)

    def ask(self, what: str, files: Sequence[tuple[str, bytes]]) -> tuple[dict[str, Any], np.ndarray | None]:
        """Returns the answer, and the voxels (D, H, W) where there are some.

        Raises:
            _Ended: the process ended meanwhile.
        """
        watch = Timer(WALL_SECONDS, self._process.kill)
        watch.start()
        try:
            self._pipe.send_bytes(json.dumps({"what": what, "names": [name for name, _ in files]}).encode())
            for _, data in files:
                self._pipe.send_bytes(data)
            answer: dict[str, Any] = json.loads(self._pipe.recv_bytes(_MAX_ANSWER))
            return answer, self._voxels(answer["shape"]) if "shape" in answer else None
        except Exception as error:  # whatever form an answer has that a taken-over decoder gives
            self.close()
            record("reader ended", status=self._process.returncode)
            raise _Ended from error
        finally:
            watch.cancel()

    def _voxels(self, shape: Sequence[int]) -> np.ndarray:
        if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > MAX_PIXELS:
            raise ValueError(f"Expected the shape of a volume, got {shape}.")
        voxels = np.empty(shape, np.float32)
        if self._pipe.recv_bytes_into(voxels.data.cast("B")) != voxels.nbytes:
            raise ValueError("Expected all voxels of the volume, got fewer.")
        return voxels

    def is_alive(self) -> bool:
        """Returns whether the process is there; one that waits may have been ended for want of memory."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.kill()
        self._process.wait()


_idle: list[_Reader] = []
_lock = Lock()
_places = BoundedSemaphore(_READERS)


os.register_at_fork(after_in_child=_idle.clear)  # two processes that ask one reader would get each other's scans


def _ask(what: str, files: Sequence[tuple[str, bytes]]) -> tuple[dict[str, Any], np.ndarray | None]:
    """Returns what an idle reader answers, or a new one; at most two work at a time."""
    with _places:
        with _lock:
            alive = [reader for reader in _idle if reader.is_alive()]
            _idle[:] = alive[1:]
        reader = alive[0] if alive else _Reader()
        answer = reader.ask(what, files)
        with _lock:
            _idle.append(reader)
    return answer


def _read(what: str, files: Sequence[tuple[str, bytes]]) -> Scan:
    try:
        answer, voxels = _ask(what, files)
        if "refused" in answer:
            raise ScanError(str(answer["refused"]))
        if voxels is None:
            raise _Ended
        return _scan_of(answer, voxels)
    except (_Ended, LookupError, TypeError, ValueError) as error:
        raise ScanError(f"{bare_name(files[0][0])}: Expected a file {BOUNDS}: export the scan again.") from error


def _answer(pipe: Connection, what: str, files: Sequence[tuple[str, bytes]]) -> None:
    """Sends what became of the files: a key, a refusal, or a scan whose voxels (D, H, W) follow as bytes."""
    if what == "key":
        pipe.send_bytes(json.dumps({"key": reading.series_key(files[0][1])}).encode())
        return
    try:
        scan = reading.read_series(files) if what == "series" else reading.read_scan(files[0][1], files[0][0])
    except ScanError as error:
        pipe.send_bytes(json.dumps({"refused": str(error)}).encode())
        return
    known = {field.name: getattr(scan, field.name) for field in fields(scan) if field.name != "voxels"}
    pipe.send_bytes(json.dumps({**known, "shape": scan.voxels.shape}).encode())
    pipe.send_bytes(np.ascontiguousarray(scan.voxels).data.cast("B"))


def _scan_of(answer: dict[str, Any], voxels: np.ndarray) -> Scan:
    """Returns the scan that an answer tells of; JSON has lists where a scan has tuples."""
    spacing = answer["spacing_mm"]
    return Scan(
        voxels=voxels,
        spacing_mm=None if spacing is None else (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        orientation=answer["orientation"],
        modality=answer["modality"],
        source=answer["source"],
        name=answer["name"],
        sha256=answer["sha256"],
        warnings=tuple(answer["warnings"]),
    )
