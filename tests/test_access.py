"""The shipped server as it stands on a network: where it listens, whom it answers, and what it says of itself."""

import tomllib
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from streamlit.proto.NewSession_pb2 import NewSession

from sslmri.dashboard import layout
from tests.harness.server import ROOT, Server, listening, serve
from tests.harness.sessions import Request, Visit, ask, visit
from tests.pages import PAGES, open_page, words_of
from tests.soak.access import MAX_UPLOAD_MB, forbidden, send_forbidden_requests


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("run", "app.py", SSLMRI_MODEL="no-model") as server:
        yield server


def test_every_forbidden_request_is_refused():
    row = send_forbidden_requests(SSLMRI_MODEL="no-model")
    assert row.tried >= 70
    assert row.failed == 0, row.faults


def test_the_trial_fails_where_tokens_and_hosts_are_not_checked():
    open_to_all = {"STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION": "false", "STREAMLIT_SERVER_ALLOWED_HOSTS": "*"}
    row = send_forbidden_requests(SSLMRI_MODEL="no-model", **open_to_all)
    assert row.failed > 10


def test_the_server_listens_on_this_machine_only(server):
    found = listening(server.process.pid)
    assert found
    assert {address.rpartition(":")[0] for address in found} == {"127.0.0.1"}


def test_a_server_that_ends_or_another_on_its_port_is_not_waited_for(server, monkeypatch):
    taken = SimpleNamespace(bind=lambda _: None, getsockname=lambda: ("", int(server.address.rpartition(":")[2])))
    monkeypatch.setattr("tests.harness.server.socket", SimpleNamespace(socket=lambda: nullcontext(taken)))
    with pytest.raises(ChildProcessError, match="ended with 1"), serve("run", "app.py", SSLMRI_MODEL="no-model"):
        pass


def test_an_upload_with_its_token_is_taken_up_to_the_limit(server):
    with visit(server.address) as (seen, _):
        requests = {request.name: request for request in forbidden(seen)}
        refused = requests["upload with another token"]
        right = Request("", refused.path, "PUT", {**refused.headers, "X-Xsrftoken": seen.token}, refused.body)
        assert (ask(server.address, refused).status, ask(server.address, right).status) == (403, 204)
        assert ask(server.address, requests["upload said to be too large"]).status == 413
        assert ask(server.address, requests["upload of unsaid size, too large"]).status == 413


def test_a_session_is_told_to_send_no_statistics(server):
    with visit(server.address) as (seen, _):
        assert seen.news.config.gather_usage_stats is False


def test_the_shipped_settings_are_the_careful_ones():
    settings = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    server = settings["server"]
    assert (server["address"], server["maxUploadSize"]) == ("127.0.0.1", MAX_UPLOAD_MB)
    assert server["allowedHosts"] == ["localhost", "127.0.0.1"]
    assert server["enableXsrfProtection"] is server["enableCORS"] is True
    assert settings["browser"]["gatherUsageStats"] is False
    assert settings["client"]["showErrorDetails"] == "none"


@pytest.mark.parametrize("path", ["/", "/health", "/_stcore/health", "/media/0.png", "/..%2f", "/static/none"])
def test_every_answer_binds_the_browser_to_this_server(server, path):
    headers = ask(server.address, Request("", path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self' 'sha256-" in policy
    assert "connect-src 'self';" in policy
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers.get("cache-control") == "no-store" or path != "/media/0.png"


def test_a_public_name_is_answered_once_it_is_allowed_and_its_page_may_open_a_session():
    names = "localhost 127.0.0.1 scans.example.org"
    with serve("run", "app.py", SSLMRI_MODEL="no-model", STREAMLIT_SERVER_ALLOWED_HOSTS=names) as server:
        public = {"Host": "scans.example.org", "Origin": "https://scans.example.org"}
        seen = Visit(server.address, "", "", NewSession())
        stream = next(request for request in forbidden(seen) if request.path == "/_stcore/stream")
        assert ask(server.address, Request("", "/", headers=public)).status == 200
        assert ask(server.address, Request("", stream.path, headers={**stream.headers, **public})).status == 101


def test_a_refusal_is_one_sentence(server):
    answer = ask(server.address, Request("", "/", headers={"Host": "evil.example"}))
    assert (answer.status, answer.content) == (403, b"This host name is not in server.allowedHosts.")


def test_a_fault_of_a_page_shows_none_of_its_words(unconfigured, monkeypatch):
    def fail(title: str) -> None:
        raise RuntimeError("words of a tag")

    monkeypatch.setattr(layout, "_draw_head", fail)
    app = open_page(PAGES[0])
    assert app.exception
    said = " ".join([words_of(app), *(str(element.value) for element in app.exception)])
    assert "words of a tag" not in said
    assert "Traceback" not in said


def test_an_origin_that_is_no_address_is_refused_as_another_is(server):
    answer = ask(server.address, Request("", "/", headers={"Origin": "http://["}))
    assert (answer.status, answer.content) == (403, b"This request comes from another site.")
    assert "content-security-policy" in answer.headers


def test_a_server_whose_pages_lie_below_a_path_is_guarded_there_too(tmp_path):
    secrets = tmp_path / "secrets.toml"
    secrets.write_text('[auth]\nclient_id = "x"\n')
    arguments = ("run", "app.py", "--server.baseUrlPath", "/brain/", "--secrets.files", str(secrets))
    with serve(*arguments, wait_for="/brain/_stcore/health", SSLMRI_MODEL="no-model") as server:
        for path in ("media/0.png", "_stcore/metrics", "_stcore/upload_file/a/b"):
            answer = ask(server.address, Request("", f"/brain/{path}"))
            assert (answer.status, answer.content) == (403, b"Sign in first."), path
