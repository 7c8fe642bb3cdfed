"""Freed memory that the allocator keeps, returned to the operating system; on systems without glibc nothing is done."""

import ctypes
import sys
from typing import Any

_LIBC: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
_M_MMAP_THRESHOLD = -3  # malloc.h of glibc
_OWN_PAGES_BYTES = 16 * 2**20


def set_mmap_threshold() -> None:
    """Gives blocks of over 16 MB their own pages, which are returned to the system as soon as they are freed.

    By default glibc soon keeps blocks of up to 32 MB in heaps of 64 MB, of which two or three fill one: a forward pass
    then takes half as much again as it holds. Own pages for smaller blocks too would cost time.
    """
    if hasattr(_LIBC, "mallopt"):
        _LIBC.mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES_BYTES)


def release_freed_memory() -> None:
    """Returns freed memory to the system: glibc keeps it for later, in an arena for each thread."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)
