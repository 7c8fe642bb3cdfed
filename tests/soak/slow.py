"""The dashboard with a model that takes a second longer for each scan, so that uploads at once have to queue."""

import time
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from sslmri.dashboard.server.streamlit_internals import route_logs
from sslmri.logging_config import install
from sslmri.scans.scan import Scan

route_logs(install())  # before the imports below, which log
from sslmri.dashboard.server.lifespan import MIDDLEWARE, ROUTES, lifespan  # noqa: E402
from sslmri.screening.outcome import Screening  # noqa: E402
from sslmri.screening.screener import Screener  # noqa: E402

_screen = Screener.screen


def screen(screener: Screener, scan: Scan, report: Callable[[str], object]) -> Screening:
    """Returns the screening of a scan, a second late."""
    time.sleep(1.0)
    return _screen(screener, scan, report)


setattr(Screener, "screen", screen)  # noqa: B010
app = st.App(Path(__file__).resolve().parents[2] / "app.py", lifespan=lifespan, routes=ROUTES, middleware=MIDDLEWARE)
