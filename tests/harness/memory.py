"""What processes hold, together and at most, and which processes there are."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_EVERY_S = 0.05
_HELD = ("Pss_Anon:", "Pss_Shmem:")
_GONE = (FileNotFoundError, ProcessLookupError)  # what the kernel says of a process or thread that has ended meanwhile


@dataclass
class Memory:
    """What processes held together, in MB; a page that several of them share is counted once.

    Attributes:
        before: at the beginning.
        most: the most at any of the moments looked at.
    """

    before: float
    most: float

    @property
    def growth(self) -> float:
        """How much more it was at most than at the beginning, in MB."""
        return self.most - self.before


@contextmanager
def watch(pids: Callable[[], Iterable[int]]) -> Iterator[Memory]:
    """Looks every 50 ms at the memory of the processes that ``pids`` gives, until the block ends."""
    memory = Memory(before=held_mb(pids()), most=0.0)
    memory.most = memory.before
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(_EVERY_S):
            with suppress(LookupError):  # one process has ended and the next has not begun
                memory.most = max(memory.most, held_mb(pids()))

    with ThreadPoolExecutor(1) as thread:
        looking = thread.submit(look)
        try:
            yield memory
        finally:
            is_over.set()
        looking.result()


def held_mb(pids: Iterable[int]) -> float:
    """Returns what processes hold together, in MB: of a page shared by n processes each counts 1/n.

    Pages of files, such as libraries, are left out: their shares grow when others that have loaded them too end.

    Raises:
        LookupError: none of them is there.
    """
    shares = [share for pid in pids if (share := _megabytes(pid, "smaps_rollup", *_HELD)) is not None]
    if not shares:
        raise LookupError("Expected a process whose memory can be read, got none.")
    return sum(shares)


def forget_peak(pid: int | str = "self") -> None:
    """Lets what a process, this one if none is named, holds now be the most that it ever held."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mb(pid: int | str = "self") -> float:
    """Returns the most that a process ever held, in MB; the kernel misses no moment as looking now and then does.

    Raises:
        LookupError: it has ended.
    """
    peak = _megabytes(pid, "status", "VmHWM:")
    if peak is None:
        raise LookupError("Expected a process whose highest memory can be read, got none.")
    return peak


def below(pid: int) -> list[int]:
    """Returns a process and all that it and those it started have started and that have not ended."""
    found = [pid]
    for parent in found:
        found += children(parent)
    return found


def children(pid: int) -> list[int]:
    """Returns the processes that a process started and that have not ended."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(*_GONE):
            found += map(int, file.read_text(encoding="ascii").split())
    return found


def _megabytes(pid: int | str, table: str, *names: str) -> float | None:
    """Returns the sum of figures of a table that the kernel keeps of a process; None of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/{table}").read_text(encoding="ascii").splitlines()
    except _GONE:
        return None
    found = [int(line.split()[1]) / 1024 for line in lines if line.startswith(names)]
    return sum(found) if found else None
