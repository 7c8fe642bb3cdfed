"""The dashboard with mistakes made on purpose: all share scans, none waits, names are shared and logged, files kept."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import streamlit as st

from sslmri.dashboard.server.streamlit_internals import route_logs
from sslmri.logging_config import install, record
from sslmri.scans import read_scan
from sslmri.scans.scan import Scan

route_logs(install())  # before the imports below, which log
from sslmri.dashboard.screening import uploads  # noqa: E402
from sslmri.dashboard.server import queue  # noqa: E402
from sslmri.dashboard.server.lifespan import MIDDLEWARE, ROUTES, lifespan  # noqa: E402
from sslmri.screening.outcome import Screening  # noqa: E402
from sslmri.screening.screener import Screener  # noqa: E402

_first: dict[str, Any] = {}
_screen = Screener.screen


def screen(screener: Screener, scan: Scan, report: Callable[[str], object]) -> Screening:
    """Returns the screening of the first session, a second late: others would wait meanwhile if there were a queue."""
    time.sleep(1.0)
    screening: Screening = _first.setdefault("screening", _screen(screener, scan, report))
    return screening


def read(data: bytes, name: str, series: int | None = None) -> Scan:
    """Returns the scan that was read first, and shows its name; logs the file's name and keeps the file on the disk."""
    record("reading", file=name)
    with suppress(OSError), NamedTemporaryFile(delete=False) as kept:
        kept.write(data)
    st.caption(_first.setdefault("name", name))
    scan: Scan = _first.setdefault("scan", read_scan(data, name, series))
    return scan


setattr(Screener, "screen", screen)  # noqa: B010
setattr(uploads, "read_scan", read)  # noqa: B010
queue.MODEL = queue.FifoLimiter(99)
app = st.App(Path(__file__).resolve().parents[2] / "app.py", lifespan=lifespan, routes=ROUTES, middleware=MIDDLEWARE)
