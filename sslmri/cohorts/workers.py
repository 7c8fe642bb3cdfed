"""Worker processes that read and make images.

``joblib.Parallel(return_as="generator")`` does not do: it goes on with further tasks while the caller has not taken the
results of earlier ones, so memory grows where the encoder is slower than the reader, and its workers answer through one
pipe, so that the caller waits for ever for the rest of an answer amid which a worker was killed.
"""

import os
import pickle
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from sslmri.errors import WorkerError
from sslmri.processes import MessagePipe, start_process

AHEAD = 2  # tasks per worker that are started before the caller takes the first result
_NICE = 10  # the caller's threads wait for each other at every layer: a worker in the way of one holds up all

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_order(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Generator[Result, None, None]:
    """Yields ``function(task)`` for each task, in order, computed by worker processes ahead of the caller.

    At most ``AHEAD`` tasks per worker are started and not yet taken, however many there are. A worker imports the
    module of the function and nothing else, not the caller's main module. One worker is the calling process itself.
    Close the iterator to stop the workers early.

    Raises:
        WorkerError: a worker was killed.
        Exception: whatever the function raises.
    """
    if workers == 1:
        yield from map(function, tasks)
        return
    started: list[_Worker] = []
    idle: SimpleQueue[_Worker] = SimpleQueue()
    threads = ThreadPoolExecutor(workers)
    pending: deque[Future[Result]] = deque()
    try:
        for _ in range(workers):
            started.append(_Worker())
            idle.put(started[-1])
        for task in tasks:
            pending.append(threads.submit(_call, idle, function, task))
            if len(pending) == AHEAD * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for worker in started:
            worker.kill()  # a thread that waits for it wakes up
        threads.shutdown(cancel_futures=True)


def serve(pipe: MessagePipe) -> None:
    """Answers, in a worker process, the calls that come through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller is interrupted too, and stops its workers
    if hasattr(os, "nice"):
        os.nice(_NICE)
    with suppress(EOFError, ConnectionError):
        while True:
            function, task = pickle.loads(pipe.receive())
            pipe.send(pickle.dumps(_outcome(function, task)))


class _Worker:
    """A process with a pipe of its own: once it is killed, also amid an answer, reading from the pipe ends."""

    def __init__(self) -> None:
        self._process, self._pipe = start_process(__name__, "serve", os.environ)

    def call(self, function: Callable[[Task], Result], task: Task) -> Result:
        """Returns the result that the process sends back."""
        try:
            self._pipe.send(pickle.dumps((function, task)))
            result, error = pickle.loads(self._pipe.receive())
        except (EOFError, OSError) as stopped:
            raise WorkerError(
                "Expected worker processes that finish, got one that was killed, most often for lack of memory: "
                "close other programs and start again."
            ) from stopped
        if error is not None:
            raise error
        return result

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _call(idle: "SimpleQueue[_Worker]", function: Callable[[Task], Result], task: Task) -> Result:
    """Returns the function's result from the next idle worker: there are as many as threads that come here."""
    worker = idle.get()
    try:
        return worker.call(function, task)
    finally:
        idle.put(worker)


def _outcome(function: Callable[[Any], Any], task: Any) -> tuple[Any, Exception | None]:
    try:
        return function(task), None
    except Exception as error:
        return None, error
