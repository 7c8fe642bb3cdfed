"""What the allocator keeps of memory that was freed, given back to the machine."""

import ctypes

_LIBC = ctypes.CDLL(None)


def give_back() -> None:
    """Gives the machine back what was freed: glibc keeps it for later, in an arena for each thread."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)
