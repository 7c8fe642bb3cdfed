"""What stands before Streamlit's own server: whom it answers, what it takes in, and headers that bind a browser to it.

Streamlit checks the host and the origin of its websocket only, lets any page of this machine open it, and asks a server
on the internet for this machine's address before it refuses another one. Here every request is judged first.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config, file_util
from streamlit.auth_util import get_cookie_with_chunks
from streamlit.web.server.server_util import AUTH_COOKIE_NAME, get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

from sslmri.dashboard.server import signin
from sslmri.dashboard.server.upload_quota import reserve_upload

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
# nothing may be fetched from, sent to or framed by another site; Streamlit's page styles itself inline
_POLICY = (
    "default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'{streams}; media-src 'self' blob:; worker-src 'self' blob:; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HOST = re.compile(r"[\w.:\[\]-]+", re.ASCII)
_PICTURES = "/media/"
_CLOSED = "/_stcore/agent/"  # an interface for programs, off and described all the same
_UPLOADS = "/_stcore/upload_file/"
_SIGNED_IN_ONLY = (_PICTURES, _UPLOADS, "/_stcore/metrics")


class RequestFilter:
    """Middleware that refuses what does not come from a page of this server, and from whom it must not come."""

    def __init__(self, app: ASGIApp) -> None:
        """Takes what it stands before."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or hands it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        path = _path_of(scope)
        answer = partial(_send_with_headers, send, path, headers.get("host", ""))
        reason = _refusal(headers, path)
        if reason is not None:
            await _refuse(reason, scope, receive, answer if scope["type"] == "http" else send)
        elif scope["type"] == "http" and scope["method"] == "PUT" and path.startswith(_UPLOADS):
            session = path.removeprefix(_UPLOADS).partition("/")[0]
            with reserve_upload(session, headers.get("content-length")) as full:
                await (self._app if full is None else PlainTextResponse(full, 413))(scope, receive, answer)
        else:
            await self._app(scope, receive, answer if scope["type"] == "http" else send)


async def _refuse(reason: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await PlainTextResponse(reason, 403)(scope, receive, send)
    else:
        await receive()
        await send({"type": "websocket.close", "code": 1008})


@cache
def _scripts() -> str:
    """Returns the hashes by which a policy names the inline scripts of Streamlit's page."""
    page = Path(file_util.get_static_dir(), "index.html").read_text(encoding="utf-8")
    digests = [hashlib.sha256(script.encode()).digest() for script in re.findall(r"<script>(.*?)</script>", page, re.S)]
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def _policy(host: str) -> str:
    """Returns the content security policy of a page; not every browser takes 'self' for its websocket too."""
    streams = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return _POLICY.format(scripts=_scripts(), streams=streams)


async def _send_with_headers(send: Send, path: str, host: str, message: Message) -> None:
    if message["type"] == "http.response.start":
        headers = MutableHeaders(scope=message)
        headers.update(_HEADERS)
        headers["Content-Security-Policy"] = _policy(host)
        if path.startswith(_PICTURES):
            headers["Cache-Control"] = "no-store"  # a patient's pixels stay off the browser's disk
    await send(message)


def _path_of(scope: Scope) -> str:
    """Returns the path that is asked for, without that below which all pages may have been put."""
    base = str(config.get_option("server.baseUrlPath")).strip("/")
    return str(scope["path"]).removeprefix(f"/{base}") if base else str(scope["path"])


def _is_of(origin: str, host: str | None) -> bool:
    try:
        return urlsplit(origin).netloc == host
    except ValueError:  # no address at all
        return False


def _refusal(headers: Headers, path: str) -> str | None:
    host, origin = headers.get("host"), headers.get("origin")
    if not is_host_allowed(host):
        return "Expected a host of server.allowedHosts."
    if origin is not None and not _is_of(origin, host):
        return "Expected a request of a page of this server."
    if path.startswith(_CLOSED):
        return "Expected a page of this server."
    if path.startswith(_SIGNED_IN_ONLY) and signin.is_needed() and not signin.may_enter(_person(headers)):
        return "Expected somebody who has signed in."
    return None


def _person(headers: Headers) -> Mapping[str, Any]:
    """Returns what the provider said of the visitor, from a cookie that this server signed; empty without one."""
    cookies = cookie_parser(headers.get("cookie", ""))

    def signed(name: str) -> bytes | None:
        return decode_signed_value(get_cookie_secret(), name, cookies.get(name, ""))

    found = get_cookie_with_chunks(signed, AUTH_COOKIE_NAME)
    content = json.loads(found) if found else {}
    return content if isinstance(content, dict) else {}
