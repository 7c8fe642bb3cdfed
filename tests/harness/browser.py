"""A real server and a real browser, for the browser tests and for the README's images."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.harness.server import serve as start_server

CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
LONG_MS = 240_000  # the first screening loads torch and the weights


@contextmanager
def serve(model: Path | None) -> Iterator[str]:
    """Runs the dashboard on a free port and yields its address; without a model it shows the empty state."""
    with streamlit("run", "app.py", SSLMRI_MODEL=str(model or "no-model")) as address:
        yield address


@contextmanager
def streamlit(*arguments: str, **variables: str) -> Iterator[str]:
    """Runs a command of Streamlit on a free port and yields its address."""
    with start_server(*arguments, log=None, prefix=(), wait_for="/_stcore/health", **variables) as server:
        yield server.address


@contextmanager
def browse() -> Iterator[Browser]:
    """Starts the browser of this machine, patient with a busy one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser: Browser, address: str, width: int = 1440, theme: str = "light") -> Page:
    """Opens an address in a fresh session."""
    scheme: Literal["dark", "light"] = "dark" if theme == "dark" else "light"
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(LONG_MS)
    page.goto(address)
    page.get_by_text("Research use only").first.wait_for()
    settle(page)
    return page


def settle(page: Page) -> None:
    """Waits until the page has stopped computing and drawing."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=LONG_MS)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=LONG_MS)
    page.wait_for_timeout(500)
