"""The dashboard with mistakes made on purpose: all share scans, none waits, names are logged, files kept."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import streamlit as st

from sslmri.logging_config import install, record
from sslmri.scans.scan import Scan

install()  # before anything is imported that logs
from sslmri.dashboard import session_cache  # noqa: E402
from sslmri.dashboard.screening import state  # noqa: E402
from sslmri.dashboard.screening.uploads import FileUpload  # noqa: E402
from sslmri.dashboard.server import queue  # noqa: E402
from sslmri.dashboard.server.lifespan import MIDDLEWARE, ROUTES, lifespan  # noqa: E402

_first: dict[str, Any] = {}
_keep, _read = session_cache.keep, FileUpload.read


def keep(cache: str, key: str, limit: int, make: Callable[[], Any]) -> Any:
    """Returns what the first session that asked has made."""
    made = _keep(cache, key, limit, make)
    return _first.setdefault(cache, made) if cache == "screenings" else made


def read(upload: FileUpload) -> Scan:
    """Returns the scan that was read first; tells the file's name to the log and puts the file aside on the disk."""
    record("reading", file=upload.name)
    with suppress(OSError), NamedTemporaryFile(delete=False) as kept:
        kept.write(upload.data)
    scan: Scan = _first.setdefault("scan", _read(upload))
    return scan


setattr(state, "keep", keep)  # noqa: B010, as a name that the module imports
setattr(FileUpload, "read", read)  # noqa: B010
queue._MODEL = queue.FifoLimiter(99)
app = st.App(Path(__file__).resolve().parents[2] / "app.py", lifespan=lifespan, routes=ROUTES, middleware=MIDDLEWARE)
