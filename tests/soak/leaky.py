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
from sslmri.dashboard.screening import state  # noqa: E402
from sslmri.dashboard.server import queue  # noqa: E402
from sslmri.dashboard.server.lifespan import MIDDLEWARE, ROUTES, lifespan  # noqa: E402

_first: dict[str, Any] = {}
_keep, _read_upload = state.keep, state.read_upload


def keep(shelf: str, key: str, limit: int, make: Callable[[], Any]) -> Any:
    """Returns what the first session that asked has made."""
    made = _keep(shelf, key, limit, make)
    return _first.setdefault(shelf, made) if shelf == "screenings" else made


def read_upload(upload: state.Upload) -> Scan:
    """Returns the scan that was read first; tells the file's name to the log and puts the file aside on the disk."""
    record("reading", file=upload.name)
    with suppress(OSError), NamedTemporaryFile(delete=False) as kept:
        kept.write(upload.data)
    scan: Scan = _first.setdefault("scan", _read_upload(upload))
    return scan


state.keep, state.read_upload = keep, read_upload
queue._MODEL = queue.FifoLimiter(99)
app = st.App(Path(__file__).resolve().parents[2] / "app.py", lifespan=lifespan, routes=ROUTES, middleware=MIDDLEWARE)
