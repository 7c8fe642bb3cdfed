"""What a clinician sees of a scan and how long they wait: ``python -m benchmarks.viewer [FILE ...]``.

For a simulated patient: how wide the picture is, what of the page is in sight without scrolling, how long a key or the
wheel takes to the next slice on the screen, and how far the page shifts while it loads. For each file: from the drop to
all findings and the picture (the model is loaded before by the simulated patient).
"""

import json
import re
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Annotated, Any

import tyro
from playwright.sync_api import Browser, Page

from sslmri.project import DEFAULT_MODEL
from tests.harness.browser import LONG_MS, browse, open_page, settle, streamlit

_N_CHANGES = 20
_SCREENS = ((1440, 900), (1366, 768), (1280, 720))
_FULL_SCREEN = (1920, 1080)
_HEADLINE = re.compile(r"Tumour (not )?(flagged|inconclusive) \(")
_EXAMPLES_S = 45  # after a start: the simulated patients are screened meanwhile
_SHIFTS = """window.shifted = 0; new PerformanceObserver(list => list.getEntries().forEach(entry => {
    if (!entry.hadRecentInput) window.shifted += entry.value
})).observe({type: 'layout-shift', buffered: true})"""
_WATCH = """viewer => {
    window.waits = []
    for (const kind of ['keydown', 'wheel']) {
        viewer.addEventListener(kind, event => { window.asked = event.timeStamp }, true)
    }
    const seen = () => requestAnimationFrame(() => window.waits.push(performance.now() - window.asked))
    new MutationObserver(seen).observe(viewer, {attributeFilter: ['data-slice']})
}"""
_IN_SIGHT = """part => {
    const {top, bottom, height} = part.getBoundingClientRect()
    return height > 0 && top >= 0 && bottom <= window.innerHeight
}"""


def time_drop(page: Page, path: Path) -> float:
    """Returns the seconds from the drop of a file to its findings and picture."""
    pending = perf_counter()
    page.locator("input[type=file]").set_input_files(path)
    _wait_for_scan(page)
    return perf_counter() - pending


def _wait_for_scan(page: Page) -> None:
    page.locator(".viewer[data-drawn]").wait_for(timeout=LONG_MS)
    page.get_by_role("button", name="Report, JSON").wait_for(timeout=LONG_MS)  # the last thing on the page


def time_slices(page: Page) -> dict[str, float]:
    """Returns the median milliseconds from a key and from a turn of the wheel to another slice on the screen."""
    viewer = page.locator(".viewer")
    viewer.evaluate(_WATCH)
    found = {}
    for name in ("key", "wheel"):
        page.evaluate("window.waits = []")
        page.get_by_role("slider", name="Slice").focus()
        page.locator(".stage").hover()
        for number in range(_N_CHANGES):
            forward = number < _N_CHANGES // 2
            if name == "key":
                page.keyboard.press("ArrowRight" if forward else "ArrowLeft")
            else:
                page.mouse.wheel(0, 100 if forward else -100)
            page.wait_for_timeout(100)
        found[f"{name}_ms"] = round(median(page.evaluate("window.waits")), 1)
    return found


def measure_layout(page: Page) -> dict[str, Any]:
    """Returns the width of the picture and what is in sight at each size of the screen, and in full screen."""
    found: dict[str, Any] = {}
    parts = {"summary": page.get_by_text(_HEADLINE).first}
    parts |= {"scan": page.locator(".stage"), "slices": page.get_by_role("slider", name="Slice")}
    for width, height in _SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        page.get_by_test_id("stMain").evaluate("main => main.scrollTo(0, 0)")
        page.wait_for_timeout(1000)
        seen = {name: part.evaluate(_IN_SIGHT) for name, part in parts.items()}
        found[f"{width}x{height}"] = {"picture_px": _width(page), "in_sight": seen}
    page.set_viewport_size({"width": _FULL_SCREEN[0], "height": _FULL_SCREEN[1]})
    page.get_by_role("button", name="Full screen").click()
    page.wait_for_timeout(1000)
    found["full_screen_px"] = _width(page)
    page.keyboard.press("f")
    return found


def _width(page: Page) -> int:
    return int(page.locator(".viewer").get_attribute("data-picture-width") or 0)


def measure_patient(browser: Browser, address: str) -> dict[str, Any]:
    """Returns all that is measured of a simulated patient."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(LONG_MS)
    page.add_init_script(_SHIFTS)
    page.goto(address)
    page.get_by_text("Research use only").first.wait_for()
    settle(page)
    found: dict[str, Any] = {"start_shift": round(page.evaluate("window.shifted"), 3)}
    pending = perf_counter()
    page.get_by_role("button", name="Glioma", exact=True).click()
    page.get_by_text("Open another scan").wait_for()
    _wait_for_scan(page)
    found["patient_s"] = round(perf_counter() - pending, 2)
    settle(page)
    found |= time_slices(page) | measure_layout(page)
    page.close()
    return found


def main(files: Annotated[tuple[Path, ...], tyro.conf.Positional] = (), model: Path = DEFAULT_MODEL) -> None:
    """Measures a simulated patient, then times the files one after the other, each in a session of its own."""
    variables = {"SSLMRI_MODEL": str(model.resolve()), "SSLMRI_EXAMPLES": "1"}
    with streamlit("run", "app.py", **variables) as address, browse() as browser:
        sleep(_EXAMPLES_S)
        found = measure_patient(browser, address)
        for name, value in found.items():
            print(f"{name:16} {value}")
        for path in files:
            page = open_page(browser, address)
            found[path.name] = round(time_drop(page, path), 1)
            print(f"{path.name:32} {found[path.name]:12.1f} s to all findings", flush=True)
            page.close()
        print(json.dumps(found))


if __name__ == "__main__":
    tyro.cli(main)
