"""The dashboard with two mistakes made on purpose: screenings are shared by all sessions, and names go into the log."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from sslmri.journal import record, take_over
from sslmri.scans.scan import Scan

take_over()  # before anything is imported that logs
from sslmri.dashboard import state  # noqa: E402
from sslmri.dashboard.server import MIDDLEWARE, ROUTES, lifespan  # noqa: E402

_first: dict[str, object] = {}
_read_upload = state.read_upload


def keep(shelf: str, key: str, limit: int, make: Callable[[], Any]) -> Any:
    """Returns what the first session that asked has made."""
    return _first.setdefault(shelf, make()) if shelf == "screenings" else make()


def read_upload(upload: state.Upload) -> Scan:
    """Returns a scan, and tells its name to everybody who reads the log."""
    record("reading", file=upload.name)
    return _read_upload(upload)


state.keep, state.read_upload = keep, read_upload
app = st.App(Path(__file__).resolve().parents[1] / "app.py", lifespan=lifespan, routes=ROUTES, middleware=MIDDLEWARE)
