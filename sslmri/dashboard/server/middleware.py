"""Middleware that checks every request before Streamlit sees it, and sets the response's security headers.

Streamlit checks host and origin of its websocket only, lets any page of this host open it, and asks a server on the
internet for this host's address before it refuses another one.
"""

import re
from functools import partial
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sslmri.dashboard.server import signin, streamlit_internals
from sslmri.dashboard.server.streamlit_internals import AGENT, MEDIA, METRICS, UPLOADS
from sslmri.dashboard.server.upload_quota import reserve_upload

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
# nothing is fetched from, sent to or framed by another site; Streamlit's page has inline styles
_POLICY = (
    "default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'{streams}; media-src 'self' blob:; worker-src 'self' blob:; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HOST = re.compile(r"[\w.:\[\]-]+", re.ASCII)


class RequestFilter:
    """ASGI middleware: refuses requests of other hosts and sites, of users without sign-in, and uploads over quota."""

    def __init__(self, app: ASGIApp) -> None:
        """Takes the application to protect."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses a request or passes it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), streamlit_internals.route_path(str(scope["path"]))
        is_http = scope["type"] == "http"
        answer = partial(_send_with_headers, send, path, headers.get("host", "")) if is_http else send
        reason = _refusal(headers, path)
        if reason is not None and is_http:
            await PlainTextResponse(reason, 403)(scope, receive, answer)
        elif reason is not None:
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif is_http and scope["method"] == "PUT" and path.startswith(UPLOADS):
            session = path.removeprefix(UPLOADS).partition("/")[0]
            with reserve_upload(session, headers.get("content-length")) as full:
                await (self._app if full is None else PlainTextResponse(full, 413))(scope, receive, answer)
        else:
            await self._app(scope, receive, answer)


def content_security_policy(host: str) -> str:
    """Returns the policy of a page at a host; not every browser lets 'self' cover the websocket too."""
    streams = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return _POLICY.format(scripts=streamlit_internals.script_hashes(), streams=streams)


async def _send_with_headers(send: Send, path: str, host: str, message: Message) -> None:
    if message["type"] == "http.response.start":
        headers = MutableHeaders(scope=message)
        headers.update(_HEADERS)
        headers["Content-Security-Policy"] = content_security_policy(host)
        if path.startswith(MEDIA):
            headers["Cache-Control"] = "no-store"  # a patient's images stay off the browser's disk
    await send(message)


def _is_same_host(origin: str, host: str | None) -> bool:
    try:
        return urlsplit(origin).netloc == host
    except ValueError:  # not a URL
        return False


def _refusal(headers: Headers, path: str) -> str | None:
    host, origin = headers.get("host"), headers.get("origin")
    if not streamlit_internals.is_host_allowed(host):
        return "This host name is not in server.allowedHosts."
    if origin is not None and not _is_same_host(origin, host):
        return "This request comes from another site."
    if path.startswith(AGENT):
        return "This address is not part of the dashboard."
    if path.startswith((MEDIA, UPLOADS, METRICS)) and signin.is_needed():
        user = streamlit_internals.signed_in_user(headers.get("cookie", ""))
        return None if signin.is_authorised(user) else "Sign in first."
    return None
