"""A disease that a TOML file defines reaches every command, report and page, and its model needs no file."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from sslmri.cohorts.manifest import read_manifest
from sslmri.diseases import DISEASES, VARIABLE, load_diseases
from sslmri.errors import ManifestError, ModelError
from sslmri.models.folder import read_model_card
from sslmri.project import run_app
from tests.own_disease import KEY, command, draw_slices, write_definition
from tests.pages import PAGES, open_page, words_of
from tests.test_report import pages_of

TINY = ("--finetune.epochs", "1", "--finetune.labels-per-class", "8", "--finetune.batch-size", "16")
TITLE = "Small vessel disease"


@pytest.fixture(scope="module", autouse=True)
def built_in() -> Iterator[dict]:
    """Gives the diseases that are built in, and leaves them alone at the end."""
    before = DISEASES.data
    yield before
    DISEASES.data = before


@pytest.fixture(scope="module")
def definition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_definition(tmp_path_factory.mktemp("own") / "mine.toml")


@pytest.fixture(scope="module")
def slices(definition: Path) -> Path:
    """Returns the folder of drawn slices, with the manifest that the command makes of it."""
    folder = draw_slices(definition.parent / "slices")
    assert command("sslmri", "manifest", folder, "--cohort", KEY, "--diseases", definition) == 0
    return folder


@pytest.fixture(scope="module")
def run(slices: Path, definition: Path, gated_folder: Path, built_in: dict) -> Path:
    """Returns a run whose model learned the disease, and nothing else, from the tiny model; its results are there."""
    run = definition.parent / "run"
    named = ("--data", slices / "manifest.csv", "--run", run, "--cache", run / "cache")
    assert command("train.py", "finetune", "--start", gated_folder, "--diseases", definition, *named, *TINY) == 0
    DISEASES.data = built_in
    assert command("train.py", "evaluate", *named) == 0
    return run


def test_a_folder_for_each_class_becomes_a_manifest_that_can_be_audited(
    slices: Path, definition: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(slices / "manifest.csv")
    assert table.groupby("label")["group"].nunique().to_dict() == {"no_lesions": 10, "white_matter_lesions": 10}
    cache = slices.parent / "cache"
    code = command("sslmri", "audit", slices / "manifest.csv", "--diseases", definition, "--cache", cache)
    assert code == 0, capsys.readouterr().out


def test_a_model_brings_its_own_diseases(run: Path, built_in: dict, definition: Path) -> None:
    DISEASES.data = built_in
    card = read_model_card(run)
    assert list(card.heads) == [KEY]
    learned = DISEASES[KEY]
    load_diseases(definition)
    assert learned == DISEASES[KEY] == card.heads[KEY].definition


def test_a_scan_is_screened_and_reported_without_the_file(
    run: Path, slices: Path, built_in: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DISEASES.data = built_in
    scan = next((slices / "white matter lesions").rglob("*.png"))
    csv, report = tmp_path / "findings.csv", tmp_path / "report.pdf"
    assert command("sslmri", "screen", scan, "--model", run, "--csv", csv, "--report", report) == 0
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["disease"] == KEY
    table = pd.read_csv(csv)
    assert [name for name in table.columns if name.startswith("probabilities")] == [
        "probabilities.no_lesions",
        "probabilities.white_matter_lesions",
    ]
    assert any(TITLE in page for page in pages_of(report.read_bytes()))


def test_a_manifest_of_it_is_validated(run: Path, slices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("sslmri", "validate", slices / "manifest.csv", "--model", run) == 0
    assert TITLE in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES)
def test_every_page_shows_it(page: str, run: Path, slices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLMRI_MODEL", str(run))
    app = open_page(page)
    if app.file_uploader:
        scan = next((slices / "white matter lesions").rglob("*.png"))
        app.file_uploader[0].set_value([(scan.name, scan.read_bytes(), "image/png")])
        app.run()
    assert not app.exception
    assert not app.error
    choices = [str(option) for group in (*app.segmented_control, *app.pills) for option in group.options]
    shown = (
        words_of(app) + " ".join(choices) + " ".join(table.value.to_string() for table in (*app.table, *app.dataframe))
    )
    assert TITLE in shown


def test_a_simulated_patient_of_another_disease_opens_too(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLMRI_MODEL", str(run))
    app = open_page(PAGES[0])
    next(button for button in app.button if button.key == "open-glioma").click().run()
    assert not app.exception
    assert "no classifier of Tumour" in words_of(app)


def test_the_dashboard_is_given_the_file(definition: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runpy.run_module", lambda *_, **__: None)
    monkeypatch.setenv(VARIABLE, "")
    assert run_app(["--diseases", str(definition), "--server.port", "8600"]) == 0
    assert sys.argv[3:] == ["--server.port", "8600"]
    load_diseases()
    assert KEY in DISEASES


BASE = """[[disease]]
key = "stroke"
title = "Stroke"
classes = ["no_stroke", "stroke"]
question = "Signs of a stroke"
sequences = "axial FLAIR"
caveat = "Few patients."
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BASE + BASE, "Expected each key once in .*, got stroke twice: choose another key"),
        (BASE.replace('"no_stroke", ', ""), "two to 20 classes, each once, not 1"),
        (BASE.replace('"no_stroke"', '"stroke"'), "two to 20 classes, each once, not 2"),
        (BASE.replace('"stroke"\n', '"ms"\n'), "got ms, which is Multiple sclerosis with the classes normal"),
        (BASE.replace('"Stroke"', '"Tumour"'), "Expected each title once, got Tumour twice"),
        (BASE + 'colour = "red"\n', "got disease.0.colour: "),
        (BASE.replace('caveat = "Few patients."\n', ""), "got disease.0.caveat: Field required"),
        (BASE + "is_focal = 1\n", "got disease.0.is_focal: Input should be a valid boolean"),
        (BASE.replace('"stroke"\n', '"../stroke"\n'), "../stroke is no key: write another"),
        (BASE.replace('"Stroke"', '"<img>"'), "the texts of stroke have 1 to 300 characters, none of them markup"),
        (BASE + "key =", "in the TOML file .*, got Invalid value"),
        ("", "got disease: Field required"),
    ],
)
def test_a_bad_file_is_one_sentence(text: str, said: str, tmp_path: Path, built_in: dict) -> None:
    DISEASES.data = built_in
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ModelError, match=said) as refused:
        load_diseases(tmp_path / "mine.toml")
    assert "\n" not in str(refused.value)
    assert DISEASES.data is built_in


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none.toml"
    for program, *words in (("sslmri", "manifest", tmp_path, "--cohort", "x"), ("train.py", "finetune")):
        assert command(program, *words, "--diseases", missing) == 1
        said = capsys.readouterr().err
        assert (
            said == f"error: Expected diseases in the TOML file {missing}, got No such file or directory: correct it.\n"
        )


def test_other_classes_of_a_known_key_are_refused(run: Path, tmp_path: Path, built_in: dict) -> None:
    DISEASES.data = built_in
    (tmp_path / "mine.toml").write_text(BASE.replace('"stroke"\n', f'"{KEY}"\n'))
    load_diseases(tmp_path / "mine.toml")
    with pytest.raises(ModelError, match="choose another key, or start the program again"):
        read_model_card(run)


def test_a_page_says_that_the_file_of_its_server_is_bad(run: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "mine.toml").write_text("x")
    monkeypatch.setenv("SSLMRI_MODEL", str(run))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine.toml"))
    app = open_page("pages/about.py")
    assert not app.exception
    assert "Expected diseases in the TOML file" in app.info[0].value


def test_a_manifest_of_an_unknown_disease_is_refused(slices: Path, built_in: dict) -> None:
    DISEASES.data = built_in
    with pytest.raises(ManifestError, match="Expected a disease out of alzheimers, tumours, ms, parkinsons, got"):
        read_manifest(slices / "manifest.csv")
