"""How long a clinician waits for a scan and for another slice: ``python -m benchmarks.viewer FILE ...``.

For each file: from the drop to all findings and the map on the page (the model is loaded before by another scan), and
the median time from a key or a click to the next slice's map on the screen.
"""

import json
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import tyro
from playwright.sync_api import Page

from sslmri.project import DEFAULT_MODEL
from tests.harness.browser import LONG_MS, browse, open_page, serve, settle

_N_CHANGES = 8
_MAP = 'img[alt^="Map of"], img[alt^="The scan"]'
_WATCH = f"""() => {{
    window.shown = []
    const look = () => {{
        const image = [...document.querySelectorAll('{_MAP}')].pop()
        const last = window.shown[window.shown.length - 1]
        const isNew = image && (!last || last.src !== image.src)
        if (isNew) window.shown.push({{src: image.src, at: performance.now()}})
        requestAnimationFrame(look)
    }}
    look()
    for (const kind of ['keydown', 'mousedown']) {{
        document.addEventListener(kind, () => {{ window.asked = performance.now() }}, true)
    }}
}}"""


def time_drop(page: Page, path: Path) -> float:
    """Returns the seconds from the drop of a file to its findings and images."""
    pending = perf_counter()
    page.locator("input[type=file]").set_input_files(path)
    page.get_by_role("img", name="The scan").or_(page.get_by_role("img", name="Map of")).first.wait_for(timeout=LONG_MS)
    page.get_by_role("button", name="Report, JSON").wait_for(timeout=LONG_MS)  # the last thing on the page
    return perf_counter() - pending


def time_changes(page: Page) -> tuple[float, float]:
    """Returns the median milliseconds from a key on the slider, and from a click into the strip, to another slice."""
    page.evaluate(_WATCH)
    keyed, clicked = [], []
    page.get_by_role("slider", name="Slice").first.focus()
    page.keyboard.press("Home")
    settle(page)
    for _ in range(_N_CHANGES):
        page.get_by_role("slider", name="Slice").first.focus()
        page.keyboard.press("ArrowRight")
        keyed.append(_waited(page))
    bars = page.get_by_label("by slice").locator(".bars .point path")
    for number in range(_N_CHANGES if bars.count() > 2 else 0):
        box = bars.nth(0 if number % 2 else bars.count() - 1).bounding_box()
        if box:
            page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] - 1)
            clicked.append(_waited(page))
    return median(keyed), median(clicked or [float("nan")])


def _waited(page: Page) -> float:
    """Returns the milliseconds from the last key or click to the image that followed it."""
    page.wait_for_function("window.shown[window.shown.length - 1].at > window.asked", timeout=10_000)
    page.wait_for_timeout(600)  # as long as a reader looks, and until the page has come to rest
    return float(page.evaluate("window.shown.find(image => image.at > window.asked).at - window.asked"))


def main(files: Annotated[tuple[Path, ...], tyro.conf.Positional], model: Path = DEFAULT_MODEL) -> None:
    """Times the files one after the other, each in a session of its own."""
    with serve(model.resolve()) as address, browse() as browser:
        page = open_page(browser, address)
        page.get_by_role("button", name="Healthy", exact=True).click()  # loads the model
        page.get_by_role("img", name="Map of").first.wait_for(timeout=LONG_MS)
        page.close()
        print(f"{'file':32} {'findings, s':>12} {'slice by key, ms':>17} {'by click, ms':>13}")
        found = []
        for path in files:
            page = open_page(browser, address)
            seconds = time_drop(page, path)
            settle(page)
            keyed, clicked = time_changes(page)
            print(f"{path.name:32} {seconds:12.1f} {keyed:17.0f} {clicked:13.0f}", flush=True)
            found.append({"findings_s": round(seconds, 1), "key_ms": round(keyed), "click_ms": round(clicked)})
            page.close()
        print(json.dumps(found))


if __name__ == "__main__":
    tyro.cli(main)
