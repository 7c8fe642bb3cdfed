"""Requests and sessions at the running server as a program makes them, without a browser."""

import http.client
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.NewSession_pb2 import NewSession
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

_TIMEOUT_S = 30


@dataclass(frozen=True)
class Visit:
    """A session of the dashboard, as a browser has it.

    Attributes:
        address: of the server.
        token: what a page sends as header and as cookie with an upload.
        session: the session's id.
        news: what the server said of the session first.
    """

    address: str
    token: str
    session: str
    news: NewSession


@dataclass(frozen=True)
class Request:
    """A request that must be refused; ``{session}`` in its path stands for the id of a session that is there."""

    name: str
    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class Answer:
    """What came back: the status, 0 where the server hung up; headers; content."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def ask(address: str, request: Request) -> Answer:
    """Returns what the server answers; the path goes out as it is written."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=_TIMEOUT_S)
    try:
        connection.putrequest(request.method, request.path, skip_host="Host" in request.headers)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        if request.body is not None and not {"Transfer-Encoding", "Content-Length"} & request.headers.keys():
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders()
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
            connection.send(request.body or b"")
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    except (http.client.HTTPException, ConnectionError):
        return Answer(0, {}, b"")
    finally:
        connection.close()


@contextmanager
def visit(address: str, resume: str = "", **headers: str) -> Iterator[tuple[Visit, ClientConnection]]:
    """Opens a session as a browser does, or asks for one that is there, and keeps it while the block runs."""
    token = secrets.token_hex(16)
    place = urlsplit(address).netloc
    cookies = "; ".join(part for part in (f"_streamlit_xsrf={token}", headers.pop("Cookie", "")) if part)
    with connect(
        f"ws://{place}/_stcore/stream",
        origin=Origin(address),
        subprotocols=[Subprotocol(word) for word in ("streamlit", token, resume) if word],
        additional_headers={"Cookie": cookies, **headers},
        max_size=None,
        max_queue=None,  # else a close waits for messages that nobody reads
        open_timeout=_TIMEOUT_S,
    ) as stream:
        message = BackMsg()
        message.rerun_script.query_string = ""
        stream.send(message.SerializeToString())
        for news in messages(stream):
            if news.WhichOneof("type") == "new_session":
                session = news.new_session
                yield Visit(address, token, session.initialize.session_id, session), stream
                return


def messages(stream: ClientConnection) -> Iterator[ForwardMsg]:
    """Yields what the server sends to a session, until it is silent or hangs up."""
    while True:
        try:
            data = stream.recv(timeout=_TIMEOUT_S)
        except (TimeoutError, EOFError):
            return
        yield ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
