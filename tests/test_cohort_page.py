"""The cohort page: many scans in, one list out, that is sorted, filtered, opened and saved; nothing of it is shared."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from sslmri.dashboard.cohort import session as cohorts
from sslmri.dashboard.cohort.cohort_tables import class_counts, filtered, findings_table, status_counts
from sslmri.dashboard.cohort.session import Cohort, Row, accept, screen_into, time_left
from sslmri.dashboard.screening.intake import HANDED_OVER
from sslmri.dashboard.screening.state import Upload
from sslmri.diseases import DISEASES
from sslmri.models.cards import ModelCard, read_model_card
from sslmri.screening.report.export import report_json
from sslmri.screening.report.report_data import Refusal
from sslmri.screening.screener import Screener
from tests.dicom_files import axial_series

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 300


@pytest.fixture
def configured(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    monkeypatch.setenv("SSLMRI_MODEL", str(model_folder))
    return read_model_card(model_folder)


@pytest.fixture(scope="module")
def screener(model_folder: Path) -> Screener:
    return Screener.load(model_folder)


def head(seed: int = 0) -> np.ndarray:
    rows, columns = np.mgrid[0:96, 0:80]
    inside = ((rows - 50) / 36) ** 2 + ((columns - 41) / 27) ** 2 < 1
    return np.where(inside, 130 + 60 * np.sin(rows / (5 + seed)) * np.cos(columns / 7), 0)


def png(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(head(seed).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def open_page() -> AppTest:
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=TIMEOUT_S).run().switch_page("pages/cohort.py").run()


def drop(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    app.file_uploader[0].set_value([(name, data, "image/png") for name, data in files])
    return app.run()


def listed(app: AppTest) -> pd.DataFrame:
    return next(table.value for table in app.dataframe if "status" in table.value.columns)


def words_of(app: AppTest) -> str:
    parts = (app.markdown, app.caption, app.info, app.warning, app.error)
    return " ".join(str(element.value) for part in parts for element in part)


def choose(app: AppTest, label: str, values: list[str]) -> None:
    next(group for group in app.button_group if group.label == label).set_value(values).run()
    assert not app.exception


@pytest.fixture
def two_and_a_bad_one(configured: ModelCard) -> AppTest:
    return drop(open_page(), ("a.png", png(0)), ("notes.png", b"just some notes"), ("b.png", png(2)))


def test_the_page_without_scans_says_what_to_do(configured: ModelCard) -> None:
    app = open_page()
    assert not app.exception
    assert "Drop the scans" in app.info[0].value
    assert not app.dataframe


def test_one_bad_file_among_good_ones_is_a_row_that_says_why(two_and_a_bad_one: AppTest) -> None:
    app = two_and_a_bad_one
    assert not app.exception
    table = listed(app)
    assert len(table) == 2 * len(DISEASES) + 1
    (refused,) = table[table["status"] == "refused"].to_dict("records")
    assert (refused["scan"], refused["file"]) == (2, "notes.png")
    assert refused["note"].startswith("Expected a ")
    assert pd.isna(refused["probability"])
    assert "**2 scans** screened, 1 refused" in words_of(app)
    assert len(app.get("plotly_chart")) == 2
    assert [button.label for button in app.get("download_button")][:3] == ["Report, PDF", "Report, CSV", "Report, JSON"]


def test_the_uploader_is_emptied_and_later_files_are_added(two_and_a_bad_one: AppTest) -> None:
    app = drop(two_and_a_bad_one, ("c.png", png(3)), ("a again.png", png(0)))
    assert listed(app)["scan"].unique().tolist() == [1, 2, 3, 4]
    assert "a again.png" not in set(listed(app)["file"])


def test_filters_leave_what_they_name_and_clearing_forgets_all(two_and_a_bad_one: AppTest) -> None:
    app = two_and_a_bad_one
    choose(app, "Disease", ["Tumour"])
    assert set(listed(app)["disease"]) == {"Tumour"}
    choose(app, "Disease", [])
    choose(app, "Status", ["refused"])
    assert listed(app)["file"].tolist() == ["notes.png"]
    assert "Every finding of the 1 scan listed" in words_of(app)
    next(button for button in app.button if button.label == "Clear the list").click().run()
    assert not app.dataframe
    assert app.info


def test_a_chosen_row_opens_its_scan_on_the_screening_page(two_and_a_bad_one: AppTest) -> None:
    app = two_and_a_bad_one
    key = next(table.key for table in app.dataframe if str(table.key).startswith("cohort-table"))
    last = len(listed(app)) - 1
    app.session_state[key] = {"selection": {"rows": [last], "columns": [], "cells": []}}
    app.run()
    next(button for button in app.button if button.label == "Open scan 3 in Screening").click().run()
    assert not app.exception
    handed_over = app.session_state[HANDED_OVER]
    assert (handed_over.name, handed_over.data) == ("b.png", png(2))
    assert app.title[0].value == "Screening"


def screened(screener: Screener, *uploads: Upload) -> Cohort:
    cohort = Cohort(screener.card.sha256)
    for _ in screen_into(screener, cohort, accept(cohort, uploads)):
        pass
    return cohort


def test_loose_dicom_files_of_one_series_are_one_scan(screener: Screener) -> None:
    voxels = np.stack([head(seed) for seed in range(4)]).astype(np.uint16)
    files = [Upload(name, data) for name, data in axial_series(voxels)]
    cohort = screened(screener, files[2], Upload("a.png", png()), files[0], files[3], files[1])
    assert [row.name for row in cohort.rows.values()] == ["DICOM series of 4 files", "a.png"]
    first = next(iter(cohort.rows.values())).scan
    assert not isinstance(first, Refusal)
    assert (first.screening.n_file_slices, first.screening.source) == (4, "DICOM")
    assert len(cohort.kept[1].parts) == 4


def test_only_few_files_are_kept_and_no_more_than_the_limits_are_taken(screener: Screener, monkeypatch) -> None:
    one = len(png(0))
    monkeypatch.setattr(cohorts, "MAX_KEPT_BYTES", one + 5)
    monkeypatch.setattr(cohorts, "MAX_SCANS", 2)
    cohort = screened(screener, *(Upload(f"{seed}.png", png(seed)) for seed in range(4)))
    assert len(cohort.rows) == 2
    assert list(cohort.kept) == [1]
    assert cohort.note == "2 scans beyond 2 left out: clear the list to screen them."
    monkeypatch.setattr(cohorts, "MAX_GIVEN_BYTES", one + 5)
    assert len(accept(Cohort(""), [Upload("a", png(0)), Upload("b", png(1))])) == 1


def test_time_left_is_told_for_every_scan_but_is_nothing_after_the_last(screener: Screener) -> None:
    cohort = Cohort(screener.card.sha256)
    steps = list(screen_into(screener, cohort, [Upload("a", png(0)), Upload("b", png(1))]))
    assert [done for done, _ in steps] == [1, 2]
    assert steps[0][1] > 0
    assert steps[1][1] == 0


@pytest.mark.parametrize(
    ("seconds", "says"), [(2, "a few seconds left"), (41, "about 40 s left"), (200, "about 3 min left")]
)
def test_time_left_in_words(seconds: float, says: str) -> None:
    assert time_left(seconds) == says


def silent(rows: list[Row]) -> list[Row]:
    """Returns rows whose first finding does not apply."""
    from dataclasses import replace

    def without(row: Row) -> Row:
        sheet: Any = row.scan
        first, *others = sheet.screening.findings
        findings = (replace(first, applicable=False, reason="of another kind"), *others)
        return replace(row, scan=replace(sheet, screening=replace(sheet.screening, findings=findings)))

    return [without(row) for row in rows]


def test_a_head_that_does_not_apply_has_no_number_and_is_counted_apart(screener: Screener) -> None:
    rows = silent(list(screened(screener, Upload("a", png(0)), Upload("b", png(1))).rows.values()))
    table = findings_table(rows)
    first = DISEASES[next(iter(screener.card.heads))].title
    own = table[table["disease"] == first]
    assert own["status"].tolist() == ["does not apply"] * 2
    assert own[["probability", "any disease"]].isna().all().all()
    assert own["note"].tolist() == ["of another kind"] * 2
    assert filtered(table, ["does not apply"], []).equals(own)
    assert first not in set(class_counts(table)["disease"])
    assert status_counts(table).set_index("disease").loc[first, "scans"] == 2


def test_an_export_names_scans_by_their_number_in_the_list_and_never_by_file(screener: Screener) -> None:
    cohort = screened(screener, Upload("DOE.png", png(0)), Upload("ROE.png", b"notes"))
    rows = list(cohort.rows.values())
    content = report_json(screener.card, [row.scan for row in rows], None, [row.number for row in rows])
    assert [entry["scan"] for entry in json.loads(content)["scans"]] == [1, 2]
    assert b"DOE" not in content
    assert b"ROE" not in content
