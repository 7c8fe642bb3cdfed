"""A page under watch: whether anything in it ran, was added, asked elsewhere, or was shown as more than its letters."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Dialog, Page, Request, Route

from tests.harness.browser import settle
from tests.soak.payloads import ELSEWHERE, MARK, SIGN

_PATIENCE_MS = 40_000
_JOINER = "\u2060"  # which the pages put between signs, so that no markup comes out of them
_PLACES = "[data-testid=stText], [data-testid=stMarkdownContainer], [role=gridcell], [role=option], .legendtext"
_ADDED = f"""() => {{
    const runs = new Set(["href", "xlink:href", "src", "srcset", "srcdoc", "action", "formaction", "data", "style",
        "poster", "background", "content"]);
    const bad = /__ran|javascript:|{ELSEWHERE}/i, found = [];
    for (const element of document.querySelectorAll("*")) {{
        const name = element.tagName.toLowerCase();
        const texts = [...element.attributes].filter(own => own.name.startsWith("on") || runs.has(own.name))
            .map(own => own.value);
        if (element.hasAttribute("{MARK}") || texts.some(text => bad.test(text))
            || (["script", "style"].includes(name) && bad.test(element.textContent))
            || ["iframe", "object", "embed", "base"].includes(name)
            || element.classList.contains("katex"))
            found.push(element.outerHTML.slice(0, 120));
    }}
    return found;
}}"""
_SAID = f"() => [...document.querySelectorAll('{_PLACES}')].map(place => place.textContent)"


class Watch:
    """What happened in a page since it was opened.

    Attributes:
        page: the page.
        faults: what must not have happened, a line each.
    """

    def __init__(self, page: Page, address: str) -> None:
        """Watches a page that shows pages of the server at an address."""
        self.page, self._address = page, address
        self.faults: list[str] = []
        page.on("dialog", self._dismiss)
        page.on("popup", self._tell)
        page.on("framenavigated", lambda frame: self._follow(frame.url))
        page.on("request", self._look)
        page.route(lambda url: not self._is_own(url), self._stop)

    def open(self, path: str = "") -> Page:
        """Opens a page of the server in a session of its own."""
        self.page.goto(f"{self._address}/{path}")
        self.page.get_by_text("Research use only").first.wait_for()
        settle(self.page)
        return self.page

    def check(self, names: Mapping[int, str]) -> list[str]:
        """Returns and forgets the faults until now: what happened, what the page holds, what it does not show as it is.

        Args:
            names: by number, those that every place with their sign must show letter by letter.
        """
        if self.page.evaluate("() => window.__ran !== undefined"):
            self.faults.append("a script ran")
        self.faults += [f"an element was added: {element}" for element in self.page.evaluate(_ADDED)]
        self.faults += [fault for text in self.texts() for fault in _changed(text, names)]
        found, self.faults = self.faults, []
        return found

    def texts(self) -> list[str]:
        """Returns what stands in each place of the page, as a reader sees it."""
        return [shown(text) for text in self.page.evaluate(_SAID)]

    def _dismiss(self, dialog: Dialog) -> None:
        self.faults.append(f"a dialog opened: {dialog.message}")
        dialog.dismiss()

    def _tell(self, popup: Page) -> None:
        self.faults.append(f"a window opened: {popup.url}")

    def _follow(self, url: str) -> None:
        if not self._is_own(url):
            self.faults.append(f"the page went to {url}")

    def _look(self, request: Request) -> None:
        if not self._is_own(request.url):
            self.faults.append(f"asked {request.url[:120]}")

    def _stop(self, route: Route) -> None:
        route.abort()

    def _is_own(self, url: str) -> bool:
        parts = urlsplit(url)
        if parts.scheme in ("data", "blob", "about"):
            return "__ran" not in url and "alert" not in url
        return parts.netloc == urlsplit(self._address).netloc and "__ran" not in url


@contextmanager
def watched(browser: Browser, address: str) -> Iterator[Watch]:
    """Yields a page under watch, without the policy that keeps a browser from running what a page holds."""
    context = browser.new_context(bypass_csp=True, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(_PATIENCE_MS)
    try:
        yield Watch(page, address)
    finally:
        context.close()


def shown(text: str) -> str:
    """Returns what a reader sees of a text in a page: its letters, white space as one space."""
    return " ".join(text.replace(_JOINER, "").split())


def as_sent(name: str) -> str:
    """Returns a file name as it comes from a browser: by HTML's multipart/form-data, from its last backslash on."""
    name = name.rpartition("\\")[2]
    return name.replace("\r\n", "\n").replace("\n", "%0A").replace("\r", "%0D").replace('"', "%22")


def _changed(text: str, names: Mapping[int, str]) -> Iterator[str]:
    for number in {int(found) for found in SIGN.findall(text)} & names.keys():
        name = names[number]
        if not any(shown(form) in text for form in (name, as_sent(name), repr(name)[1:-1])):
            yield f"not shown letter by letter: {name[-60:]!r} in {text[:120]!r}"
