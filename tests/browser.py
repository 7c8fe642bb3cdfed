"""A real server and a real browser, for the browser tests and for the README's pictures."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
_START_S = 180
LONG_MS = 240_000  # the first screening loads torch and the weights


@contextmanager
def serve(model: Path | None) -> Iterator[str]:
    """Runs the dashboard on a free port and yields its address; without a model it shows the empty state."""
    with streamlit("run", "app.py", SSLMRI_MODEL=str(model or "no-model")) as address:
        yield address


@contextmanager
def streamlit(*arguments: str, **variables: str) -> Iterator[str]:
    """Runs a command of Streamlit on a free port and yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"port": str(port), "headless": "true", "fileWatcherType": "none"}
    options = [word for name, value in settings.items() for word in (f"--server.{name}", value)]
    command = (sys.executable, "-m", "streamlit", *arguments, *options)
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, stdout=subprocess.DEVNULL) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}/_stcore/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


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
    page.wait_for_selector("[data-testid='stAppViewContainer']", timeout=LONG_MS)
    page.wait_for_function(
        "document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state') === 'notRunning'",
        timeout=LONG_MS,
    )
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')", timeout=LONG_MS)
    page.wait_for_timeout(500)


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
