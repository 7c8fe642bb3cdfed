"""The pages show only evidence that is the model's own, say whose the rest is, and outlive what is damaged."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sslmri.cohorts.registry import COHORTS
from sslmri.dashboard.data import source
from sslmri.dashboard.data.source import read_named
from sslmri.dashboard.data.summary import files, find_summary, meaning_of_group
from sslmri.dashboard.performance import tables
from sslmri.dashboard.performance.sections import not_measured
from sslmri.dashboard.server import signin
from sslmri.dashboard.text import escape_markdown
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError, ModelError
from sslmri.files import write_json
from sslmri.models.evidence import (
    Controls,
    Metrics,
    find_evidence,
    find_history,
    find_unseen_metrics,
    read_evidence,
    write_evidence,
)
from sslmri.models.folder import read_model_card, write_model_file
from sslmri.models.metrics import BaselineMetrics, DiseaseControls, Estimate, Rate, ShortcutMetrics
from sslmri.models.model_card import model_card_markdown
from sslmri.scans.slices import Preparation
from sslmri.screening.messages import NOT_EVALUATED
from tests.pages import PAGES, choose, open_page, png, show, table_of, upload, words_of

OLD = "2000-01-01T00:00:00+00:00"
OTHER = "5f0ed6a0" + "0" * 56


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a copy of the model that the pages show, to be damaged."""
    target = tmp_path / "model"
    shutil.copytree(model_folder, target, ignore=shutil.ignore_patterns("pretrain", "finetune"))
    monkeypatch.setenv("SSLMRI_MODEL", str(target))
    return target


@pytest.fixture
def published(folder: Path) -> Path:
    """Returns the model as if it had been trained and evaluated as published."""
    card, source = read_model_card(folder), folder / "evidence"
    (source / "as-published").mkdir()
    for path in [path for path in source.iterdir() if path.is_file()]:
        path.rename(source / "as-published" / path.name)
    change(source / "as-published" / "metrics.json", protocol="as-published")
    write_model_file(folder, card.name, replace(card.training, protocol="as-published"), card.created)
    return folder


def change(path: Path, **changes: Any) -> None:
    write_json(path, json.loads(path.read_text()) | changes)


def put_next_to(folder: Path, **changes: Any) -> None:
    """Puts evidence of the other protocol, of another encoder, next to the model."""
    shutil.copytree(folder / "evidence", folder / "evidence" / "as-published")
    metrics = folder / "evidence" / "as-published" / "metrics.json"
    change(metrics, **({"protocol": "as-published", "encoder_sha256": OTHER} | changes))


def test_figures_older_than_the_heads_are_refused_and_the_pages_go_on(folder: Path) -> None:
    change(folder / "evidence" / "metrics.json", created=OLD)
    with pytest.raises(ModelError, match=f"classifiers, trained .*, got older ones of {OLD.replace('+', '.')}"):
        find_evidence(read_model_card(folder), Metrics)
    app = upload(("slice.png", png()))
    assert "got older ones of" in words_of(app)
    assert all(disease.title in words_of(app) for disease in DISEASES.values())
    assert "evidence.**" not in words_of(app)
    for page in PAGES[2:]:
        assert not open_page(page).error
    assert "Known limits" in [folded.label for folded in open_page("pages/about.py").expander]


def test_controls_older_than_the_heads_are_refused(folder: Path) -> None:
    encoder = read_model_card(folder).heads["ms"].encoder_sha256
    none = Estimate(None, None, None, None, "none")
    measured = DiseaseControls(
        n_slices=0,
        n_groups=0,
        chance=0.5,
        model=ShortcutMetrics(none, none),
        shortcuts={},
        messages=(),
        healthy_flagged={},
        localisation=None,
    )
    old = Controls(
        created=OLD, encoder_sha256=encoder, rule="", diseases={"ms": measured}, family_wise=Rate(none, 0, 0)
    )
    write_evidence(folder / "evidence", old)
    with pytest.raises(ModelError, match="Expected shortcut controls of this model's classifiers"):
        find_evidence(read_model_card(folder), Controls)


def test_one_damaged_folder_of_a_protocol_leaves_the_other_in_sight(folder: Path) -> None:
    write_json(folder / "evidence" / "as-published" / "metrics.json", {})
    app = open_page("pages/performance.py")
    assert not app.error
    assert "Expected metrics of format" in words_of(app).replace("\\", "")
    assert "random image split (as published)" not in table_of(app, "patient-disjoint split")


@pytest.mark.parametrize(
    ("name", "tab"), [("predictions-alzheimers.csv", "Curves"), ("label_efficiency.json", "Label efficiency")]
)
def test_a_damaged_file_of_evidence_is_named_in_its_tab(name: str, tab: str, folder: Path) -> None:
    (folder / "evidence" / name).write_text("[")
    app = open_page("pages/performance.py")
    show(app, tab)
    assert not app.error
    assert name in words_of(app).replace("\\", "").replace("\u2060", "")


def test_figures_of_another_encoder_are_said_to_be(folder: Path) -> None:
    put_next_to(folder)
    (folder / "evidence" / "as-published" / "pretrain.jsonl").unlink()
    app = open_page("pages/performance.py")
    words = words_of(app).replace("\\", "")
    assert "encoder: another encoder (5f0ed6a0)" in words
    assert "encoder: this model's" in words
    assert "Measured on another encoder" not in words_of(app)
    choose(app, "Split", "as-published")
    assert "Measured on another encoder (5f0ed6a0), trained on this split." in words_of(app)


def test_history_is_that_of_the_protocol(folder: Path) -> None:
    put_next_to(folder)
    (folder / "evidence" / "as-published" / "pretrain.jsonl").write_text('{"epoch": 1, "loss": 9.0}\n')
    card = read_model_card(folder)
    assert find_history(card, "pretrain", "as-published") == [{"epoch": 1, "loss": 9.0}]
    assert len(find_history(card, "pretrain", "group-disjoint")) == 2


@pytest.mark.parametrize(("pixels", "is_said"), [(0.9, True), (0.7, True), (0.6, False), (None, False)])
def test_pixels_do_as_well_only_where_they_were_measured_to(
    pixels: float | None, is_said: bool, model_folder: Path
) -> None:
    result = next(iter(read_evidence(model_folder / "evidence", Metrics).diseases.values()))
    slices = replace(result.slices, accuracy=Estimate(0.7, 0.6, 0.8, 0.7, None))
    baseline = BaselineMetrics(pixels, None, None, None, None)
    measured = replace(result, slices=slices, baselines={"nearest_neighbour": baseline})
    assert ("Pixels without learning do as well" in tables.pixels_sentence(measured)) == is_said
    assert tables.pixels_sentence(replace(measured, baselines={})) == ""


def test_advice_on_a_protocol_can_be_followed(folder: Path) -> None:
    card = read_model_card(folder)
    other = not_measured(card, "as-published")
    assert "`python train.py all --protocol as-published --run OTHER`" in other
    assert "`python train.py evaluate --protocol as-published --run OTHER --compare-to MODEL`" in other
    assert "`python train.py evaluate --protocol group-disjoint --run MODEL`" in not_measured(card, "group-disjoint")
    shared = replace(card, training=replace(card.training, protocol="as-published"))
    assert "--compare-to" not in not_measured(shared, "group-disjoint")
    assert "`python train.py all --protocol group-disjoint --run OTHER`" in not_measured(shared, "group-disjoint")


def test_a_model_trained_as_published_shows_its_own_evidence(published: Path) -> None:
    card = read_model_card(published)
    metrics = find_evidence(card, Metrics)
    assert metrics is not None
    assert metrics.protocol == "as-published"
    assert find_summary(card) is not None
    app = open_page("pages/performance.py")
    assert "**Random image split (as published)**: images are split at random" in words_of(app)
    assert "NT-Xent loss by epoch" in words_of(open_page("pages/encoder.py"))
    app = open_page("pages/about.py")
    assert "random image split (as published): images are split at random" in words_of(app)
    assert len(table_of(app, "best baseline")) > 0


def test_a_model_that_knew_the_people_has_no_figures_of_unseen_ones(published: Path) -> None:
    assert find_unseen_metrics(read_model_card(published)) is None
    assert escape_markdown(NOT_EVALUATED) in words_of(upload(("slice.png", png())))


@pytest.mark.parametrize(
    "changes",
    [{"use": [{"cohort": "c"}]}, {"faults": None}, {"faults": ["a sentence"]}, {"sizes": 3}, {"classes": ["a"]}],
)
def test_a_summary_of_another_form_is_refused(changes: dict[str, Any], folder: Path) -> None:
    change(folder / "evidence" / "data.json", **changes)
    with pytest.raises(ModelError, match="Expected the summary of the data"):
        find_summary(read_model_card(folder))


@pytest.mark.parametrize("text", ["{}", "[]", "null", "not json"])
def test_a_damaged_summary_is_a_line_on_its_page(text: str, folder: Path) -> None:
    (folder / "evidence" / "data.json").write_text(text)
    app = open_page("pages/data.py")
    assert not app.exception
    assert "Expected the summary of the data" in words_of(app).replace("\\", "")


def test_a_home_of_nobody_is_no_path() -> None:
    with pytest.raises(ManifestError, match="This is not a path"):
        read_named("~no-such-user-here/x", Preparation())


def test_sizes_and_formats_of_a_cohort_are_in_one_row() -> None:
    sizes = pd.DataFrame({"cohort": "c", "width": [10, 12], "height": [20, 20], "slices": [1, 3]})
    formats = pd.DataFrame({"cohort": "c", "format": ["JPEG", "PNG"], "slices": [2, 2]})
    (row,) = files({"sizes": sizes, "formats": formats}).to_numpy().tolist()
    assert row == ["c", 4, "JPEG, PNG", "12 x 20", "10 to 12", "20"]


def test_caveats_of_public_cohorts_are_told_only_of_models_that_learned_from_them(folder: Path) -> None:
    card = read_model_card(folder)
    words = words_of(open_page("pages/about.py"))
    assert all(disease.caveat in words for disease in DISEASES.values())
    assert not any(limit in words for disease in DISEASES.values() for limit in disease.limits)
    data = replace(card.encoder.data, cohorts={"oasis_2d": "terms"})
    public = replace(card, encoder=replace(card.encoder, data=data))
    assert COHORTS["oasis_2d"].caveat in model_card_markdown(public, None, None)
    assert COHORTS["ehealth_cyprus"].caveat not in model_card_markdown(public, None, None)
    labelled = replace(card, training=replace(card.training, cohorts={"ntua_volumes": "terms"}))
    assert COHORTS["ntua_volumes"].caveat in model_card_markdown(labelled, None, None)


def write_data(folder: Path) -> Path:
    (folder / "a.png").write_bytes(png())
    (folder / "manifest.csv").write_text("path,cohort,disease,label,group\na.png,c,tumours,glioma,g\n")
    return folder


def test_data_may_be_named_in_the_folder_of_the_server_alone(folder, tmp_path, monkeypatch):
    (tmp_path / "given").mkdir()
    monkeypatch.setenv("SSLMRI_DATA_ROOT", str(write_data(tmp_path / "given")))
    (tmp_path / "given" / "link").symlink_to(write_data(tmp_path))
    relative, absolute = (read_named(path, Preparation()) for path in ("manifest.csv", str(tmp_path / "given")))
    assert all(table.equals(absolute[0][name]) for name, table in relative[0].items())
    assert relative[1] == absolute[1]
    for elsewhere in ("..", str(tmp_path), "/etc/passwd", "link", "~"):
        with pytest.raises(ManifestError, match="inside the server's data folder .*given|no such file"):
            read_named(elsewhere, Preparation())


def test_where_people_sign_in_nobody_names_data_unless_a_folder_is_given(folder, monkeypatch):
    monkeypatch.setattr(source, "is_needed", lambda: True)
    monkeypatch.setattr(signin, "is_authorised", lambda: True)
    assert not open_page("pages/data.py").text_input
    monkeypatch.setenv("SSLMRI_DATA_ROOT", str(folder))
    assert open_page("pages/data.py").text_input
    monkeypatch.setenv("SSLMRI_DATA_ROOT", str(folder / "none"))
    assert not open_page("pages/data.py").text_input


def test_the_card_says_group_where_the_data_hold_one_that_is_unknown(folder: Path) -> None:
    card = read_model_card(folder)
    summary = find_summary(card)
    assert summary is not None
    assert "Each group is one subject." in model_card_markdown(card, None, None)
    summary["use"].loc[0, "unit"] = "group"
    assert "otherwise one image" in meaning_of_group(summary)
