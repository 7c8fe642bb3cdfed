"""Forbidden requests against the real server: none is answered with more than a refusal."""

import json
import random
import secrets
from collections.abc import Sequence
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg

from tests.harness.server import ROOT, Server, serve
from tests.harness.sessions import Request, Visit, ask, visit
from tests.soak.result import Row, row

MAX_UPLOAD_MB = 136
_REFUSED = frozenset({400, 403, 404, 405, 413})
_BOUNDARY = "scan"


def send_forbidden_requests(app: str = "app.py", **env: str) -> Row:
    """Returns how many forbidden requests the server did not refuse, or answered with words from inside it."""
    with (
        serve("run", app, log=None, prefix=(), wait_for="/_stcore/health", **env) as server,
        visit(server.address) as (seen, _),
    ):
        requests = forbidden(seen)
        faults = [fault for request in requests if (fault := _fault(seen, request))]
        faults += _broken_frames(server, seen)
        if ask(server.address, Request("health", "/_stcore/health")).status != 200:
            faults.append("the server no longer answers")
    return row("forbidden requests refused", len(requests) + len(_FRAMES), faults)


def forbidden(seen: Visit) -> list[Request]:
    """Returns one request of each forbidden kind."""
    host = urlsplit(seen.address).netloc
    return [*_foreign_hosts(host), *_foreign_origins(), *_uploads(seen), *_paths(), *_interfaces()]


def _fault(seen: Visit, request: Request) -> str | None:
    answer = ask(seen.address, request)
    if answer.status and answer.status not in _REFUSED:
        return f"{request.name}: {request.method} {request.path} was answered with {answer.status}"
    if b"Traceback" in answer.content or str(ROOT).encode() in answer.content:
        return f"{request.name}: the refusal has words from inside the server"
    return None


def _foreign_hosts(host: str) -> list[Request]:
    port = host.rpartition(":")[2]
    names = ("evil.example", f"evil.example:{port}", f"{host}.evil.example", "localhost.evil.example", f"evil@{host}",
             "::1", "0.0.0.0", "", f"127.0.0.1:{port}x", "2130706433", "%31%32%37.0.0.1")  # fmt: skip
    paths = ("/", "/health", "/_stcore/health", "/media/0.png")
    found = [Request(f"host {name}", "/", headers={"Host": name}) for name in names]
    found += [Request(f"foreign host at {path}", path, headers={"Host": "evil.example"}) for path in paths[1:]]
    return [*found, *(_stream(f"stream of host {name}", Host=name) for name in names)]


def _foreign_origins() -> list[Request]:
    origins = (
        "https://evil.example",
        "null",
        "http://localhost:1",
        "http://127.0.0.1",
        "file://",
        "http://127.0.0.1.evil.example",
    )
    found = [_stream(f"stream for {origin}", Origin=origin) for origin in origins]
    return [*found, *(Request(f"page for {origin}", "/", headers={"Origin": origin}) for origin in origins)]


def _stream(name: str, **headers: str) -> Request:
    asked = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "c2NhbnNjYW5zY2Fuc2Nhbg==",
        "Sec-WebSocket-Protocol": "streamlit",
    }
    return Request(name, "/_stcore/stream", headers=asked | headers)


def _uploads(seen: Visit) -> list[Request]:
    path, body = f"/_stcore/upload_file/{seen.session}/{secrets.token_hex(8)}", _form(b"scan")
    kind = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    header, cookie = {"X-Xsrftoken": seen.token}, {"Cookie": f"_streamlit_xsrf={seen.token}"}
    empty, wrong = {"Cookie": "_streamlit_xsrf=", "X-Xsrftoken": ""}, {"X-Xsrftoken": secrets.token_hex(16)}
    allowed = kind | header | cookie
    large = MAX_UPLOAD_MB * 2**20 + 2**17
    parts = [body.rpartition(b"scan\r\n")[0], *[bytes(2**20)] * (MAX_UPLOAD_MB + 1)]
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    foreign = f"/_stcore/upload_file/{secrets.token_hex(16)}/1"
    return [
        Request("upload without a token", path, "PUT", kind, body),
        Request("upload with a header alone", path, "PUT", kind | header, body),
        Request("upload with a cookie alone", path, "PUT", kind | cookie, body),
        Request("upload with another token", path, "PUT", kind | cookie | wrong, body),
        Request("upload with an empty token", path, "PUT", kind | empty, body),
        Request("upload for a session that is not there", foreign, "PUT", allowed, body),
        Request("upload from another site", path, "PUT", allowed | {"Origin": "https://evil.example"}, body),
        Request("upload of two files", path, "PUT", allowed, _form(b"a", b"b")),
        Request("upload of no file", path, "PUT", allowed, _form()),
        Request("upload said to be too large", path, "PUT", allowed | {"Content-Length": str(large)}, b""),
        Request("upload of unsaid size, too large", path, "PUT", allowed | {"Transfer-Encoding": "chunked"}, chunked),
        Request("upload removed without a token", path, "DELETE"),
        Request("upload removed with another token", path, "DELETE", cookie | wrong),
        Request("upload posted", path, "POST", allowed, body),
    ]


def _form(*files: bytes) -> bytes:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{{0}}"; filename="scan.png"\r\n\r\n'
    parts = [head.format(number).encode() + data + b"\r\n" for number, data in enumerate(files)]
    return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()


def _paths() -> list[Request]:
    paths = (
        "/..%2f..%2fetc/passwd", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//evil.example/share",
        "//etc/passwd", "/%5c%5cevil.example%5cshare", "/c:%5cwindows", "/static/..%2f..%2f..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/media/..%2f..%2fetc%2fpasswd", "/media/0000.png", "/component/..%2f..%2fapp.py/index.html",
        "/_stcore/bidi-components/x/..%2f..%2fapp.py", "/app/static/..%2fapp.py", "/static/%00", "/x%00.png",
    )  # fmt: skip
    return [Request(f"path {path}", path) for path in paths]


def _interfaces() -> list[Request]:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
    kind = {"Content-Type": "application/json"}
    agent = [Request(f"agent's {name}", f"/_stcore/agent/{name}", "POST", kind, body) for name in ("interact", "mcp")]
    methods = [Request(f"{method} of a page", "/", method) for method in ("POST", "PUT", "DELETE", "TRACE", "CONNECT")]
    return [
        *agent,
        *methods,
        Request("health posted", "/health", "POST", {}, b"{}"),
    ]


_FRAMES: Sequence[tuple[str, bytes | str]] = (
    ("no message", random.Random(0).randbytes(64)),
    ("a text frame", "text"),
    ("an order to stop the server", BackMsg(debug_shutdown_runtime=True).SerializeToString()),
    ("an order to cut the stream", BackMsg(debug_disconnect_websocket=True).SerializeToString()),
)


def _broken_frames(server: Server, seen: Visit) -> list[str]:
    """Sends what no page sends; the server goes on."""
    faults = []
    for name, frame in _FRAMES:
        with visit(server.address) as (_, stream):
            stream.send(frame)
            stream.close()
        answer = ask(seen.address, Request(name, "/_stcore/health"))
        if answer.status != 200 or server.process.poll() is not None:
            faults.append(f"{name}: the server no longer answers")
    return faults
