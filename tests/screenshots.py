"""Takes the README's pictures: ``python -m tests.screenshots OUT [MODEL]``; simulated samples only."""

import sys
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.browser import LONG_MS, ROOT, browse, open_page, serve, settle

_SAMPLE = "Tumour: glioma"
_PAGES = ("screening", "data", "performance", "about")


def take(browser: Browser, address: str, out: Path, width: int, theme: str) -> None:
    """Saves one picture of each page at a width and in a theme."""
    for name in _PAGES:
        page = open_page(browser, address if name == "screening" else f"{address}/{name}", width, theme)
        if name == "screening":
            _choose_sample(page)
        _save_whole(page, out / f"{name}-{width}-{theme}.png", width)
        page.close()


def _choose_sample(page: Page) -> None:
    if not page.get_by_text("Or a simulated sample").count():  # no model: nothing to choose
        return
    page.get_by_role("combobox", name="Or a simulated sample").click()
    page.get_by_role("option", name=_SAMPLE).click()
    page.get_by_role("img", name="Map of").first.wait_for(timeout=LONG_MS)
    settle(page)


def _save_whole(page: Page, path: Path, width: int) -> None:
    """Saves the page at its full height: the page scrolls inside a container, so the window is made as high."""
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": width, "height": max(900, int(height) + 60)})
    page.wait_for_timeout(1500)
    page.screenshot(path=path)
    page.set_viewport_size({"width": width, "height": 900})


def main() -> None:
    """Takes all pictures."""
    out = Path(sys.argv[1])
    model = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else ROOT / "models" / "default"
    out.mkdir(parents=True, exist_ok=True)
    with serve(model) as address, browse() as browser:
        for width in (1440, 900):
            for theme in ("light", "dark"):
                take(browser, address, out, width, theme)


if __name__ == "__main__":
    main()
