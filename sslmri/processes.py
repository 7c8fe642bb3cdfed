"""Processes of our own, each with a pipe to the process that started it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection, Pipe


def start_with_pipe(
    module: str, function: str, environment: Mapping[str, str], discard_output: bool = False
) -> tuple[subprocess.Popen[bytes], Connection]:
    """Returns a fresh Python process that calls ``function(handle)`` of a module, and this end of its pipe.

    It imports that module and nothing else, not the caller's main module. The pipe is its own: once it is killed,
    amid an answer too, reading from the pipe ends.

    Args:
        module: where the function is.
        function: called with the handle of the other end; the process ends when it returns.
        environment: all its variables but the path of modules.
        is_mute: whether what it prints is dropped.
    """
    pipe, theirs = Pipe()
    with theirs:
        handle = theirs.fileno()
        code = f"import sys; from {module} import {function}; {function}(int(sys.argv[1]))"
        path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, str(handle)],
            pass_fds=[handle],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if discard_output else None,
            stderr=subprocess.DEVNULL if discard_output else None,
            env={**environment, "PYTHONPATH": path},
        )
    return process, pipe
