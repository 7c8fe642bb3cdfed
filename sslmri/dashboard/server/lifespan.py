"""What the server does beside drawing pages: it loads the model when it starts, says which, and logs its own life."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import streamlit as st
import uvicorn
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from streamlit import runtime

from sslmri.dashboard.layout import open_model
from sslmri.dashboard.screening.state import is_loaded, is_refused, share_screener
from sslmri.dashboard.server.middleware import RequestFilter
from sslmri.dashboard.server.queue import wait_until_idle
from sslmri.errors import ModelError
from sslmri.logging_config import record
from sslmri.memory import release_freed_memory, set_mmap_threshold
from sslmri.scans.reading import MAX_BYTES
from sslmri.scans.sandbox import unlimited_resources


def health(_request: object) -> JSONResponse:
    """Returns which model is loaded, with code 200; 503 until it is, and where there is none that can be trusted."""
    try:
        card = open_model()
    except ModelError:
        return JSONResponse({"status": "no model"}, 503)
    about = {"name": card.name, "sha256": card.sha256}
    if not is_loaded(card):
        answer = {"status": "no model"} if is_refused(card) else {"status": "loading", "model": about}
        return JSONResponse(answer, 503)
    return JSONResponse({"status": "ok", "model": about})


ROUTES = [Route("/health", health)]
MIDDLEWARE = [Middleware(RequestFilter)]
_SWEEP_EVERY_S = 20
_FINISH_REQUESTS_S, _FINISH_SCREENINGS_S = 10, 30  # when the server stops; others kill it after a minute
_LOGGER = logging.getLogger(__name__)
MultiPartParser.spool_max_size = 2 * MAX_BYTES  # above its size an upload is written to a temporary file


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[dict[str, Any]]:
    """Loads the model beside the server, so that pages answer meanwhile; what was begun ends before it stops."""
    record("start", python=sys.version.split()[0], streamlit=st.__version__, unlimited=unlimited_resources())
    _bound_requests()
    set_mmap_threshold()
    keeping = asyncio.create_task(_keep_house())
    try:
        yield {}
    finally:
        keeping.cancel()
        await asyncio.to_thread(wait_until_idle, _FINISH_SCREENINGS_S)
        record("stop")


def _bound_requests() -> None:
    """Lets requests that are under way, such as an upload that stalls, hold up a stop for a while only.

    Streamlit has no option for it; its uvicorn is whom SIGTERM is handed to.
    """
    served = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(served, uvicorn.Server):
        served.config.timeout_graceful_shutdown = _FINISH_REQUESTS_S


async def _keep_house() -> None:
    """Loads the model, and another that is put in its place; frees what belonged to sessions that ended.

    Streamlit alone would wait for the next visitor to do either. The log is told of the model when that has changed.
    """
    told = None
    while True:
        found = await asyncio.to_thread(_load)
        if found and found != told:
            record(found[0], **found[1])
            told = found
        await asyncio.sleep(_SWEEP_EVERY_S)
        try:
            _forget_ended()
        except Exception:  # the next sweep tries again
            _LOGGER.exception("sessions that ended were not forgotten")


def _forget_ended() -> None:
    sessions: Any = runtime.get_instance()._session_mgr
    kept = sessions._session_storage._cache
    ended = [found.session for key, found in list(kept._data.items()) if key not in kept]
    for session in ended:
        session.shutdown()  # gives up its files at once, whoever still holds it
    if ended:
        kept.expire()
        del ended, session
        gc.collect()  # a session and its script hold each other
        release_freed_memory()


def say_failed(_error: Exception) -> bool:
    """Draws one sentence in place of a traceback, which goes into the log without its words."""
    st.error("This page stopped on a fault of the program, not of your scan: load it again. The log says where it was.")
    return True


def _load() -> tuple[str, dict[str, str]] | None:
    """Loads the model that is to be shown, unless it is there; returns what to log of it, None where it was refused."""
    try:
        card = open_model()
        if is_refused(card):
            return None
        share_screener(card)
    except ModelError as error:
        return "no model", {"reason": str(error)}
    except Exception:  # the next try may have the memory for it
        _LOGGER.exception("the model was not loaded")
        return None
    return "model loaded", {"name": card.name, "model_sha256": card.sha256}
