"""Images of several slices are refused as such, and text outside the head gives a warning; single slices pass."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from sslmri.errors import ScanError
from sslmri.scans.image_content import check_content
from tests.conftest import SHARED, needs_shared
from tests.harness.parsing import parse_scan
from tests.nifti_files import make_head
from tests.test_archive import refusal_of, zipped
from tests.test_reading import encoded


def slice_at(z: int, side: int = 160) -> np.ndarray:
    page = np.pad(make_head()[z], ((0, 0), (8, 8)))
    return np.asarray(Image.fromarray(page).resize((side, side)))


def sheet(n_rows: int, n_columns: int, gap: int = 0, gap_value: int = 255) -> Image.Image:
    """Returns neighbouring slices side by side."""
    side = 160 + gap
    page = np.full((n_rows * side + gap, n_columns * side + gap), gap_value, np.uint8)
    for number in range(n_rows * n_columns):
        top, left = (gap + side * position for position in divmod(number, n_columns))
        page[top : top + 160, left : left + 160] = slice_at(12 + number)
    return Image.fromarray(page)


@pytest.mark.parametrize("layout", [(1, 2), (2, 1), (2, 2), (2, 3), (3, 3), (4, 4)])
@pytest.mark.parametrize("gap", [0, 6])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_several_slices_in_one_image_are_refused_as_such(layout, gap, kind):
    with pytest.raises(ScanError, match="several slices next to each other"):
        parse_scan(encoded(sheet(*layout, gap=gap), kind), "sheet")


def test_sheets_in_a_zip_file_are_refused_too():
    pages = [(f"{number}.png", encoded(sheet(2, 2), "PNG")) for number in range(3)]
    assert "several slices next to each other" in refusal_of(zipped(*pages))


@pytest.mark.parametrize("z", [4, 12, 18, 30])
def test_one_slice_is_one_slice_without_a_warning(z):
    assert check_content(slice_at(z)[None].astype(np.float32)) == ()
    assert check_content(np.rot90(slice_at(z), axes=(0, 1))[None].astype(np.float32)) == ()


@pytest.mark.parametrize(
    "page",
    [
        np.zeros((64, 64)),
        np.full((64, 64), 7.0),
        np.tile(np.arange(64.0), (64, 1)),
        np.random.default_rng(0).random((64, 64)),
        np.full((64, 64), np.nan),
        np.eye(8),
    ],
)
def test_what_shows_no_head_is_neither_several_slices_nor_text(page):
    assert check_content(page[None].astype(np.float32)) == ()


def annotated(side: int, *texts: str) -> Image.Image:
    image = Image.fromarray(slice_at(18, side))
    draw = ImageDraw.Draw(image)
    for line, text in enumerate(texts):
        draw.text((5, 5 + line * side // 30), text, 255, ImageFont.load_default(side // 36))
    return image


@pytest.mark.parametrize("side", [400, 640, 1500])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_text_beside_the_head_is_warned_of(side, kind):
    scan = parse_scan(encoded(annotated(side, "SE 4 IM 24", "TR 9000"), kind), "screenshot")
    (warning,) = scan.info.warnings
    assert "Text seems to be burned into the image" in warning


def test_a_letter_for_the_side_is_no_text():
    assert parse_scan(encoded(annotated(640, "R"), "PNG"), "screenshot").info.warnings == ()


@needs_shared("field")
def test_screenshots_and_sheets_as_people_bring_them():
    for folder in ("contact_sheets", "sheets_more"):
        for path in (SHARED / "field" / folder).iterdir():
            with pytest.raises(ScanError, match="several slices next to each other"):
                parse_scan(path.read_bytes(), path.name)
    for path in (SHARED / "field" / "screenshots").iterdir():
        warnings = parse_scan(path.read_bytes(), path.name).info.warnings
        assert any("burned into" in warning for warning in warnings) == ("texts" in path.name)
