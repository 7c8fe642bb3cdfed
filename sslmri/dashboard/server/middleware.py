"""Middleware that checks every request before Streamlit sees it, and sets the response's security headers.

Streamlit checks host and origin of its websocket only, lets any page of this host open it, and asks a server on the
internet for this host's address before it refuses another one.
"""

from functools import partial

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sslmri.dashboard.server import signin, streamlit_internals
from sslmri.dashboard.server.streamlit_internals import MEDIA, METRICS, UPLOADS
from sslmri.dashboard.server.upload_quota import find_refusal

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
# nothing is fetched from, sent to or framed by another site; Streamlit's page has inline styles
_POLICY = (
    "default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


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
        answer = partial(_send_with_headers, send, path) if is_http else send
        reason, code = _refusal(headers, path), 403
        if reason is None and is_http and scope["method"] == "PUT" and path.startswith(UPLOADS):
            reason, code = find_refusal(path.removeprefix(UPLOADS).partition("/")[0]), 413
        if reason is None:
            await self._app(scope, receive, answer)
        elif is_http:
            await PlainTextResponse(reason, code)(scope, receive, answer)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})


async def _send_with_headers(send: Send, path: str, message: Message) -> None:
    if message["type"] == "http.response.start":
        headers = MutableHeaders(scope=message)
        headers.update(_HEADERS)
        headers["Content-Security-Policy"] = _POLICY.format(scripts=streamlit_internals.script_hashes())
        if path.startswith(MEDIA):
            headers["Cache-Control"] = "no-store"  # a patient's images stay off the browser's disk
    await send(message)


def _refusal(headers: Headers, path: str) -> str | None:
    host, origin = headers.get("host"), headers.get("origin")
    if not streamlit_internals.is_host_allowed(host):
        return "This host name is not in server.allowedHosts."
    if origin is not None and origin.partition("://")[2] != host:
        return "This request comes from another site."
    if path.startswith((MEDIA, UPLOADS, METRICS)) and signin.is_needed():
        user = streamlit_internals.signed_in_user(headers.get("cookie", ""))
        return None if signin.is_authorised(user) else "Sign in first."
    return None
