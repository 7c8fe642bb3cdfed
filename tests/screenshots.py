"""Takes the README's images: ``python -m tests.screenshots OUT [MODEL]``; simulated patients only."""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page

from sslmri.cohorts.patients import PATIENTS, make_patient
from sslmri.project import DEFAULT_MODEL
from tests.harness.browser import LONG_MS, browse, open_page, serve, settle

_PAGES = ("start", "screening", "cohort", "data", "performance", "encoder", "about")


def take(browser: Browser, address: str, out: Path, width: int, theme: str) -> None:
    """Saves one image of each page at a width and in a theme."""
    for name in _PAGES:
        page = open_page(browser, address if name in ("start", "screening") else f"{address}/{name}", width, theme)
        if name == "screening":
            _open_patient(page)
        if name == "cohort":
            _give_cohort(page)
        _save_whole(page, out / f"{name}-{width}-{theme}.png", width)
        page.close()


def _open_patient(page: Page) -> None:
    if not page.get_by_text("Simulated patients").count():  # no model: nothing to choose
        return
    page.get_by_role("button", name=PATIENTS["glioma"].title, exact=True).click()
    page.mouse.move(0, 0)  # what stands under the pointer looks different
    page.get_by_role("img", name="slice").first.wait_for(timeout=LONG_MS)
    settle(page)


def _give_cohort(page: Page) -> None:
    """Gives every slice of the middle of each simulated patient as a file of its own."""
    files = []
    for key in PATIENTS:
        scan, _ = make_patient(key)
        middle = len(scan.voxels) // 2
        for number in range(middle - 6, middle + 6, 3):
            buffer = io.BytesIO()
            Image.fromarray(scan.voxels[number].astype(np.uint8)).save(buffer, format="PNG")
            files.append({"name": f"{key}_{number}.png", "mimeType": "image/png", "buffer": buffer.getvalue()})
    uploader = page.locator("input[type=file]")
    if uploader.count():
        uploader.set_input_files(files)
        page.get_by_text("Verdicts by disease").wait_for(timeout=LONG_MS)
        settle(page)


def _save_whole(page: Page, path: Path, width: int) -> None:
    """Saves the page at its full height: the page scrolls inside a container, so the window is made as high."""
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": width, "height": max(900, int(height) + 60)})
    page.wait_for_timeout(1500)
    page.screenshot(path=path)
    page.set_viewport_size({"width": width, "height": 900})


def main() -> None:
    """Takes all images."""
    out = Path(sys.argv[1])
    model = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else DEFAULT_MODEL
    out.mkdir(parents=True, exist_ok=True)
    with serve(model) as address, browse() as browser:
        for width in (1440, 900):
            for theme in ("light", "dark"):
                take(browser, address, out, width, theme)


if __name__ == "__main__":
    main()
