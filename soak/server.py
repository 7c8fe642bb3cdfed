"""The real server, in a process of its own, with its log in a file."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_START_S = 180
_STOP_S = 30


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        address: where it answers, without a slash at the end.
        process: its process.
        log: what it wrote on standard error, if that was kept; ``said`` adds what it printed.
    """

    address: str
    process: subprocess.Popen[bytes]
    log: Path | None

    def said(self) -> str:
        """Returns every word that it wrote, where that was kept."""
        assert self.log is not None
        return "".join(path.read_text(encoding="utf-8") for path in (self.log, printed(self.log)))

    @property
    def pids(self) -> list[int]:
        """The server's process and all below it."""
        found = [self.process.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in children.read_text(encoding="ascii").split()]
        return found

    def memory_mb(self) -> float:
        """Returns the resident memory of the server and the processes below it, in MB; shared pages count for each."""
        return sum(_resident_kb(pid) for pid in self.pids) / 1024


def printed(log: Path) -> Path:
    """Returns the file with what a server prints on standard output, beside that of its log."""
    return log.with_name(f"{log.name}.out")


def _resident_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:  # it has ended meanwhile
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


@contextmanager
def serve(
    *arguments: str, log: Path | None = None, prefix: Sequence[str] = (), wait_for: str = "/_stcore/health", **env: str
) -> Iterator[Server]:
    """Runs a command of Streamlit on a free port of this machine until the block ends.

    Args:
        arguments: of Streamlit: ``"run", "app.py"``.
        log: where standard error goes, and beside it what is printed.
        prefix: a command that runs the server's, such as one that watches it.
        wait_for: the path that must answer before the block begins.
        env: variables beside those of this process.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"port": str(port), "headless": "true", "fileWatcherType": "none"}
    options = [word for name, value in settings.items() for word in (f"--server.{name}", value)]
    command = (*prefix, sys.executable, "-m", "streamlit", *arguments, *options)
    nowhere = Path(os.devnull)
    with (log or nowhere).open("ab") as errors, (printed(log) if log else nowhere).open("ab") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | env, stdout=out, stderr=errors if log else None)
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_for(server.address + wait_for)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
