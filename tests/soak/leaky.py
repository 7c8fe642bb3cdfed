"""The dashboard with mistakes made on purpose: all share scans, none waits, names are logged, files kept."""

from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import streamlit as st

from sslmri.dashboard.server.streamlit_internals import route_logs
from sslmri.logging_config import install, record
from sslmri.scans.scan import Scan

route_logs(install())  # before the imports below, which log
from sslmri.dashboard.screening.uploads import FileUpload  # noqa: E402
from sslmri.dashboard.server import queue  # noqa: E402
from sslmri.dashboard.server.lifespan import MIDDLEWARE, ROUTES, lifespan  # noqa: E402
from sslmri.screening.outcome import Screening  # noqa: E402
from sslmri.screening.screener import Screener  # noqa: E402

_first: dict[str, Any] = {}
_screen, _read = Screener.screen, FileUpload.read


def screen(screener: Screener, scan: Scan) -> Screening:
    """Returns the screening of the first session."""
    screening: Screening = _first.setdefault("screening", _screen(screener, scan))
    return screening


def read(upload: FileUpload) -> Scan:
    """Returns the scan that was read first; tells the file's name to the log and puts the file aside on the disk."""
    record("reading", file=upload.name)
    with suppress(OSError), NamedTemporaryFile(delete=False) as kept:
        kept.write(upload.data)
    scan: Scan = _first.setdefault("scan", _read(upload))
    return scan


setattr(Screener, "screen", screen)  # noqa: B010
setattr(FileUpload, "read", read)  # noqa: B010
queue._MODEL = queue.FifoLimiter(99)
app = st.App(Path(__file__).resolve().parents[2] / "app.py", lifespan=lifespan, routes=ROUTES, middleware=MIDDLEWARE)
