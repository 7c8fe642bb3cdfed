"""Python processes that exchange messages with the process that started them, on every operating system."""

import os
import subprocess
import sys
from collections.abc import Mapping
from io import BufferedReader, FileIO
from typing import Any

import numpy as np

_LENGTH_BYTES = 8
_NEEDED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")  # variables without which some Pythons do not start


class MessagePipe:
    """Messages of bytes, each preceded by its length; an unbuffered file to read from and one to write to."""

    def __init__(self, reader: Any, writer: Any) -> None:
        self._reader, self._writer = BufferedReader(reader), writer

    def send(self, message: Any) -> None:
        """Sends a message: bytes, or anything with a contiguous buffer of them."""
        view = memoryview(message).cast("B")
        for part in (memoryview(len(view).to_bytes(_LENGTH_BYTES, "big")), view):
            while part:
                part = part[self._writer.write(part) :]

    def receive(self, max_bytes: int | None = None) -> bytes:
        """Returns the next message.

        Raises:
            EOFError: the other process has ended.
            ValueError: the message is longer than ``max_bytes``.
        """
        length = self._receive_length()
        if max_bytes is not None and length > max_bytes:
            raise ValueError(f"Expected a message of at most {max_bytes} bytes, got {length}.")
        message = self._reader.read(length)
        if len(message) < length:
            raise EOFError
        return message

    def send_array(self, array: np.ndarray) -> None:
        """Sends an array (D, H, W) plane by plane, of which it may copy one."""
        for plane in array:
            self.send(np.ascontiguousarray(plane))

    def receive_array(self, shape: tuple[int, ...]) -> np.ndarray:
        """Returns the float32 array (D, H, W) that was sent.

        Raises:
            EOFError: the other process has ended.
            ValueError: it has another size.
        """
        array = np.empty(shape, np.float32)
        for plane in array:
            if (length := self._receive_length()) != plane.nbytes:
                raise ValueError(f"Expected a message of {plane.nbytes} bytes, got {length}.")
            if self._reader.readinto(plane.data.cast("B")) < length:
                raise EOFError
        return array

    def close(self) -> None:
        """Closes both ends."""
        self._reader.close()
        self._writer.close()

    def _receive_length(self) -> int:
        header = self._reader.read(_LENGTH_BYTES)
        if len(header) < _LENGTH_BYTES:
            raise EOFError
        return int.from_bytes(header, "big")


def start_process(
    module: str, function: str, environment: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], MessagePipe]:
    """Returns a fresh Python process that calls ``function(pipe)`` of a module, and this end of its pipe.

    The process imports that module and nothing else, not the caller's main module. The pipe is its standard input and
    output, which every operating system passes on; what the process prints is dropped, for decoders quote tags, and
    tags identify patients. Once it is killed, reading from the pipe raises EOFError, even in the middle of a message.
    The environment has all its variables but the module search path and what Python itself needs.
    """
    code = (
        f"from sslmri.processes import pipe_to_parent; pipe = pipe_to_parent(); "
        f"from {module} import {function}; {function}(pipe)"
    )
    needed = {name: os.environ[name] for name in _NEEDED if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**needed, **environment, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
    )
    return process, MessagePipe(process.stdout, process.stdin)


def pipe_to_parent() -> MessagePipe:
    """Returns the pipe to the process that started this one, and frees standard input and output for other uses."""
    pipe = MessagePipe(FileIO(os.dup(0)), FileIO(os.dup(1), "wb"))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return pipe
