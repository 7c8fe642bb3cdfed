"""What the tests of pages share: a page as a user meets it, without a browser."""

import io
import re
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from PIL import Image
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "pages/screening.py",
    "pages/cohort.py",
    "pages/data.py",
    "pages/performance.py",
    "pages/encoder.py",
    "pages/about.py",
)
TIMEOUT_S = 300


def open_page(page: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=TIMEOUT_S).run()
    return app if page == PAGES[0] else app.switch_page(page).run()


def words_of(app: AppTest) -> str:
    texts = (app.markdown, app.caption, app.info, app.error, app.warning, app.text, app.code)
    parts = (*texts, app.title, app.header, app.subheader)
    return " ".join(str(element.value) for part in parts for element in part)


def png(seed: int = 0) -> bytes:
    rows, columns = np.mgrid[0:96, 0:80]
    inside = ((rows - 50) / 36) ** 2 + ((columns - 41) / 27) ** 2 < 1
    texture = 130 + 60 * np.sin(rows / (5 + seed)) * np.cos(columns / 7)
    buffer = io.BytesIO()
    Image.fromarray(np.where(inside, texture, 0).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def nifti(seed: int = 0, n_slices: int = 16) -> bytes:
    """Returns a head-like volume of known orientation: slices of 4 mm, pixels of 2.5 x 2 mm."""
    page = np.asarray(Image.open(io.BytesIO(png(seed))), dtype=np.int16)
    size = np.sin(np.linspace(0.4, 2.7, n_slices))  # brighter in the middle: slices can be told apart
    voxels = np.stack([page * share for share in size]).astype(np.int16)
    affine = np.diag([-2.0, -2.5, 4.0, 1.0])  # columns towards left, rows towards posterior, slices upwards
    return bytes(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), affine).to_bytes())


def upload(*files: tuple[str, bytes]) -> AppTest:
    app = open_page(PAGES[0])
    app.file_uploader[0].set_value([(name, data, "image/png") for name, data in files])
    return app.run()


def choose(app: AppTest, label: str, value: str) -> None:
    next(group for group in app.button_group if group.label == label).set_value(value).run()
    assert not app.exception


def show(app: AppTest, tab: str) -> None:
    app.session_state["show"] = tab
    app.run()
    assert not app.exception


def table_of(app: AppTest, column: str) -> pd.DataFrame:
    return next(table for table in tables(app) if column in table.columns)


def tables(app: AppTest) -> list[pd.DataFrame]:
    """Returns the tables of a page, as their reader sees the text."""
    return [table.value.map(plain).rename(columns=plain) for table in app.table]


def plain(text: str) -> str:
    """Returns escaped text as its reader sees it."""
    return re.sub(r"\\(.)", r"\1", text.replace("\u2060", ""))
