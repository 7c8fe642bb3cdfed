"""How much memory uploads may take: Streamlit limits each file, not the total of a session or of all of them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sslmri.dashboard.server.streamlit_internals import uploaded_bytes
from sslmri.scans.limits import MAX_BYTES

MAX_SESSION_BYTES = 640 * 2**20  # more than a page can use
MAX_ALL_BYTES = 2 * 2**30
_MAX_DIGITS = 12  # of a plausible content length
_FULL = "At most {limit} MB of files fit {where}. Remove some, or try again in a minute."

_incoming: Counter[str] = Counter()  # bytes of uploads in progress, by session


@contextmanager
def reserve_upload(session: str, length: str | None) -> Iterator[str | None]:
    """Reserves memory for an upload in progress; yields None, or in one sentence why there is too little.

    Args:
        session: id of its session.
        length: its Content-Length; a missing or implausible one counts as the largest file allowed, and Streamlit
            refuses an upload that exceeds that.
    """
    size = min(int(length), MAX_BYTES) if length and length.isdecimal() and len(length) < _MAX_DIGITS else MAX_BYTES
    _incoming[session] += size
    try:
        yield _refusal(session)
    finally:
        _incoming[session] -= size
        if not _incoming[session]:
            del _incoming[session]


def _refusal(session: str) -> str | None:
    used = uploaded_bytes() + _incoming
    if used[session] > MAX_SESSION_BYTES:
        return _FULL.format(limit=MAX_SESSION_BYTES >> 20, where="in one session")
    if used.total() > MAX_ALL_BYTES:
        return _FULL.format(limit=MAX_ALL_BYTES >> 20, where="on this server")
    return None
