"""Worker processes for reading and making pictures."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Returns a pool of fresh processes: a fork of one that has run torch may hang on the locks of its threads."""
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
