"""The dashboard's first page against Streamlit's own hello: ``python -m benchmarks.page``.

Each round starts both servers, one after the other, and opens their first page in headless Chromium; the time ends
when the script has run and nothing is left to draw. Needs Debian's ``chromium``.
"""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import tyro
from playwright.sync_api import Browser

from sslmri.project import DEFAULT_MODEL
from tests.harness.browser import LONG_MS, browse, serve, streamlit

_DRAWN = """document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state') === 'notRunning'
    && !document.querySelector('[data-testid=stSkeleton]') && document.querySelector('h1')"""


@dataclass(frozen=True)
class Settings:
    """Time the first page against Streamlit's own hello.

    Attributes:
        model: the model folder.
        rounds: rounds after the one that warms up; the table shows their medians.
    """

    model: Path = DEFAULT_MODEL
    rounds: int = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table and, last, one line of JSON."""
    settings = tyro.cli(Settings, args=arguments, description=__doc__)
    rounds = []
    with browse() as browser:
        for number in range(settings.rounds + 1):
            measured = (_first_page(browser, serve(settings.model)), _first_page(browser, streamlit("hello")))
            print(f"{'warm-up' if number == 0 else number}: {measured}", file=sys.stderr)
            rounds += [measured] if number else []
    ours, hello = (tuple(median(row[name][part] for row in rounds) for part in range(2)) for name in range(2))
    print("| | server answers, s | first page drawn, s |")
    print("|---|---|---|")
    for name, (answers, drawn) in {"ours": ours, "hello": hello}.items():
        print(f"| {name} | {answers:.2f} | {drawn:.2f} |")
    print(f"\n{json.dumps({'ours_over_hello': round(ours[1] / hello[1], 3)})}")


def _first_page(browser: Browser, server: AbstractContextManager[str]) -> tuple[float, float]:
    """Returns the seconds from starting the server until it answers, and until its first page is drawn."""
    started = time.perf_counter()
    with server as address:
        answers = time.perf_counter() - started
        page = browser.new_page()
        page.goto(address)
        page.wait_for_function(_DRAWN, timeout=LONG_MS)
        drawn = time.perf_counter() - started
        page.close()
    return answers, drawn


if __name__ == "__main__":
    main()
