"""Example slices, ages and the audit of a manifest on the Data page, and the worst errors on Performance."""

import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from sslmri.cohorts.audit import check_records
from sslmri.cohorts.manifest import Record
from sslmri.dashboard import training_images
from sslmri.dashboard.data import examples
from sslmri.dashboard.performance import tables
from sslmri.dashboard.training_images import DATA_FOLDER, data_folder
from sslmri.diseases import DISEASES
from sslmri.scans.slices import Preparation
from tests.pages import png

MS = DISEASES["ms"]


def records(n_groups: int = 8) -> list[Record]:
    """Returns two slices of each group of both classes, the controls from two cohorts."""
    return [
        Record(Path(name := f"{label}{group}-{slice_}"), name, cohort, "ms", label, f"{label}{group}", None)
        for label, cohorts in (("normal", ("a", "b")), ("multiple_sclerosis", ("a",)))
        for cohort in cohorts
        for group in range(n_groups)
        for slice_ in range(2)
    ]


def test_examples_are_of_different_groups_of_each_class_and_cohort_and_always_the_same() -> None:
    found = examples.examples(records(), MS)
    assert list(found) == [("normal", "a"), ("normal", "b"), ("multiple_sclerosis", "a")]
    assert all(len({record.group for record in drawn}) == len(drawn) == 6 for drawn in found.values())
    assert examples.examples(records(), MS) == found


def test_ages_are_those_of_the_groups_where_they_are_known() -> None:
    known = [replace(one, age=30.0 + number) for number, one in enumerate(records(3)) if one.label == "normal"]
    table = examples.age_table([*known[:4], *records(3)], MS)
    assert table.empty  # the records without an age come last, and a group has one age
    table = examples.age_table(known[:4], MS)
    assert table.to_dict("records") == [
        {"class": "normal", "groups": 2, "of known age": 2, "median age": "32", "range": "31 to 33"}
    ]


def test_what_the_manifest_alone_shows_is_counted() -> None:
    found = {check.name: check.count for check in check_records([replace(one, split="train") for one in records()])}
    assert found["groups in two splits"] == 0
    assert found["classes of one cohort only"] == 1
    assert found["cohorts with one class of a disease"] == 1


def test_the_worst_errors_are_one_of_each_group_the_surest_first() -> None:
    rows = [
        ("a0", "a", "normal", "multiple_sclerosis", 0.2),
        ("a1", "a", "normal", "multiple_sclerosis", 0.1),
        ("b0", "b", "multiple_sclerosis", "normal", 0.7),
        ("c0", "c", "normal", "normal", 0.9),
    ]
    frame = pd.DataFrame(rows, columns=["name", "group", "label", "predicted", "normal"])
    wrong = frame[frame["label"] != frame["predicted"]]
    table = tables.errors(wrong.assign(cohort="x", multiple_sclerosis=1 - frame["normal"]), 5)
    assert table["slice"].tolist() == ["a1", "b0"]
    assert table["probability"].tolist() == pytest.approx([0.9, 0.7])
    assert table["predicted"].tolist() == ["multiple sclerosis", "normal"]


def test_images_are_shown_where_the_training_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_image = training_images.find_image.__wrapped__
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "notes.png").write_bytes(b"just some notes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(DATA_FOLDER, raising=False)
    assert data_folder() is None
    assert find_image("a.png", Preparation()) is None
    monkeypatch.setenv(DATA_FOLDER, str(tmp_path))
    assert data_folder() == tmp_path
    shown = find_image("a.png", Preparation())
    assert shown is not None
    assert Image.open(io.BytesIO(shown)).size == (128, 128)
    assert find_image("gone.png", Preparation()) is None
    assert find_image("notes.png", Preparation()) is None
