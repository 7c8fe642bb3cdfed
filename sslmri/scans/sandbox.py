"""The door for files of unknown origin: read in another process, whose time and memory the operating system bounds.

The checks in the readers refuse all that is known to cost too much. What they miss, and what crashes a decoder, ends
that process and nothing else. A decoder that is taken over by its file can make no file longer and, unless it runs as
root, whom Linux does not count, start no process. What else the account may, it may: empty, remove and rename files,
open connections, and see the scans that its process is given afterwards. It answers in plain bytes, nothing is
unpickled, and what it answers is checked; an answer in another form ends it.
"""

import gc
import itertools
import json
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from threading import BoundedSemaphore, Lock, Timer
from typing import Any, TypeVar

import numpy as np

from sslmri.errors import ScanError
from sslmri.logging_config import record
from sslmri.memory import release_freed_memory
from sslmri.processes import MessagePipe, start_process
from sslmri.scans import reading
from sslmri.scans.file_type import kind_of
from sslmri.scans.images import MAX_PIXELS
from sslmri.scans.reading import Origin, origin_of_file, origin_of_series, scan_of
from sslmri.scans.scan import Scan
from sslmri.scans.volume import Spacing, Volume

# Measured for 64 million pixels: 8.0 s as 240 slices of lossless JPEG 2000 (50 MB), 3.0 s of lossy (12 MB), 2.4 s of
# RLE (61 MB); 2.9 s as RGBA PNG turned by EXIF (54 MB), 2.4 s where that packs to 0.2 MB; 1.5 s as NIfTI.
CPU_SECONDS = 4  # for a file of hardly any bytes: whatever takes longer was made to
BYTES_A_SECOND = 4 * 2**20  # for each so many bytes a second more: half the speed of the slowest above
WALL_SECONDS = 120  # a machine busy with others' scans is slow, not wrong
MEMORY_BYTES = 2 * 2**30  # of addresses, libraries included; the largest scan that is accepted needs half of them
BOUNDS = f"that can be read in the seconds due to its size and {MEMORY_BYTES >> 30} GB of memory, got one that cannot"
_MAX_ANSWER = 2**20  # bytes of an answer without its voxels
_PART_BYTES = 2**20  # of voxels that go through the pipe at once, or one row of them
_READERS = min(2, os.cpu_count() or 1)  # of one process: their memory adds up
_NEEDED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")  # without which some Pythons do not start
_TEXT = r"(?s).+"

_Made = TypeVar("_Made")
_Understand = Callable[[dict[str, Any], np.ndarray | None], _Made]  # of an answer and the voxels that follow it


def read_scan(data: bytes, name: str) -> Scan:
    """Returns what ``reading.read_scan`` returns.

    Raises:
        ScanError: as there; or reading took too long, too much memory, or crashed a decoder.
    """
    return _read("scan", [(name, data)], origin_of_file(data, name))


def read_series(files: Sequence[tuple[str, bytes]]) -> Scan:
    """Returns what ``reading.read_series`` returns.

    Raises:
        ScanError: as ``read_scan``.
    """
    return _read("series", files, origin_of_series(files))


def series_key(data: bytes) -> str | None:
    """Returns what ``reading.series_key`` returns; None as well for a file that cannot be read within the bounds."""
    if kind_of(data) != "DICOM":  # no need to ask
        return None
    try:
        return _ask("key", [("", data)], _key_of)
    except (_Ended, _Busy):
        return None


def unlimited_resources() -> tuple[str, ...]:
    """Returns what this operating system cannot limit for the process that reads scans; wall-clock time always is."""
    if not hasattr(signal, "setitimer"):  # Windows
        return ("CPU time", "memory", "files", "processes")
    return ("memory",) if sys.platform == "darwin" else ()


def serve(pipe: MessagePipe) -> None:
    """Reads, in a process of its own, the files that come through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller is interrupted too, and closes the pipe
    _limit_this_process()
    gc.freeze()  # the collection after each file looks at what that left, not at all that was loaded before
    with suppress(EOFError, ConnectionError):
        while True:
            request = json.loads(pipe.receive())
            files = [(name, pipe.receive()) for name in request["names"]]
            _limit_cpu_time(CPU_SECONDS + sum(len(data) for _, data in files) // BYTES_A_SECOND)
            _answer(pipe, request["what"], files)
            _limit_cpu_time(0)
            del files
            gc.collect()  # pydicom's data sets and errors hold each other, with the bytes and pixels of a scan
            release_freed_memory()


def _limit_this_process() -> None:
    """Limits memory, files and processes of this process, none of them above what it was given."""
    try:
        import resource
    except ImportError:  # Windows: the caller ends a process that takes too long, and nothing else is limited
        return
    limits = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NPROC: 0, resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: 64}
    if sys.platform != "darwin":  # which refuses to limit addresses
        limits[resource.RLIMIT_AS] = MEMORY_BYTES
    for kind, limit in limits.items():
        given = resource.getrlimit(kind)[1]
        limit = limit if given == resource.RLIM_INFINITY else min(limit, given)
        resource.setrlimit(kind, (limit, limit))


def _limit_cpu_time(seconds: int) -> None:
    """Lets this process run for so many more seconds of CPU time, then SIGPROF ends it; 0 for no limit.

    RLIMIT_CPU would count from the start of the process, and Linux counts for it in ticks: after some thousand files
    that count and the process's own clock were seconds apart.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


class _Ended(Exception):
    """The reading process ended before it answered, or answered in another form."""


class _Busy(Exception):
    """The machine has no room for one more process or thread."""


class _Reader:
    """A process that reads one scan at a time."""

    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in _NEEDED if name in os.environ}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process, self._pipe = start_process(__name__, "serve", environment, discard_output=True)

    def ask(self, what: str, files: Sequence[tuple[str, bytes]], understand: _Understand[_Made]) -> _Made:
        """Returns what is understood from the answer.

        Raises:
            _Ended: the process ended meanwhile, or the answer cannot be understood: the process is ended.
            RuntimeError: there is no thread left to watch it.
        """
        watch = Timer(WALL_SECONDS, self._process.kill)
        watch.start()
        try:
            self._pipe.send(json.dumps({"what": what, "names": [name for name, _ in files]}).encode())
            for _, data in files:
                self._pipe.send(data)
            answer: dict[str, Any] = json.loads(self._pipe.receive(_MAX_ANSWER))
            return understand(answer, self._voxels(answer["shape"]) if "shape" in answer else None)
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
        for part in _parts(voxels):
            self._pipe.receive_into(part.data.cast("B"))
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


def _begin_anew() -> None:
    """Lets a fork of this process start with no reader and no lock of its parent, which nobody there would give back.

    Two processes that ask one reader would get each other's scans.
    """
    global _lock, _places
    _idle.clear()
    _lock, _places = Lock(), BoundedSemaphore(_READERS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _ask(what: str, files: Sequence[tuple[str, bytes]], understand: _Understand[_Made]) -> _Made:
    """Returns what is understood from the answer of an idle reader, or a new one; at most two work at a time."""
    with _places:
        try:
            reader = _idle_reader() or _Reader()
            made = reader.ask(what, files, understand)
        except (OSError, RuntimeError) as error:  # there is no process, handle, memory or thread left to start with
            raise _Busy from error
        with _lock:
            _idle.append(reader)
    return made


def _idle_reader() -> _Reader | None:
    """Returns a reader that waits and is alive, or None."""
    with _lock:
        alive = [reader for reader in _idle if reader.is_alive()]
        _idle[:] = alive[1:]
    return alive[0] if alive else None


def _read(what: str, files: Sequence[tuple[str, bytes]], origin: Origin) -> Scan:
    try:
        found = _ask(what, files, _volume_of)
    except _Ended as error:
        raise ScanError(f"{origin.name}: Expected a file {BOUNDS}: export the scan again.") from error
    except _Busy as error:
        raise ScanError(f"{origin.name}: Expected room to read it, got a machine that is busy: try again.") from error
    if isinstance(found, str):
        raise ScanError(found)
    return scan_of(found, origin)


def _answer(pipe: MessagePipe, what: str, files: Sequence[tuple[str, bytes]]) -> None:
    """Sends what became of the files: a key, a refusal, or a volume whose voxels (D, H, W) follow as bytes in parts."""
    if what == "key":
        pipe.send(json.dumps({"key": reading.series_key(files[0][1])}).encode())
        return
    try:
        volume = reading.read_files(files) if what == "series" else reading.read_file(files[0][1], files[0][0])
    except ScanError as error:
        pipe.send(json.dumps({"refused": str(error)}).encode())
        return
    told = {field.name: getattr(volume, field.name) for field in fields(volume) if field.name != "voxels"}
    pipe.send(json.dumps({**told, "shape": volume.voxels.shape}).encode())
    for part in _parts(volume.voxels):
        pipe.send(np.ascontiguousarray(part))


def _parts(voxels: np.ndarray) -> Iterator[np.ndarray]:
    """Returns the voxels (D, H, W) in their order, in views of 1 MB at most: both ends copy what goes at once."""
    depth, height, width = voxels.shape
    n_rows = max(1, _PART_BYTES // (width * voxels.itemsize))
    n_planes = max(1, n_rows // height)
    starts = itertools.product(range(0, depth, n_planes), range(0, height, n_rows))
    return (voxels[plane : plane + n_planes, row : row + n_rows] for plane, row in starts)


def _key_of(answer: dict[str, Any], _: np.ndarray | None) -> str | None:
    """Returns the key that an answer tells of; anything else raises."""
    key = answer["key"]
    return None if key is None else _matching("[0-9a-f]{64}", key)


def _volume_of(answer: dict[str, Any], voxels: np.ndarray | None) -> Volume | str:
    """Returns the volume or the refusal that an answer tells of; anything else raises."""
    if "refused" in answer:
        return _matching(_TEXT, answer["refused"])
    spacing, orientation, modality = (answer[key] for key in ("spacing_mm", "orientation", "modality"))
    if voxels is None or not all(np.isfinite(part).all() for part in _parts(voxels)):
        raise ValueError("Expected finite voxels, got others.")
    return Volume(
        voxels,
        None if spacing is None else _spacing_of(*spacing),
        None if orientation is None else _matching("[LRPAIS]{3}", orientation),
        None if modality is None else _matching("[A-Z]+", modality),
        tuple(_matching(_TEXT, warning) for warning in answer["warnings"]),
    )


def _spacing_of(slice_: float, row: float, column: float) -> Spacing:
    spacing = float(slice_), float(row), float(column)
    if not all(0 < value < math.inf for value in spacing):
        raise ValueError("Expected distances in space, got others.")
    return spacing


def _matching(pattern: str, text: Any) -> str:
    if not isinstance(text, str) or not re.fullmatch(pattern, text):
        raise ValueError("Expected text of another form.")
    return text
