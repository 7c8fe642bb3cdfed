"""The cohort page: many scans in, one worklist out, that is sorted, filtered, opened and saved; nothing is shared."""

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from sslmri.dashboard.cohort import session as cohorts
from sslmri.dashboard.cohort.sections import by_urgency, counts, filtered, worklist
from sslmri.dashboard.cohort.session import Cohort, accept, screen_into, time_left
from sslmri.dashboard.screening.uploads import HANDED_OVER, FileUpload, join_series
from sslmri.diseases import DISEASES
from sslmri.evidence.verdict import Verdict
from sslmri.models.cards import ModelCard
from sslmri.models.folder import read_model_card
from sslmri.screening.outcome import Entry, ScreeningSummary
from sslmri.screening.report.export import report_json
from sslmri.screening.screener import Screener
from sslmri.text import count
from tests.harness.dicom_files import axial_series
from tests.pages import table_of

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
    return app.dataframe[0].value


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
    assert "Drop up to 200 scans" in app.file_uploader[0].label
    assert not app.dataframe


def test_one_bad_file_among_good_ones_is_counted_apart_with_its_reason(two_and_a_bad_one: AppTest) -> None:
    app = two_and_a_bad_one
    assert not app.exception
    table = listed(app)
    assert sorted(table["Scan"]) == [1, 3]
    assert {disease.title for disease in DISEASES.values()} < set(table.columns)
    assert all(image.startswith("data:image/jpeg;base64,") for image in table["Image"])
    assert "**2 screened**, 0 not brain MRI, 1 refused" in words_of(app)
    apart = table_of(app, "Reason")
    assert (apart["Scan"].tolist(), apart["File"].tolist()) == (["2"], ["notes.png"])
    assert apart["Reason"].all()
    assert len(app.get("plotly_chart")) == 2
    reports = [button.label for button in app.get("download_button") if "Report" in button.label]
    assert reports == ["Report, PDF", "Report, CSV", "Report, JSON"]


def test_the_uploader_is_emptied_and_later_files_are_added(two_and_a_bad_one: AppTest) -> None:
    app = drop(two_and_a_bad_one, ("c.png", png(3)), ("a again.png", png(0)))
    assert sorted(listed(app)["Scan"]) == [1, 3, 4]
    assert "a again.png" not in set(listed(app)["File"])


def test_filters_leave_what_they_name_and_clearing_forgets_all(two_and_a_bad_one: AppTest) -> None:
    app = two_and_a_bad_one
    verdict = listed(app)["Tumour"].iloc[0].rpartition(" ")[0]
    choose(app, "Disease", ["Tumour"])
    choose(app, "Verdict", [verdict])
    assert all(answer.startswith(verdict) for answer in listed(app)["Tumour"])
    assert f"All findings of the {count(len(listed(app)), 'scan')} listed" in words_of(app)
    next(button for button in app.button if button.label == "Clear the list").click().run()
    assert not app.dataframe
    assert "screened" not in words_of(app)


def test_a_clicked_scan_opens_on_the_screening_page(two_and_a_bad_one: AppTest) -> None:
    app = two_and_a_bad_one
    key = next(table.key for table in app.dataframe if str(table.key).startswith("cohort-table"))
    row = listed(app)["Scan"].tolist().index(3)
    app.session_state[key] = {"selection": {"rows": [], "columns": [], "cells": [(row, "File")]}}
    app.run()
    assert not app.exception
    handed_over = app.session_state[HANDED_OVER]
    assert (handed_over.name, handed_over.sha256) == ("b.png", hashlib.sha256(png(2)).hexdigest())
    assert app.title[0].value == "Screening"


def screened(screener: Screener, *uploads: FileUpload) -> Cohort:
    cohort = Cohort(screener.card.sha256)
    for _ in screen_into(screener, cohort, accept(cohort, uploads)):
        pass
    return cohort


def test_loose_dicom_files_of_one_series_are_one_scan(screener: Screener) -> None:
    voxels = np.stack([head(seed) for seed in range(4)]).astype(np.uint16)
    files = [FileUpload(name, data) for name, data in axial_series(voxels)]
    cohort = screened(screener, files[2], FileUpload("a.png", png()), files[0], files[3], files[1])
    assert list(cohort.names.values()) == ["DICOM series of 4 files", "a.png"]
    first = next(iter(cohort.entries.values()))
    assert isinstance(first.outcome, ScreeningSummary)
    assert (first.outcome.n_file_slices, first.outcome.source, first.n_files) == (4, "DICOM", 4)
    assert cohort.kept[1].n_files == 4


def test_only_few_files_are_kept_and_no_more_than_the_limits_are_taken(screener: Screener, monkeypatch) -> None:
    one = len(png(0))
    monkeypatch.setattr(cohorts, "MAX_KEPT_BYTES", one + 5)
    monkeypatch.setattr(cohorts, "MAX_SCANS", 2)
    cohort = screened(screener, *(FileUpload(f"{seed}.png", png(seed)) for seed in range(4)))
    assert len(cohort.entries) == 2
    assert list(cohort.kept) == [1]
    assert cohort.note == "2 scans left out: the list holds 2. Clear it to screen more."


def test_time_left_is_told_for_every_scan_but_is_nothing_after_the_last(screener: Screener) -> None:
    cohort = Cohort(screener.card.sha256)
    steps = list(screen_into(screener, cohort, join_series([FileUpload("a", png(0)), FileUpload("b", png(1))])))
    assert [done for done, _ in steps] == [1, 2]
    assert steps[0][1] > 0
    assert steps[1][1] == 0


@pytest.mark.parametrize(
    ("seconds", "says"), [(2, "a few seconds left"), (41, "about 40 s left"), (200, "about 3 min left")]
)
def test_time_left_in_words(seconds: float, says: str) -> None:
    assert time_left(seconds) == says


def test_a_classifier_that_was_not_assessed_has_no_number_and_is_counted_apart(screener: Screener) -> None:
    cohort = screened(screener, FileUpload("a", png(0)), FileUpload("b", png(1)))
    entries = [without_first(entry) for entry in cohort.entries.values()]
    first, second, *_ = (disease.title for disease in DISEASES.values())
    table = worklist(entries, cohort.names, cohort.thumbnails)
    assert table[first].tolist() == ["not assessed"] * 2
    assert table[second].str.fullmatch(r"inconclusive [<>]?\d\.\d\d").all()
    assert filtered(entries, ["not assessed"], [first]) == entries
    assert filtered(entries, ["not assessed"], [second]) == []
    assert first not in set(counts(entries, "Top class")["Disease"])
    assert counts(entries, "Verdict").set_index("Disease").loc[first, "Scans"] == 2


def test_the_most_urgent_scan_comes_first_and_what_is_not_a_brain_is_not_listed(screener: Screener) -> None:
    cohort = screened(screener, *(FileUpload(str(seed), png(seed)) for seed in range(3)))
    calm, other, flagged = (without_first(entry) for entry in cohort.entries.values())
    assert isinstance(other.outcome, ScreeningSummary)
    assert isinstance(flagged.outcome, ScreeningSummary)
    other = replace(other, outcome=replace(other.outcome, reason="not a brain"))
    last = list(DISEASES)[-1]
    found = replace(flagged.outcome.findings[last], verdict=Verdict.FLAGGED)
    flagged = replace(flagged, outcome=replace(flagged.outcome, findings={**flagged.outcome.findings, last: found}))
    assert by_urgency([calm, other, flagged]) == [flagged, calm]


def without_first(entry: Entry) -> Entry:
    """Returns an entry whose first classifier alone was not assessed, and the others inconclusive."""
    assert isinstance(entry.outcome, ScreeningSummary)
    findings = {
        key: replace(finding, verdict=Verdict.INCONCLUSIVE, reason=None)
        for key, finding in entry.outcome.findings.items()
    }
    key = next(iter(findings))
    findings[key] = replace(findings[key], verdict=Verdict.NOT_ASSESSED, reason="of another kind")
    return replace(entry, outcome=replace(entry.outcome, findings=findings, reason=None))


def test_an_export_names_scans_by_their_number_in_the_list_and_never_by_file(screener: Screener) -> None:
    cohort = screened(screener, FileUpload("DOE.png", png(0)), FileUpload("ROE.png", b"notes"))
    content = report_json(screener.card, list(cohort.entries.values()), None)
    assert [scan["scan"] for scan in json.loads(content)["scans"]] == [1, 2]
    assert "file" not in json.loads(content)["scans"][0]
    assert b"DOE" not in content
    assert b"ROE" not in content
