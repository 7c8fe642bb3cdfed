"""The most memory that processes hold together while something is done to them."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_EVERY_S = 0.05


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
            with suppress(OSError):  # a process ended while its children were asked for
                memory.most = max(memory.most, held_mb(pids()))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        is_over.set()
        thread.join()


def held_mb(pids: Iterable[int]) -> float:
    """Returns what processes hold together, in MB: of a page shared by n of them each counts 1/n (``Pss``)."""
    return sum(_share_kb(pid) for pid in pids) / 1024


def children(pid: int) -> list[int]:
    """Returns the processes that a process started and that have not ended."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text(encoding="ascii").split()]


def _share_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:  # it has ended meanwhile
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
