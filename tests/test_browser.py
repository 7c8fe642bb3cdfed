"""A user uploads, sees, uploads again: the real server and a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect

from sslmri.cohorts.simulated import finding_slices, simulate_subject, slice_png
from sslmri.diseases import DISEASES
from tests.browser import CHROMIUM, LONG_MS, browse, open_page, serve, settle

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browse() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(model_folder: Path) -> Iterator[str]:
    with serve(model_folder) as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    page = open_page(browser, address)
    yield page
    page.close()


@pytest.fixture(scope="module")
def slices() -> dict[str, bytes]:
    """Returns two different simulated slices by file name."""
    made = {}
    for name, label in (("first patient.png", "glioma"), ("second patient.png", "meningioma")):
        subject = simulate_subject("tumours", label, 7)
        made[name] = slice_png(subject, finding_slices(subject, 3)[1])
    return made


def upload(page: Page, name: str, data: bytes) -> None:
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})
    page.wait_for_timeout(500)
    settle(page)


def remove_uploads(page: Page) -> None:
    buttons = (
        page.get_by_test_id("stFileChipDeleteBtn")
        .locator("button")
        .or_(page.locator("button[data-testid=stFileChipDeleteBtn]"))
    )
    expect(buttons).not_to_have_count(0)
    while count := buttons.count():
        buttons.first.click()
        expect(buttons).to_have_count(count - 1, timeout=LONG_MS)
    settle(page)


def map_address(page: Page) -> str:
    picture = page.get_by_role("img", name="Map of")
    expect(picture).to_have_count(1, timeout=LONG_MS)
    return str(picture.get_attribute("src"))


def shown_name(page: Page) -> str:
    return page.get_by_test_id("stText").first.inner_text()


def test_second_upload_shows_only_its_own_name_and_map(page: Page, slices: dict[str, bytes]) -> None:
    (first, first_data), (second, second_data) = slices.items()
    upload(page, first, first_data)
    for disease in DISEASES.values():
        expect(page.get_by_text(disease.caveat)).to_be_visible(timeout=LONG_MS)
    assert shown_name(page) == first
    first_map = map_address(page)
    remove_uploads(page)
    upload(page, second, second_data)
    assert map_address(page) != first_map
    assert shown_name(page) == second
    assert page.get_by_text(first).count() == 0


def test_text_file_named_png_is_one_sentence_and_the_next_file_works(page: Page, slices: dict[str, bytes]) -> None:
    upload(page, "notes.png", b"these are notes, no picture\n")
    alert = page.get_by_test_id("stAlertContentError")
    expect(alert).to_have_count(1, timeout=LONG_MS)
    assert "notes.png" in alert.inner_text().replace("\u2060", "")
    assert "Traceback" not in page.content()
    remove_uploads(page)
    name, data = next(iter(slices.items()))
    upload(page, name, data)
    map_address(page)
    expect(alert).to_have_count(0)


def test_markup_in_a_file_name_stays_text(page: Page, slices: dict[str, bytes]) -> None:
    name = "<img src=x onerror=alert(1)> **bold** :red[x].png"
    upload(page, name, next(iter(slices.values())))
    map_address(page)
    assert shown_name(page) == name
    assert page.locator("img[src=x]").count() == 0


def test_findings_are_saved_under_a_random_name(page: Page, slices: dict[str, bytes]) -> None:
    name, data = next(iter(slices.items()))
    upload(page, name, data)
    map_address(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Findings, CSV").click()
    assert "patient" not in download.value.suggested_filename
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert len(text.splitlines()) == 1 + sum(len(disease.classes) for disease in DISEASES.values())


def test_fresh_server_asked_for_another_page_first_takes_the_router(browser: Browser) -> None:
    with serve(None) as address:
        page = open_page(browser, f"{address}/data")
        expect(page.get_by_test_id("stTopNavLink")).to_have_count(4, timeout=LONG_MS)
        expect(page.get_by_test_id("stSidebar")).to_have_count(0)
        page.close()
