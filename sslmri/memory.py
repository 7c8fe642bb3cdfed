"""What the allocator keeps of memory that was freed, and how it is given back to the machine."""

import ctypes

_LIBC = ctypes.CDLL(None)
_M_MMAP_THRESHOLD = -3  # as glibc's malloc.h has it
_OWN_PAGES_BYTES = 16 * 2**20


def set_mmap_threshold() -> None:
    """Lets what is larger than 16 MB have pages of its own, which go back to the machine the moment it is freed.

    Left alone, glibc soon keeps blocks of up to 32 MB in heaps of 64 MB, of which two or three fill one: a pass of the
    model then takes half as much again as it holds. Pages for smaller blocks too would cost it time.
    """
    if hasattr(_LIBC, "mallopt"):
        _LIBC.mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES_BYTES)


def release_freed_memory() -> None:
    """Gives the machine back what was freed: glibc keeps it for later, in an arena for each thread."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)
