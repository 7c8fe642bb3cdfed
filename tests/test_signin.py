"""Sign-in against a real OpenID Connect provider: who has not signed in sees and gets nothing."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
import streamlit as st

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("oidc_provider_mock", reason="oidc-provider-mock is not installed")

from oidc_provider_mock import User, run_server_in_thread
from playwright.sync_api import Browser, Page, expect
from streamlit import config
from streamlit.runtime.secrets import Secrets
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from sslmri.dashboard.server import signin
from tests.harness.browser import CHROMIUM, LONG_MS, browse
from tests.harness.server import serve
from tests.harness.sessions import Request, ask, messages, visit
from tests.pages import PAGES as FILES
from tests.pages import open_page as open_app

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib")
SECRET, ADDRESS = "7c1f3e5a9b2d4c6e8f0a1b3c5d7e9f12", "jane.roe@clinic.example"
USER = "_streamlit_user"
PAGES = ("", "cohort", "data", "performance", "encoder", "about")


@dataclass(frozen=True)
class Site:
    address: str
    log: Path


@pytest.fixture(scope="module")
def site(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Returns the dashboard with sign-in, and a provider that knows one person."""
    folder = tmp_path_factory.mktemp("signin")
    people = [User(sub="jane", claims={"email": ADDRESS, "email_verified": True})]
    with run_server_in_thread(user_claims=people) as provider:
        (folder / "secrets.toml").write_text(
            "[auth]\n"
            'redirect_uri = "http://127.0.0.1:{port}/oauth2callback"\n'
            f'cookie_secret = "{SECRET}"\nclient_id = "dashboard"\nclient_secret = "words"\n'
            f'server_metadata_url = "http://localhost:{provider.server_port}/.well-known/openid-configuration"\n'
        )
        arguments = ("run", "app.py", "--secrets.files", str(folder / "secrets.toml"))
        with serve(*arguments, log=folder / "log", SSLMRI_MODEL=str(model_folder)) as server:
            yield Site(server.address, folder / "log")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with browse() as browser:
        yield browser


def words_of_locked(page: Page, address: str) -> str:
    """Returns all that a page shows once it has drawn its button, the last thing on it."""
    page.goto(address)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible(timeout=LONG_MS)
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_have_count(1, timeout=LONG_MS)
    return page.get_by_test_id("stApp").inner_text().removeprefix("Skip to main content").replace("\n\n", "\n").strip()


def signed(origin: str, secret: str = SECRET, **claims: object) -> str:
    """Returns the cookie of somebody who signed in, as a server with that secret makes it."""
    person = {"email": ADDRESS, "origin": origin, "is_logged_in": True, "provider": "default"} | claims
    return f"{USER}={create_signed_value(secret, USER, json.dumps(person)).decode()}"


def _one_letter_changed(cookie: str) -> str:
    """Returns a cookie whose signature is another: the last letter alone would carry bits that nobody reads."""
    place = len(cookie) - 10
    return cookie[:place] + ("A" if cookie[place] != "A" else "B") + cookie[place + 1 :]


def shown(address: str, cookie: str) -> bytes:
    """Returns all that a session with that cookie is sent by the first page."""
    found = b""
    with visit(address, Cookie=cookie) as (_, stream):
        for message in messages(stream):
            found += message.SerializeToString()
            if message.WhichOneof("type") == "script_finished":
                return found
    return found


def test_who_has_not_signed_in_sees_the_notice_and_a_button_on_every_page_until_signed_in(site, browser):
    page = browser.new_context().new_page()  # with the server's own content policy
    page.set_default_timeout(LONG_MS)
    nothing = "Research use only, not a medical device.\nSign in to see this dashboard.\nSign in"
    for name in PAGES:
        assert words_of_locked(page, f"{site.address}/{name}") == nothing
        assert page.locator("input[type=file]").count() == 0
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="jane").click()
    expect(page.locator("input[type=file]")).to_have_count(1, timeout=LONG_MS)
    assert "Model tiny" in page.get_by_test_id("stApp").inner_text()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="End session").click()  # a page of the provider, which leads back
    expect(page.get_by_role("button", name="Sign in")).to_be_visible(timeout=LONG_MS)
    for name in ("", "about"):
        assert words_of_locked(page, f"{site.address}/{name}") == nothing
    assert ADDRESS not in site.log.read_text()


def test_a_signed_cookie_lets_in_and_one_that_is_forged_expired_or_of_another_place_does_not(site):
    good = signed(site.address)
    assert b"Sign out" in shown(site.address, good)
    with patch("time.time", return_value=time.time() - 40 * 86400):
        expired = signed(site.address)
    refused = {
        "no cookie": "",
        "another secret": signed(site.address, "0" * 32),
        "one letter changed": _one_letter_changed(good),
        "expired": expired,
        "another place": signed("https://other.example"),
        "not signed in": signed(site.address, is_logged_in=False),
        "unsigned": f"{USER}={json.dumps({'is_logged_in': True})}",
    }
    for name, cookie in refused.items():
        found = shown(site.address, cookie)
        assert b"Sign in to see" in found, name
        assert b"Sign out" not in found, name
        assert b"tiny" not in found, name


def test_who_has_not_signed_in_can_neither_give_nor_get_a_file(site):
    with visit(site.address, Cookie=signed(site.address)) as (seen, _):
        path = f"/_stcore/upload_file/{seen.session}/1"
        body = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nscan\r\n--b--\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=b", "X-Xsrftoken": seen.token}
        cookies = {
            False: f"_streamlit_xsrf={seen.token}",
            True: f"_streamlit_xsrf={seen.token}; {signed(site.address)}",
        }
        for is_signed_in, cookie in cookies.items():
            answer = ask(site.address, Request("upload", path, "PUT", kind | {"Cookie": cookie}, body))
            assert answer.status == (204 if is_signed_in else 403)
            answer = ask(site.address, Request("picture", "/media/0.png", headers={"Cookie": cookie}))
            assert answer.status == (404 if is_signed_in else 403)
            answer = ask(site.address, Request("figures", "/_stcore/metrics", headers={"Cookie": cookie}))
            assert answer.status == (200 if is_signed_in else 403)


def test_a_session_is_handed_only_to_the_person_it_belongs_to(site):
    cookie = signed(site.address)
    with visit(site.address, Cookie=cookie) as (seen, _):
        for other in ("", signed(site.address, email="other@clinic.example")):
            with visit(site.address, seen.session, Cookie=other) as (found, _):
                assert found.session != seen.session
        with visit(site.address, seen.session, Cookie=cookie) as (found, _):
            assert found.session == seen.session


@pytest.fixture
def secrets_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns where the secrets of this test lie."""
    path = tmp_path / "secrets.toml"
    real = config.get_option
    monkeypatch.setattr(config, "get_option", lambda key: [str(path)] if key == "secrets.files" else real(key))
    monkeypatch.setattr(st, "secrets", Secrets())
    return path


def test_without_secrets_nobody_has_to_sign_in(secrets_file):
    assert not signin.is_needed()
    assert signin.is_authorised({})


def test_secrets_asked_for_by_name_that_are_not_there_keep_everybody_out(secrets_file, monkeypatch):
    monkeypatch.setattr(config, "is_manually_set", lambda key: key == "secrets.files")
    assert signin.is_needed()
    assert not signin.is_authorised({})


def test_secrets_that_are_taken_away_while_the_server_runs_open_nothing(secrets_file):
    secrets_file.write_text('[auth]\nclient_id = "x"\n')
    assert signin.is_needed()
    secrets_file.unlink()
    assert signin.is_needed()
    st.secrets = Secrets()  # read again
    assert signin.is_needed()


@pytest.mark.parametrize("text", ["[auth\n", "auth = ", "", '[Auth]\nclient_id = "x"\n', "[access]\nallowed = []\n"])
def test_secrets_that_say_half_of_it_or_cannot_be_read_keep_everybody_out(secrets_file, text):
    secrets_file.write_text(text)
    assert signin.is_needed()
    assert not signin.is_authorised({})
    app = open_app(FILES[0])
    assert [error.value for error in app.error] == [signin._NOT_SET_UP]
    assert not app.button


@pytest.mark.parametrize(
    ("person", "is_allowed"),
    [
        ({"email": "Jane@Clinic.example", "email_verified": True}, True),
        ({"email": "a@b.example", "email_verified": True}, True),
        ({"email": "c@b.example", "email_verified": True}, False),
        ({"email": "jane@clinic.example", "email_verified": False}, False),
        ({"email": "jane@clinic.example"}, False),
        ({"email": "jane@evil-clinic.example", "email_verified": True}, False),
        ({"email": "@clinic.example@evil.example", "email_verified": True}, False),
        ({"email_verified": True}, False),
    ],
)
def test_a_list_lets_in_verified_addresses_and_domains_only(secrets_file, person, is_allowed):
    secrets_file.write_text('[auth]\nclient_id = "x"\n[access]\nallowed = ["@clinic.example", "a@b.example"]\n')
    assert signin.is_authorised(person | {"is_logged_in": True}) is is_allowed
    assert not signin.is_authorised(person)
