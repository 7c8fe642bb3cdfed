"""The server's life: it loads the model at the start, answers /health, and frees what ended sessions held."""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from sslmri.dashboard.layout import open_model
from sslmri.dashboard.screening import examples
from sslmri.dashboard.screening.shared_model import is_loaded, is_refused, share_screener
from sslmri.dashboard.server import queue, streamlit_internals
from sslmri.dashboard.server.middleware import RequestFilter
from sslmri.errors import ModelError
from sslmri.logging_config import record
from sslmri.memory import release_freed_memory, set_mmap_threshold
from sslmri.scans.limits import MAX_BYTES
from sslmri.scans.sandbox import unlimited_resources


def health(_request: object) -> JSONResponse:
    """Returns which model is loaded, with code 200; 503 until it is, and where there is none that can be trusted."""
    try:
        card = open_model()
    except ModelError:
        return JSONResponse({"status": "no model"}, 503)
    model = {"name": card.name, "sha256": card.sha256}
    if is_loaded(card):
        return JSONResponse({"status": "ok", "model": model})
    return JSONResponse({"status": "no model"} if is_refused(card) else {"status": "loading", "model": model}, 503)


ROUTES = [Route("/health", health)]
MIDDLEWARE = [Middleware(RequestFilter)]
EXAMPLES = "SSLMRI_EXAMPLES"  # 0: the simulated patients are screened when one is opened, not when the server starts
_HOUSEKEEPING_INTERVAL_S = 20
_FINISH_SCREENINGS_S = 30  # at a stop; service managers kill the process after a minute
_LOGGER = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[dict[str, object]]:
    """Loads the model in the background while pages answer; at a stop lets screenings in progress end."""
    record("start", python=sys.version.split()[0], streamlit=st.__version__, unlimited=unlimited_resources())
    streamlit_internals.keep_uploads_in_memory(2 * MAX_BYTES)
    set_mmap_threshold()
    housekeeping = asyncio.create_task(_keep_up())
    try:
        yield {}
    finally:
        housekeeping.cancel()
        examples.stopping.set()
        await asyncio.to_thread(queue.MODEL.wait_until_empty, _FINISH_SCREENINGS_S)  # so that each is logged
        record("stop")


async def _keep_up() -> None:
    """Every 20 s loads the model, or another that replaced it, and frees ended sessions; logs a model once."""
    logged = None
    while True:
        line = await asyncio.to_thread(_load)
        if line and line != logged:
            record(line[0], **line[1])
            logged = line
            asyncio.get_running_loop().run_in_executor(None, _screen_examples)
        await asyncio.sleep(_HOUSEKEEPING_INTERVAL_S)
        try:
            if streamlit_internals.close_expired_sessions():
                gc.collect()  # a session and its script refer to each other
                release_freed_memory()
        except Exception:  # tried again next time
            _LOGGER.exception("ended sessions were not freed")


def _screen_examples() -> None:
    """Makes and screens the simulated patients, unless ``SSLMRI_EXAMPLES`` is 0 or there is no model."""
    if os.environ.get(EXAMPLES) == "0":
        return
    try:
        card = open_model()
        if is_loaded(card):
            examples.screen_examples(share_screener(card))
    except Exception:  # a page screens them when they are opened
        _LOGGER.exception("the simulated patients were not screened")


def show_failure(_error: Exception) -> bool:
    """Draws one sentence in place of a traceback; the log says where it was, without the error's message."""
    st.error("This page stopped because of a fault in the program, not in your scan. Load the page again.")
    return True


def _load() -> tuple[str, dict[str, str]] | None:
    """Loads the model to show unless it is loaded; returns what to log of it, None where it was refused before."""
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
