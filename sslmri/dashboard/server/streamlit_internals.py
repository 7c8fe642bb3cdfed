"""Everything that uses parts of Streamlit or Starlette without a public interface.

Another version of Streamlit may have moved any of them, so this module refuses to be imported with one.
"""

import base64
import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import streamlit as st
from starlette.formparsers import MultiPartParser
from starlette.requests import cookie_parser

SUPPORTED = "1.67"
if not st.__version__.startswith(f"{SUPPORTED}."):
    raise ImportError(
        f'The dashboard needs Streamlit {SUPPORTED}, not {st.__version__}: run pip install "streamlit=={SUPPORTED}.*".'
    )

from streamlit import config, file_util, runtime
from streamlit import logger as streamlit_logger
from streamlit.auth_util import get_cookie_with_chunks
from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest
from streamlit.web.server.server_util import AUTH_COOKIE_NAME, get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

__all__ = ["is_host_allowed"]

MEDIA, UPLOADS, METRICS = "/media/", "/_stcore/upload_file/", "/_stcore/metrics"
_registering = Lock()


def route_path(path: str) -> str:
    """Returns a request's path without ``server.baseUrlPath``."""
    base = str(config.get_option("server.baseUrlPath")).strip("/")
    return path.removeprefix(f"/{base}") if base else path


def signed_in_user(cookie_header: str) -> Mapping[str, object]:
    """Returns what the sign-in provider reported of a user, from a cookie signed by this server; empty without one."""
    cookies = cookie_parser(cookie_header)

    def read(name: str) -> bytes | None:
        return decode_signed_value(get_cookie_secret(), name, cookies.get(name, ""))

    value = get_cookie_with_chunks(read, AUTH_COOKIE_NAME)
    content = json.loads(value) if value else {}
    return content if isinstance(content, dict) else {}


def secrets_files() -> list[str]:
    """Returns the paths where Streamlit looks for secrets."""
    return [str(name) for name in config.get_option("secrets.files")]


def are_secrets_required() -> bool:
    """Returns whether whoever started the server named a file of secrets."""
    return config.is_manually_set("secrets.files")


@cache
def script_hashes() -> str:
    """Returns the hashes by which a content security policy allows the inline scripts of Streamlit's page."""
    page = Path(file_util.get_static_dir(), "index.html").read_text(encoding="utf-8")
    digests = [hashlib.sha256(script.encode()).digest() for script in re.findall(r"<script>(.*?)</script>", page, re.S)]
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def uploaded_bytes() -> Counter[str]:
    """Returns the bytes of uploaded files that the server holds, by session."""
    manager: Any = runtime.get_instance().uploaded_file_mgr
    stored = list(manager.file_storage.items())
    return Counter({session: sum(len(file.data) for file in list(files.values())) for session, files in stored})


def keep_uploads_in_memory(max_bytes: int) -> None:
    """Keeps uploads up to that size off the disk: above it a request's file would go to a temporary file."""
    MultiPartParser.spool_max_size = max_bytes


def close_expired_sessions() -> bool:
    """Closes sessions that were not resumed in time and returns whether there were any.

    Streamlit alone would keep their scans until the next visitor comes.
    """
    manager: Any = runtime.get_instance()
    sessions = manager._session_mgr._session_storage._cache
    expired = [info.session for key, info in list(sessions._data.items()) if key not in sessions]
    for session in expired:
        session.shutdown()
    if expired:
        sessions.expire()
    return bool(expired)


def component(name: str, folder: Path) -> Any:
    """Returns what draws a component, whose page, style and script lie in a folder under its name.

    Streamlit takes the folder of a component from the metadata of an installed package only, and runs a script that is
    given as text from a blob, which the content security policy forbids.
    """
    registry: Any = runtime.get_instance().bidi_component_registry
    full_name = f"sslmri.{name}"
    with _registering:
        if registry.get_component_asset_root(full_name) is None:
            manifest = ComponentManifest("sslmri", "", [ComponentConfig(name, folder.name)])
            registry.register_from_manifest(manifest, folder.parent)
    return _component(full_name, folder / name)


@cache
def _component(full_name: str, path: Path) -> Any:
    html, css = (path.with_suffix(suffix).read_text(encoding="utf-8") for suffix in (".html", ".css"))
    return st.components.v2.component(full_name, html=html, css=css, js=f"{path.name}.js")


def route_logs(handler: logging.Handler) -> None:
    """Sends the lines of Streamlit's and uvicorn's loggers, of present and later ones, to a handler."""

    def configure(logger: logging.Logger) -> None:
        logger.handlers = [handler]
        if logger.name.startswith("uvicorn"):  # client addresses; a proxy logs them where that is wanted
            logger.addFilter(lambda record: record.levelno >= logging.WARNING)

    streamlit_logger.setup_formatter = configure  # Streamlit calls it for each logger it makes
    streamlit_logger.update_formatter()
