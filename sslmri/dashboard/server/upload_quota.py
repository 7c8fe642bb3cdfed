"""How much memory uploads may take: Streamlit limits each file, not the total of a session or of all of them."""

from sslmri.dashboard.server.streamlit_internals import uploaded_bytes

MAX_SESSION_BYTES = 640 * 2**20  # more than a page can use
MAX_ALL_BYTES = 2 * 2**30
_FULL = "At most {limit} MB of files fit {where}. Remove some, or try again in a minute."


def find_refusal(session: str) -> str | None:
    """Returns in one sentence why a session may upload no more, None where it may; files in transfer do not count."""
    used = uploaded_bytes()
    if used[session] >= MAX_SESSION_BYTES:
        return _FULL.format(limit=MAX_SESSION_BYTES >> 20, where="in one session")
    if used.total() >= MAX_ALL_BYTES:
        return _FULL.format(limit=MAX_ALL_BYTES >> 20, where="on this server")
    return None
