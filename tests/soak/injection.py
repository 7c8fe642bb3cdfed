"""Texts that would run: in names and in all texts of scans, in class folders and manifests, seen in a real browser."""

import csv
import io
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from playwright.sync_api import Browser, Error, Locator, Page

from sslmri.project import DEFAULT_MODEL
from tests.harness.browser import CHROMIUM, browse, settle
from tests.soak.payloads import SIGN, Payload, sign, some
from tests.soak.result import Row, row
from tests.soak.samples import KINDS, sample
from tests.soak.sessions import dashboard
from tests.soak.watched import Watch, as_sent, shown, watched

_HAZARD = "texts in names, tags, entries, class folders and manifests, in a browser without its policy: one runs"
_COMPARED = 60  # letters of a payload, the last, that a page must show as they are
PAGES = ("screening", "cohort", "data")
Numbered = tuple[int, Payload]
_File = tuple[str, bytes]


def in_browser(count: int = 60, model: Path = DEFAULT_MODEL) -> Row:
    """Returns how many texts did more in a real browser than stand there letter by letter."""
    if not CHROMIUM.exists():
        return row(_HAZARD, 0, [], f"no browser at {CHROMIUM}")
    with dashboard(model) as server, browse() as browser:
        return in_pages(browser, server.address, count)


def in_pages(browser: Browser, address: str, count: int, pages: Sequence[str] = PAGES) -> Row:
    """Returns how many texts did more in pages of a running server than stand there letter by letter.

    Each is the name of a sound scan, stands in all its tags and entries, and is the name of a broken file, on the pages
    that screen; then it is a path typed on the Data page, a class in a manifest named there, and in another one cohort,
    group, file and the folder above the folder of a class.
    """
    faults: list[str] = []
    with watched(browser, address) as watch:
        for page in pages:
            together, try_on = _TRIES[page]
            for batch in batches(some(count), together):
                faults += _until_it_stops(try_on(watch, batch))
    return row(_HAZARD, count, faults, f"on the pages {', '.join(pages)}")


def _until_it_stops(found: Iterator[str]) -> Iterator[str]:
    try:
        yield from found
    except Error as error:  # something that a page has always shown has not come
        yield f"stopped: {str(error).splitlines()[0]}"


def batches(payloads: Sequence[Payload], together: int) -> list[list[Numbered]]:
    """Returns numbered payloads, few at a time."""
    numbered = list(enumerate(payloads))
    return [numbered[start : start + together] for start in range(0, len(numbered), together)]


def sound(number: int, payload: Payload) -> _File:
    """Returns the name and content of a scan that can be screened, the payload in its name and in all its texts."""
    kind = KINDS[number % len(KINDS)]
    text = payload.text.encode("latin-1", errors="replace").decode("latin-1") if kind == "PNG" else payload.text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tags longer than their kind may be, and one entry name twice
        name, data = sample(kind, number, text)
    return payload.named(number, name.removeprefix(f"{text}.")), data


def broken(number: int, payload: Payload) -> _File:
    """Returns the name and content of a file that is refused: a text, or a zip of one."""
    data = f"notes {number} {payload.text}".encode()
    if number % 2 == 0:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(payload.text, data)
        data = file.getvalue()
    return payload.named(number, "txt"), data


def _screen(watch: Watch, batch: Sequence[Numbered]) -> Iterator[str]:
    """Yields the faults of the Screening page with the sound and the broken scans of a batch."""
    names = _names(batch)
    page = watch.open()
    _upload(page, batch)
    page.get_by_test_id("stText").first.wait_for()
    settle(page)
    yield from _missing(batch, page.get_by_test_id("stAlert").all_inner_texts(), "in a refusal")
    yield from watch.check(names)
    tiles = " ".join(_tiles(page).all_inner_texts())
    for number in map(int, SIGN.findall(tiles)) if tiles else [batch[-1][0]]:
        _choose(page, number)
        yield from watch.check(names)
        if number in names:
            yield from _missing([batch[number - batch[0][0]]], page.get_by_test_id("stText").all_inner_texts(), "")


def _list(watch: Watch, batch: Sequence[Numbered]) -> Iterator[str]:
    """Yields the faults of the Cohort page with those scans, and of the Screening page with one, opened there."""
    names = _names(batch)
    page = watch.open("cohort")
    _upload(page, batch)
    page.get_by_role("button", name="Clear the list").wait_for()
    settle(page)
    yield from watch.check(names)
    yield from _all_missing(batch, watch.texts(), "in the list")
    page.get_by_test_id("stDataFrame").first.locator(".dvn-scroller").click(position={"x": 160, "y": 60})
    page.get_by_text("Opened from Cohort").wait_for()
    page.get_by_test_id("stText").first.wait_for()
    settle(page)
    yield from watch.check(names)
    yield from _all_missing(batch, [text for text in watch.texts() if "Opened from" in text], "as opened")


def _summarise(watch: Watch, batch: Sequence[Numbered]) -> Iterator[str]:
    """Yields the faults of the Data page: the payloads as paths, as classes in a manifest, then as all else in one."""
    page = watch.open("data")
    alert = page.get_by_test_id("stAlert")
    with tempfile.TemporaryDirectory() as folder:
        for number, payload in batch:
            own = alert.filter(has_text=sign(number))
            _name_data(page, payload.named(number, ""), own.or_(alert.filter(has_text="This is not a path")))
            yield from watch.check(_names(batch))
            label = f"{payload.text} {sign(number)}".replace("\0", "")
            manifest = write_manifest(Path(folder, str(number)), [(number, payload)], label=label)
            _name_data(page, manifest, own.filter(has_text="Expected a label"))
            yield from watch.check({number: repr(label)[1:-1][-_COMPARED:]} if payload.is_plain else {})
        _name_data(page, write_manifest(Path(folder, "all"), batch), page.get_by_text("Records by cohort and use"))
        settle(page)
    yield from watch.check(_names(batch))
    yield from _missing(batch, watch.texts(), "in the tables")


def _name_data(page: Page, path: object, answer: Locator) -> None:
    """Types a path on the Data page and waits for the answer."""
    field = page.get_by_role("textbox", name="Data source")
    field.fill(str(path))
    field.press("Enter")
    answer.wait_for()


def write_manifest(folder: Path, batch: Sequence[Numbered], has_broken: bool = True, label: str = "glioma") -> Path:
    """Writes a sound file for each payload, and a broken one where asked, and returns the manifest that names them.

    Each lies in the folder of a class below one that is named by the payload.
    """
    kinds = {"png": sample("PNG", 0, "plain")[1], "txt": b"notes"}
    folder.mkdir(exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "cohort", "disease", "label", "group"))
        for number, payload in batch:
            place = folder / on_disk(payload, number, "x") / "glioma"
            place.mkdir(parents=True)
            for suffix in list(kinds)[: 1 + has_broken]:
                path = place / on_disk(payload, number, suffix)
                path.write_bytes(kinds[suffix])
                group = f"{payload.text}{suffix}".replace("\0", "")
                writer.writerow((path.relative_to(folder), path.stem, "tumours", label, group))
    return folder / "manifest.csv"


def on_disk(payload: Payload, number: int, suffix: str) -> str:
    """Returns a payload as a name that this machine's disk can have; the end of a long one counts."""
    return payload.named(number, suffix).replace("\0", "")[-80:]


def _names(batch: Sequence[Numbered]) -> dict[int, str]:
    """Returns what a place that shows a payload's sign must show before it."""
    return {n: payload.named(n, "").removesuffix(".")[-_COMPARED:] for n, payload in batch if payload.is_plain}


def _missing(batch: Sequence[Numbered], texts: Sequence[str], where: str) -> Iterator[str]:
    """Yields a line for each payload that no text shows."""
    seen = "\n".join(map(shown, texts))
    for number, name in _names(batch).items():
        if shown(name) not in seen and shown(as_sent(name)) not in seen:
            yield f"{name!r} ({number}) is not shown {where}"


def _all_missing(batch: Sequence[Numbered], texts: Sequence[str], where: str) -> Iterator[str]:
    """Yields a line where no text shows any of the payloads: which of them is in sight depends on their findings."""
    missing = list(_missing(batch, texts, where))
    if missing and len(missing) == len(_names(batch)):
        yield missing[0]


def _upload(page: Page, batch: Sequence[Numbered]) -> None:
    files = [make(number, payload) for make in (sound, broken) for number, payload in batch]
    given = [{"name": name, "mimeType": "application/octet-stream", "buffer": data} for name, data in files]
    page.locator("input[type=file]").set_input_files(given)  # type: ignore[arg-type]


def _tiles(page: Page) -> Locator:
    """Returns the buttons that bring a scan into view; none where there is one scan."""
    return page.locator("[class*=row-view-] button")


def _choose(page: Page, number: int) -> None:
    """Brings a scan into view."""
    if _tiles(page).count():
        _tiles(page).filter(has_text=sign(number)).first.click()  # drawn twice for a moment
    page.get_by_test_id("stText").filter(has_text=sign(number)).first.wait_for()  # while drawn again, twice
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()


_TRIES = {
    "screening": (4, _screen),
    "cohort": (30, _list),
    "data": (10, _summarise),
}  # payloads at once: a list begins with no DICOM
