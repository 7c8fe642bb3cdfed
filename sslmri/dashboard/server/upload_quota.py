"""How much memory uploads may take: Streamlit bounds each file, not how many a session or all of them hold."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from streamlit import runtime

from sslmri.scans.reading import MAX_BYTES

MAX_SESSION_BYTES = 640 * 2**20  # more than a page makes use of
MAX_ALL_BYTES = 2 * 2**30
_DIGITS = 12  # of a length that is no nonsense
_FULL = "Expected at most {limit} MB of files {whose}, got more: remove some, or try again in a minute."

_coming: Counter[str] = Counter()  # bytes of uploads that are under way, by session


@contextmanager
def reserve_upload(session: str, length: str | None) -> Iterator[str | None]:
    """Keeps room for an upload while it comes; yields None, or in one sentence why there is none.

    Args:
        session: id of the session that it is for.
        length: its size in bytes as the request says it; where it says none, or more than a file may have, it counts
            as that much, and is refused by Streamlit if it comes to more.
    """
    size = min(int(length), MAX_BYTES) if length and length.isdecimal() and len(length) < _DIGITS else MAX_BYTES
    _coming[session] += size
    try:
        yield _refusal(session)
    finally:
        _coming[session] -= size
        if not _coming[session]:
            del _coming[session]


def _refusal(session: str) -> str | None:
    held = _held()
    own, every = held[session] + _coming[session], held.total() + _coming.total()
    if own > MAX_SESSION_BYTES:
        return _FULL.format(limit=MAX_SESSION_BYTES >> 20, whose="in one session")
    if every > MAX_ALL_BYTES:
        return _FULL.format(limit=MAX_ALL_BYTES >> 20, whose="in all sessions")
    return None


def _held() -> Counter[str]:
    """Returns the bytes of the files that the server holds, by session."""
    manager: Any = runtime.get_instance().uploaded_file_mgr
    stored = list(manager.file_storage.items())
    return Counter({session: sum(len(file.data) for file in list(files.values())) for session, files in stored})
