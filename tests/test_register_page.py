"""Readings on the Screening page where a register is on, and the Agreement page that counts them."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from sslmri.models.cards import ModelCard
from sslmri.screening import register
from sslmri.screening.register import VARIABLE, Reading
from tests.pages import open_page, plain, png, tables, upload, words_of

AGREEMENT = "pages/agreement.py"
NOTICE = "This server has a register"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the file of an empty register, which is on now."""
    monkeypatch.setenv(VARIABLE, f"sqlite:///{tmp_path}/readings.db")
    return tmp_path / "readings.db"


def give(app: AppTest, reading: str, initials: str) -> None:
    next(own for own in app.button_group if str(own.key).startswith("reading-ms")).set_value(reading).run()
    next(own for own in app.text_input if str(own.key).startswith("initials-")).set_value(initials).run()
    assert not app.exception


def buttons(app: AppTest) -> list[str]:
    return [own.label for own in app.button if own.label.startswith("Record")]


def press(app: AppTest) -> None:
    next(own for own in app.button if own.label == "Record 1 reading").click().run()
    assert not app.exception


def test_without_a_register_nothing_is_recorded_and_no_page_speaks_of_one(configured: ModelCard) -> None:
    app = upload(("slice.png", png()))
    give(app, "multiple_sclerosis", "AB")
    assert NOTICE not in words_of(app)
    assert not buttons(app)


def test_a_reading_is_recorded_once_and_a_corrected_one_again(configured: ModelCard, database: Path) -> None:
    app = upload(("Doe_Jane.png", png()))
    assert NOTICE in words_of(app)
    give(app, "multiple_sclerosis", "ab")
    next(own for own in app.text_input if str(own.key).startswith("words-ms")).set_value("Jane, 1950").run()
    press(app)
    assert "Recorded: Multiple sclerosis (multiple sclerosis)." in plain(words_of(app))
    assert not buttons(app.run())
    (first,) = register.last_readings(configured.sha256)
    assert (first.disease, first.reading, first.initials) == ("ms", "multiple_sclerosis", "AB")
    give(app, "normal", "ab")
    press(app)
    (last,) = register.last_readings(configured.sha256)
    assert (last.reading, last.scan_sha256) == ("normal", first.scan_sha256)
    content = b"".join(path.read_bytes() for path in database.parent.glob("readings.db*"))
    assert b"AB" in content
    assert not [word for word in (b"Doe", b"Jane", b"1950", b"slice") if word in content]


def test_a_register_that_cannot_be_written_leaves_the_screening_and_names_what_was_not_kept(
    configured: ModelCard, database: Path
) -> None:
    database.mkdir()  # what cannot be opened as a file
    app = upload(("slice.png", png()))
    give(app, "multiple_sclerosis", "AB")
    press(app)
    (error,) = app.error
    assert "Not recorded, so press Record again later: Multiple sclerosis" in plain(error.value)
    assert "In the report: 1 reading by AB." in words_of(app)
    assert len(app.get("download_button")) == 3
    database.rmdir()
    press(app)
    assert not app.error
    assert len(register.last_readings(configured.sha256)) == 1


def test_the_agreement_page_counts_the_readings_with_this_model(configured: ModelCard, database: Path) -> None:
    assert "No reading with this model yet" in open_page(AGREEMENT).info[0].value
    said = {"AB": ["normal", "multiple_sclerosis"] * 3, "=C*": ["multiple_sclerosis"] * 6}
    for initials, readings in said.items():
        for scan, reading in enumerate(readings):
            verdict = "flagged" if scan % 2 else "not flagged"
            register.keep([Reading(f"{scan}", configured.sha256, "ms", initials, verdict, reading, "2026-11-30")])
    register.keep([Reading("0", "another model", "ms", "EF", "flagged", "normal", "2026-11-30")])
    app = open_page(AGREEMENT)
    assert not app.exception
    assert "12 readings of 6 scans by 2 readers." in words_of(app)
    (table,) = tables(app)
    assert table["Readers"].tolist() == ["=C*, model", "AB, model", "=C*, AB"]
    assert table["Scans"].tolist() == ["6 of 6"] * 3
    assert [text.partition(" ")[0] for text in table["Agreement"]] == ["0.50", "1.00", "0.50"]
    assert [text.partition(" ")[0] for text in table["Kappa"]] == ["0.00", "1.00", "0.00"]
    assert [button.label for button in app.get("download_button")] == ["Download CSV"]


def test_the_agreement_page_says_in_one_sentence_that_the_register_cannot_be_read(
    configured: ModelCard, database: Path
) -> None:
    database.mkdir()
    app = open_page(AGREEMENT)
    assert not app.exception
    assert "cannot be read or written" in app.error[0].value
