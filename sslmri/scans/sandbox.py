"""Reads files of unknown origin in another process, whose time and memory the operating system limits.

The readers compare sizes with the limits before they decode. What costs too much all the same, and what crashes a
decoder, ends that process and nothing else. On Linux, a decoder that a file has taken over cannot write to files nor,
unless it is run by root, start processes. It keeps the other rights of its account: to empty, remove and rename
files, to open connections, and to see the scans that its process is given afterwards. It answers in plain bytes,
nothing is unpickled, and an answer of another type ends it.
"""

import gc
import json
import math
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from functools import cache
from threading import BoundedSemaphore, Lock, Timer
from typing import Any

import numpy as np

from sslmri.errors import ScanError
from sslmri.logging_config import record
from sslmri.memory import release_freed_memory
from sslmri.processes import MessagePipe, start_process
from sslmri.scans import parse
from sslmri.scans.file_type import file_type
from sslmri.scans.limits import MAX_BYTES, MAX_VOXELS
from sslmri.scans.parse import ScanFiles
from sslmri.scans.scan import DicomHeaders, Scan, SeriesKey
from sslmri.scans.volume import Volume

# Measured for 64 million pixels: 8.0 s as 240 slices of lossless JPEG 2000 (50 MB), 3.0 s of lossy (12 MB), 2.4 s of
# RLE (61 MB); 2.9 s as RGBA PNG rotated by EXIF (54 MB), 2.4 s where that compresses to 0.2 MB; 1.5 s as NIfTI.
CPU_SECONDS = 4  # for a file of hardly any bytes
BYTES_PER_SECOND = 4 * 2**20  # one more second for each: half the speed of the slowest above
WALL_SECONDS = 120  # a host busy with other scans is slow
MEMORY_BYTES = 2 * 2**30  # of address space, libraries included; the largest scan that is accepted needs half of it
_MAX_ANSWER = 2**20  # bytes of an answer without its voxels
_MAX_READERS = min(8, os.cpu_count() or 1)  # their memory adds up
TOO_COSTLY = "The file takes too long or too much memory to read. Export the scan again."


def read_scan(data: bytes, name: str, series: int | None = None) -> Scan:
    """Returns the scan that a file holds.

    The folders of the name are dropped, its extension is ignored. ``series`` says which of the DICOM series of a zip
    file, from 1 to ``count_scans``, or None for the only one.

    Raises:
        ScanError: the file cannot be read as a scan, or not within the limits.
    """
    return _read(ScanFiles.of_file(data, name, series))


def read_files(files: Sequence[tuple[str, bytes]]) -> Scan:
    """Returns the scan that files, each a name and its whole content, hold together, whatever their order.

    They are the files of one DICOM series, or a header and the file of its voxels.

    Raises:
        ScanError: the files cannot be read as one scan, or not within the limits.
    """
    return _read(ScanFiles.of_files(files))


def read_headers(files: Sequence[tuple[str, bytes]], series: int | None = None) -> DicomHeaders:
    """Returns the headers of a DICOM scan, from the file or the files that it was read from.

    The files are given by name and whole content; ``series`` is as in ``read_scan``.

    Raises:
        ScanError: it is not DICOM, or its files cannot be read within the limits or lack the identifiers needed.
    """
    scan = ScanFiles.of_file(files[0][1], files[0][0], series) if len(files) == 1 else ScanFiles.of_files(files)
    headers: DicomHeaders = _answer_of("headers", scan)
    return headers._replace(sha256=scan.sha256)


def series_key(data: bytes) -> SeriesKey | None:
    """Returns what the files of one DICOM series share, or None for a file that is a scan by itself."""
    key: SeriesKey | None = _outline("key", "DICOM", data)
    return key


def count_scans(data: bytes) -> int:
    """Returns how many scans a file holds: more than one where it is a zip file of several DICOM series."""
    return int(_outline("count", "zip", data) or 1)


def _outline(what: str, source: str, data: bytes) -> Any:
    """Returns what is known of a file of that type before its scan is read, None where nothing can be."""
    if file_type(data) != source or len(data) > MAX_BYTES:
        return None
    try:
        return _ask(what, source, [data])
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
    limit_this_process()
    with suppress(EOFError, ConnectionError):
        while True:
            request = json.loads(pipe.receive())
            contents = [pipe.receive() for _ in range(request["n_files"])]
            limit_cpu_time(CPU_SECONDS + sum(map(len, contents)) // BYTES_PER_SECOND)
            _answer(pipe, request["what"], request["source"], contents, request["series"])
            limit_cpu_time(0)
            del contents
            gc.collect()  # pydicom's data sets and errors hold each other, with the bytes and pixels of a scan
            gc.freeze()  # so that the next collection does not look at all that was loaded before
            release_freed_memory()


def limit_this_process(memory_bytes: int = MEMORY_BYTES) -> None:
    """Limits memory, files and processes of this process, none of them above what it was given."""
    try:
        import resource
    except ImportError:  # Windows: the caller ends a process that takes too long, and nothing else is limited
        return
    limits = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NPROC: 0, resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: 64}
    if sys.platform != "darwin":  # which refuses to limit addresses
        limits[resource.RLIMIT_AS] = memory_bytes
    for kind, limit in limits.items():
        given = resource.getrlimit(kind)[1]
        limit = limit if given == resource.RLIM_INFINITY else min(limit, given)
        resource.setrlimit(kind, (limit, limit))


def limit_cpu_time(seconds: int) -> None:
    """Lets this process run for so many more seconds of CPU time, then SIGPROF ends it; 0 for no limit.

    RLIMIT_CPU would count from the start of the process, and Linux counts for it in ticks: after some thousand files
    that count and the process's own clock were seconds apart.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


class _Ended(Exception):
    """The reading process ended before it answered, or answered in another form."""


class _Busy(Exception):
    """The host cannot start one more process or thread."""


class _Reader:
    """A process that reads one scan at a time."""

    def __init__(self) -> None:
        environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process, self._pipe = start_process(__name__, "serve", environment)

    def ask(self, what: str, source: str, contents: Sequence[bytes], series: int | None) -> Any:
        """Returns the answer, checked.

        Raises:
            _Ended: the process ended meanwhile, or its answer is invalid and it was ended.
            RuntimeError: there is no thread left for the time limit.
        """
        watch = Timer(WALL_SECONDS, self._process.kill)
        watch.start()
        try:
            request = {"what": what, "source": source, "n_files": len(contents), "series": series}
            self._pipe.send(json.dumps(request).encode())
            for data in contents:
                self._pipe.send(data)
            answer = json.loads(self._pipe.receive(_MAX_ANSWER))["answer"]
            if isinstance(answer, dict):
                answer["voxels"] = self._voxels(answer.pop("shape"))
            return _expected(what).validate_python(answer)
        except Exception as error:  # whatever the answer of a decoder that was taken over looks like
            self.close()
            record("reader ended", status=self._process.returncode)
            raise _Ended from error
        finally:
            watch.cancel()

    def _voxels(self, shape: Sequence[int]) -> np.ndarray:
        depth, height, width = shape
        if min(shape) < 1 or math.prod(shape) > MAX_VOXELS:
            raise ValueError(f"Expected the shape of a volume, got {shape}.")
        return self._pipe.receive_array((depth, height, width))

    def is_alive(self) -> bool:
        """Returns whether the process runs; an idle one may have been ended for lack of memory."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.kill()
        self._process.wait()


@cache
def _expected(what: str) -> Any:
    """Returns what checks the type of an answer."""
    from pydantic import TypeAdapter  # here, as the process that reads does not need it

    types: dict[str, Any] = {"key": SeriesKey | None, "count": int | None, "volume": Volume | str}
    return TypeAdapter(types.get(what, DicomHeaders | str))


_idle: list[_Reader] = []
_lock = Lock()
_slots = BoundedSemaphore(_MAX_READERS)


def _reset_after_fork() -> None:
    """Drops the readers and locks of the parent: two processes that share a reader would get each other's scans."""
    global _lock, _slots
    _idle.clear()
    _lock, _slots = Lock(), BoundedSemaphore(_MAX_READERS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


def _ask(what: str, source: str, contents: Sequence[bytes], series: int | None = None) -> Any:
    """Returns the answer of an idle reader or a new one; as many work at a time as there are processors."""
    with _slots:
        with _lock:
            alive = [reader for reader in _idle if reader.is_alive()]
            _idle[:] = alive[1:]
        try:
            reader = alive[0] if alive else _Reader()
            answer = reader.ask(what, source, contents, series)
        except (OSError, RuntimeError) as error:  # there is no process, handle, memory or thread left to start with
            raise _Busy from error
        with _lock:
            _idle.append(reader)
    return answer


def _read(files: ScanFiles) -> Scan:
    return files.scan(_answer_of("volume", files))


def _answer_of(what: str, files: ScanFiles) -> Any:
    """Returns the answer on a scan's files, which is no refusal."""
    try:
        answer = _ask(what, files.source, files.contents, files.series)
    except _Ended as error:
        raise ScanError(TOO_COSTLY, files.name) from error
    except _Busy as error:
        raise ScanError("The server is too busy to read the scan. Try again.", files.name) from error
    if isinstance(answer, str):
        raise ScanError(answer, files.name)
    return answer


def _answer(pipe: MessagePipe, what: str, source: str, contents: Sequence[bytes], series: int | None) -> None:
    """Sends a series key, a count, headers, a refusal, or what is known of a volume, whose voxels (D, H, W) follow."""
    try:
        answer: Any
        if what in ("volume", "headers"):
            answer = (parse.parse_volume if what == "volume" else parse.parse_headers)(source, contents, series)
        else:
            answer = parse.parse_outline(source, contents[0])
    except ScanError as error:
        answer = error.reason
    voxels = None
    if isinstance(answer, Volume):
        voxels = answer.voxels
        answer = {field.name: getattr(answer, field.name) for field in fields(answer)} | {"shape": voxels.shape}
        del answer["voxels"]
    pipe.send(json.dumps({"answer": answer}).encode())
    if voxels is not None:
        pipe.send_array(voxels)
