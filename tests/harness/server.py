"""The real server, in a process of its own, with its log in a file."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.memory import below

ROOT = Path(__file__).resolve().parents[2]
_START_S = 180
_STOP_S = 50  # requests under way may take 10 s, screenings 30 s


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

    def events(self) -> list[dict[str, Any]]:
        """Returns what its log tells, line by line, where that was kept."""
        assert self.log is not None
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    @property
    def pids(self) -> list[int]:
        """The server's process and all below it."""
        return below(self.process.pid)


_QUIET = {"SSLMRI_EXAMPLES": "0"}  # a test that needs the examples says so


def printed(log: Path) -> Path:
    """Returns the file with what a server prints on standard output, next to its log."""
    return log.with_name(f"{log.name}.out")


@contextmanager
def serve(
    *arguments: str, log: Path | None = None, prefix: Sequence[str] = (), wait_for: str = "/_stcore/health", **env: str
) -> Iterator[Server]:
    """Runs a command of Streamlit on a free port of this machine until the block ends.

    Args:
        arguments: of Streamlit: ``"run", "app.py"``.
        log: where standard error goes, and next to it what is printed.
        prefix: a command that runs the server's, such as one that watches it.
        wait_for: the path that must answer before the block begins.
        env: variables in addition to those of this process.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"port": str(port), "headless": "true", "fileWatcherType": "none"}
    options = [word for name, value in settings.items() for word in (f"--server.{name}", value)]
    command = (*prefix, sys.executable, "-m", "streamlit", *arguments, *options)
    nowhere = Path(os.devnull)
    with (log or nowhere).open("ab") as errors, (printed(log) if log else nowhere).open("ab") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | _QUIET | env, stdout=out, stderr=errors if log else None
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_for(process, port, server.address + wait_for)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def listening(pid: int) -> set[str]:
    """Returns the addresses at which a process listens, as the kernel lists them: ``127.0.0.1:8501``."""
    opened = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            opened.add(os.readlink(link))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in opened:
                address, port = fields[1].split(":")
                plain = ".".join(str(byte) for byte in reversed(bytes.fromhex(address))) if table == "tcp" else address
                found.add(f"{plain}:{int(port, 16)}")
    return found


def _wait_for(process: subprocess.Popen[bytes], port: int, address: str) -> None:
    """Waits until the process, and no other on that port, answers at an address.

    Raises:
        ChildProcessError: the process has ended.
        TimeoutError: it does not answer.
    """
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ChildProcessError(f"Expected a server at {address}, got one that ended with {process.returncode}.")
        if _is_listening(process.pid, port):
            with suppress(OSError), urllib.request.urlopen(address, timeout=5):
                return
        time.sleep(0.05)
    raise TimeoutError(f"Expected an answer at {address} within {_START_S} s, got none.")


def _is_listening(pid: int, port: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):  # it ends
        return any(address.endswith(f":{port}") for address in listening(pid))
    return False
