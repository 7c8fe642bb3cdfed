"""Uploads find room or are refused, one session and all together."""

import asyncio
from types import SimpleNamespace

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route
from streamlit import runtime

from sslmri.dashboard.server import upload_quota
from sslmri.dashboard.server.middleware import RequestFilter
from sslmri.dashboard.server.upload_quota import find_refusal


@pytest.fixture
def stored(monkeypatch):
    """Returns the server's files by session, each of which is as large as a number says."""
    files: dict[str, dict[str, SimpleNamespace]] = {}
    manager = SimpleNamespace(uploaded_file_mgr=SimpleNamespace(file_storage=files))
    monkeypatch.setattr(runtime, "get_instance", lambda: manager)
    monkeypatch.setattr(upload_quota, "MAX_SESSION_BYTES", 1000)
    monkeypatch.setattr(upload_quota, "MAX_ALL_BYTES", 1500)
    return files


def file(size: int) -> SimpleNamespace:
    return SimpleNamespace(data=bytes(size))


def test_a_session_that_holds_too_much_is_refused_and_another_is_not(stored):
    stored["a"] = {"1": file(600), "2": file(399)}
    assert find_refusal("a") is None
    stored["a"]["3"] = file(1)
    assert find_refusal("a") == "At most 0 MB of files fit in one session. Remove some, or try again in a minute."
    assert find_refusal("b") is None


def test_all_sessions_together_are_bounded_and_what_is_removed_makes_room(stored):
    stored |= {"a": {"1": file(800)}, "b": {"1": file(700)}}
    assert "on this server" in str(find_refusal("c"))
    stored["b"].clear()
    assert find_refusal("c") is None


def test_an_upload_without_room_is_refused_before_it_is_taken_in(stored):
    taken = []

    async def take(request) -> Response:
        taken.append(await request.body())
        return Response(status_code=204)

    routes = [Route("/_stcore/upload_file/{session}/{file}", take, methods=["PUT"])]
    app = Starlette(routes=routes, middleware=[Middleware(RequestFilter)])

    def put(name: str, content: bytes) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
                return await client.put(f"/_stcore/upload_file/a/{name}", content=content)

        return asyncio.run(send())

    assert put("1", bytes(900)).status_code == 204
    stored["a"] = {"1": file(1000)}
    answer = put("2", bytes(200))
    assert answer.status_code == 413
    assert answer.text.startswith("At most")
    assert len(taken) == 1
