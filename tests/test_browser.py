"""A user uploads, sees, uploads again: the real server and a real browser."""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pypdfium2
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect

from sslmri.cohorts.simulated import finding_slices, simulate_subject, slice_png
from sslmri.diseases import DISEASES
from tests.harness.browser import CHROMIUM, LONG_MS, browse, open_page, serve, settle
from tests.harness.dicom_files import axial_series

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


@pytest.fixture(scope="module")
def series() -> bytes:
    """Returns a simulated volume as a zip of the slices of a DICOM series, of 12-bit values."""
    subject = simulate_subject("tumours", "glioma", 7)
    middle = finding_slices(subject, 3)[1]
    voxels = (subject.volume[middle - 12 : middle + 12] * 4095).astype(np.uint16)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in axial_series(voxels):
            archive.writestr(name, data)
    return file.getvalue()


def upload(page: Page, name: str, data: bytes) -> None:
    uploader = page.locator("input[type=file]")
    expect(uploader).to_have_count(1, timeout=LONG_MS)  # for a moment the former drawing is still there
    uploader.set_input_files({"name": name, "mimeType": "image/png", "buffer": data})
    page.wait_for_timeout(500)
    settle(page)


def remove_uploads(page: Page) -> None:
    page.get_by_text("Open another scan").click()
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


def drawn(page: Page) -> str:
    """Returns the picture that the viewer shows, as a data address."""
    picture = page.get_by_role("img", name=re.compile("^(Map of|The scan)"))
    expect(picture).to_have_count(1, timeout=LONG_MS)
    page.wait_for_timeout(300)
    return str(picture.evaluate("canvas => canvas.toDataURL()"))


def shown_name(page: Page) -> str:
    return page.get_by_test_id("stText").first.inner_text()


def test_second_upload_shows_only_its_own_name_and_map(page: Page, slices: dict[str, bytes]) -> None:
    (first, first_data), (second, second_data) = slices.items()
    upload(page, first, first_data)
    for disease in DISEASES.values():
        expect(page.get_by_text(disease.caveat)).to_have_count(1, timeout=LONG_MS)
    assert shown_name(page) == first
    first_map = drawn(page)
    remove_uploads(page)
    upload(page, second, second_data)
    assert drawn(page) != first_map
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
    drawn(page)
    expect(alert).to_have_count(0)


def test_markup_in_a_file_name_stays_text(page: Page, slices: dict[str, bytes]) -> None:
    name = "<img src=x onerror=alert(1)> **bold** :red[x].png"
    upload(page, name, next(iter(slices.values())))
    drawn(page)
    assert shown_name(page) == name
    assert page.locator("img[src=x]").count() == 0


def test_findings_are_saved_under_a_random_name(page: Page, slices: dict[str, bytes]) -> None:
    name, data = next(iter(slices.items()))
    upload(page, name, data)
    drawn(page)
    text = saved(page, "CSV").decode("utf-8")
    assert len(text.splitlines()) == 1 + len(DISEASES)
    assert Path(name).stem not in text


def saved(page: Page, kind: str) -> bytes:
    """Returns the report that the page saves, under a name that says nothing of the patient."""
    settle(page)  # a button of a former drawing has no file any more
    with page.expect_download(timeout=LONG_MS) as download:
        page.get_by_role("button", name=f"Report, {kind}").click()
    assert re.fullmatch(rf"report-[0-9a-f]{{12}}\.{kind.lower()}", download.value.suggested_filename)
    return Path(download.value.path()).read_bytes()


def slice_in_view(page: Page) -> int:
    """Returns the number of the slice in view, once slider and picture agree on it."""
    slider = page.get_by_role("slider", name="Slice")
    expect(slider).to_have_count(1, timeout=LONG_MS)
    settle(page)
    number = int(slider.get_attribute("aria-valuetext") or -1)
    expect(page.get_by_role("img", name=re.compile(f"^(Map of|The scan).* slice {number} of 24$"))).to_have_count(
        1, timeout=LONG_MS
    )
    return number


def test_a_series_is_read_leafed_through_read_otherwise_and_reported_and_the_next_patient_starts_afresh(
    page: Page, series: bytes, slices: dict[str, bytes]
) -> None:
    upload(page, "first patient.zip", series)
    first = slice_in_view(page)
    page.get_by_role("slider", name="Slice").focus()
    step = -1 if first > 12 else 1
    page.keyboard.press("ArrowLeft" if first > 12 else "ArrowRight")
    assert slice_in_view(page) == first + step
    picture = page.get_by_role("img", name=re.compile("^(Map of|The scan)"))
    picture.hover()
    page.mouse.wheel(0, 100 * step)
    assert slice_in_view(page) == first + 2 * step
    bars = page.locator(".strip rect")
    (bars.first if first > 12 else bars.last).click(force=True)  # on the other side of the scan
    assert abs(slice_in_view(page) - first) > 2
    before = drawn(page)
    picture.hover()
    page.mouse.down()
    page.mouse.move(400, 300)
    page.mouse.up()
    assert drawn(page) != before  # by its window
    page.keyboard.press("r")
    assert drawn(page) == before
    page.get_by_text("Tumour: not shown").click()  # the evidence for a model of a few slices is insufficient
    page.get_by_role("button", name="Cannot tell").or_(page.get_by_role("radio", name="Cannot tell")).first.click()
    page.get_by_role("textbox", name="Your words on").fill("seen on the next slice")
    page.keyboard.press("Enter")
    settle(page)
    page.get_by_role("textbox", name="Your initials").fill("AB")
    page.keyboard.press("Enter")
    page.get_by_text("In the report: 1 reading by AB").wait_for(timeout=LONG_MS)
    assert "seen on the next slice" in saved(page, "JSON").decode("utf-8")
    report = pypdfium2.PdfDocument(saved(page, "PDF"))
    text = " ".join(" ".join(sheet.get_textpage().get_text_bounded() for sheet in report).split())
    for said in ("Any tumour", "flagged from", "Reading of AB", "cannot tell", "seen on the next slice"):
        assert said in text
    remove_uploads(page)
    name, data = next(reversed(slices.items()))
    upload(page, name, data)
    drawn(page)
    assert shown_name(page) == name
    for gone in ("first patient", "of 24", "In the report"):
        assert gone not in page.content()
    expect(page.get_by_role("textbox", name="Your words on")).to_have_count(0)


def test_fresh_server_asked_for_another_page_first_takes_the_router(browser: Browser) -> None:
    with serve(None) as address:
        page = open_page(browser, f"{address}/data")
        expect(page.get_by_test_id("stTopNavLink")).to_have_count(6, timeout=LONG_MS)
        expect(page.get_by_test_id("stSidebar")).to_have_count(0)
        page.close()
