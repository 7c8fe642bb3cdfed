"""The dashboard's pages in a browser: ``python -m benchmarks.page``.

Each page, and each tab of Performance, is opened in headless Chromium in both themes: time until nothing is left to
draw, layout shift, height, what is cut at 1440 and at 900 pixels, text under AA contrast, and axe-core's serious and
critical findings. With rounds, the first page is also timed against Streamlit's own hello, each from the start of its
server. Needs Debian's ``chromium``.
"""

import json
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import tyro
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from sslmri.project import DEFAULT_MODEL
from tests.harness.browser import LONG_MS, browse, serve, streamlit

_TABS = ("Summary", "Per+class", "Curves", "Calibration", "Shortcuts", "Label+efficiency", "Errors")
_PAGES = ("", "cohort", "data", *(f"performance?show={tab}" for tab in _TABS), "encoder", "about")
_NARROW = 900
_DRAWN = """document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state') === 'notRunning'
    && !document.querySelector('[data-testid=stSkeleton]') && document.querySelector('h1')"""
_WATCH_SHIFTS = """window.shift = 0; new PerformanceObserver(list => list.getEntries().forEach(
    one => { if (!one.hadRecentInput) window.shift += one.value; })).observe({type: 'layout-shift', buffered: true})"""
# boxes that hold more than they show, and labels of charts that reach out of their picture
_CUT = """() => {
    const boxes = [...document.querySelectorAll('.dvn-scroller, [data-testid=stMain] *')].filter(
        e => e.scrollWidth > e.clientWidth + 2 && e.clientWidth > 8 && getComputedStyle(e).overflowX !== 'visible'
            && (e.innerText?.trim() || e.matches('.dvn-scroller')) && !e.closest('[role=tablist]'));
    const inner = boxes.filter(e => !boxes.some(other => other !== e && e.contains(other)));
    const labels = [...document.querySelectorAll('.main-svg text')].filter(e => {
        const own = e.getBoundingClientRect(), frame = e.closest('.js-plotly-plot').getBoundingClientRect();
        return own.width && (own.left < frame.left - 2 || own.right > frame.right + 2); });
    return [...inner, ...labels].map(
        e => (e.dataset?.testid ?? e.tagName) + ': ' + (e.innerText ?? e.textContent).slice(0, 40)); }"""
# axe-core does not look at the text of charts: their labels against the page
_FAINT = """() => {
    const light = css => { const v = css.match(/[\\d.]+/g).map(Number).slice(0, 3).map(
        c => c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
        return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
    const page = light(getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor);
    const names = ['.xtick text', '.ytick text', '.legendtext', '.xtitle', '.ytitle', '.annotation-text'];
    return [...document.querySelectorAll(names.map(n => `.main-svg ${n}`).join())].filter(e => {
        const own = light(getComputedStyle(e).fill);
        return e.textContent.trim() && (Math.max(own, page) + 0.05) / (Math.min(own, page) + 0.05) < 4.5; }
    ).map(e => e.textContent); }"""


@dataclass(frozen=True)
class Settings:
    """Measure the pages.

    Attributes:
        model: the model folder.
        rounds: rounds against Streamlit's hello, after one that warms up; the table shows their medians.
        pages: addresses below the server's.
        themes: light, dark or both.
        details: whether each finding is printed.
    """

    model: Path = DEFAULT_MODEL
    rounds: int = 0
    pages: tuple[str, ...] = _PAGES
    themes: tuple[str, ...] = ("light", "dark")
    details: bool = False


@dataclass(frozen=True)
class Visit:
    """What one visit to a page found; ``cut`` is at 1440 pixels, ``cut_narrow`` at 900, ``faint`` under AA contrast."""

    page: str
    theme: str
    seconds: float
    shift: float
    height: int
    cut: list[str]
    cut_narrow: list[str]
    faint: list[str]
    axe: list[str]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table and, last, one line of JSON."""
    settings = tyro.cli(Settings, args=arguments, description=__doc__)
    with browse() as browser:
        visits = _visit_all(browser, settings)
        hello = _against_hello(browser, settings) if settings.rounds else {}
    print("| page | theme | quiet, s | shift | height | cut at 1440 | at 900 | under AA | axe |\n|" + 9 * "---|")
    for one in visits:
        counts = " | ".join(str(len(found)) for found in (one.cut, one.cut_narrow, one.faint, one.axe))
        print(f"| {one.page} | {one.theme} | {one.seconds:.1f} | {one.shift:.3f} | {one.height} | {counts} |")
    worst: dict[str, Any] = {
        "quiet_s": max((one.seconds for one in visits), default=None),
        "shift": max((one.shift for one in visits), default=None),
        "height": max((one.height for one in visits), default=None),
        **{name: sum(len(getattr(one, name)) for one in visits) for name in ("cut", "cut_narrow", "faint", "axe")},
    }
    print(f"\n{json.dumps(worst | hello)}")


def _visit_all(browser: Browser, settings: Settings) -> list[Visit]:
    visits = []
    with serve(settings.model) as address:
        _first_drawn(browser, address)  # warms the server up
        for name in settings.pages:
            for theme in settings.themes:
                visits.append(_visit(browser, address, name, theme))
                print(json.dumps(asdict(visits[-1])) if settings.details else visits[-1].page, file=sys.stderr)
    return visits


def _visit(browser: Browser, address: str, name: str, theme: str) -> Visit:
    scheme: Literal["dark", "light"] = "dark" if theme == "dark" else "light"
    page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page.set_default_timeout(LONG_MS)
    page.add_init_script(_WATCH_SHIFTS)
    started = time.perf_counter()
    page.goto(f"{address}/{name}")
    page.wait_for_function(_DRAWN, timeout=LONG_MS)
    seconds = time.perf_counter() - started
    page.wait_for_timeout(2000)
    shift, height = page.evaluate("[window.shift, document.querySelector('[data-testid=stMain]').scrollHeight]")
    cut, faint, axe = page.evaluate(_CUT), page.evaluate(_FAINT), _axe(page)
    page.set_viewport_size({"width": _NARROW, "height": 900})
    page.wait_for_timeout(2000)
    narrow = page.evaluate(_CUT)
    page.close()
    faint += [line for line in axe if line.startswith("color-contrast")]
    return Visit(name or "screening", theme, round(seconds, 1), round(shift, 3), height, cut, narrow, faint, axe)


def _axe(page: Page) -> list[str]:
    """Returns axe-core's serious and critical findings, one line for each element."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:160]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def _against_hello(browser: Browser, settings: Settings) -> dict[str, float]:
    """Returns how long the first page takes from the server's start, as a multiple of Streamlit's hello."""
    rounds = []
    for number in range(settings.rounds + 1):
        measured = (_first_page(browser, serve(settings.model)), _first_page(browser, streamlit("hello")))
        print(f"{'warm-up' if number == 0 else number}: {measured}", file=sys.stderr)
        rounds += [measured] if number else []
    ours, hello = (tuple(median(row[name][part] for row in rounds) for part in range(2)) for name in range(2))
    print("| | server answers, s | first page drawn, s |\n|---|---|---|")
    for name, (answers, drawn) in {"ours": ours, "hello": hello}.items():
        print(f"| {name} | {answers:.2f} | {drawn:.2f} |")
    print()
    return {"ours_over_hello": round(ours[1] / hello[1], 3)}


def _first_page(browser: Browser, server: AbstractContextManager[str]) -> tuple[float, float]:
    """Returns the seconds from starting the server until it answers, and until its first page is drawn."""
    started = time.perf_counter()
    with server as address:
        answers = time.perf_counter() - started
        _first_drawn(browser, address)
        return answers, time.perf_counter() - started


def _first_drawn(browser: Browser, address: str) -> None:
    page = browser.new_page(bypass_csp=True)  # which lets no string be run
    page.goto(address, timeout=LONG_MS)
    page.wait_for_function(_DRAWN, timeout=LONG_MS)
    page.close()


if __name__ == "__main__":
    main()
