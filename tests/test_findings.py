"""What is said of a finding: its set, and what a flag is worth at a prevalence."""

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sslmri.dashboard.screening.findings import set_words
from sslmri.dashboard.screening.prevalence import predictive_words
from sslmri.dashboard.screening.similar import DATA_FOLDER, case_picture
from sslmri.evidence.predictive import PredictiveValues, predictive_values
from sslmri.models.cards import HeadCard, ModelCard
from sslmri.scans.slices import Preparation
from sslmri.screening.similar import SimilarCase
from tests.pages import png


def test_predictive_values_are_those_of_a_table_of_counts() -> None:
    # 1,000 people, 100 with the disease: 90 found and 10 missed; of 900 without it 720 cleared and 180 flagged
    assert predictive_values(0.9, 0.8, 0.1) == PredictiveValues(pytest.approx(90 / 270), pytest.approx(720 / 730))


def test_a_value_of_nobody_is_unknown() -> None:
    assert predictive_values(0.0, 1.0, 0.3) == PredictiveValues(None, pytest.approx(0.7))
    assert predictive_values(1.0, 0.0, 0.3) == PredictiveValues(pytest.approx(0.3), None)


@pytest.fixture
def head(configured: ModelCard) -> HeadCard:
    figures = {
        "low": {"sensitivity": 0.9, "specificity": 0.5},
        "high": {"sensitivity": 0.6, "specificity": 0.8},
    }
    return replace(configured.heads["alzheimers"], threshold_figures=figures)


def test_ppv_is_that_of_the_upper_threshold_and_npv_that_of_the_lower(head: HeadCard) -> None:
    words = predictive_words(head, 0.5)
    assert "PPV of *flagged* **0.75**" in words  # 0.6 / (0.6 + 0.2)
    assert "NPV of *not flagged* **0.83**" in words  # 0.5 / (0.5 + 0.1)
    assert "validation slices" in words


def test_a_set_names_its_classes_in_clinical_order(head: HeadCard) -> None:
    finding = SimpleNamespace(prediction_set=head.classes[1:3])
    assert set_words(finding, head) == "90 % set: very mild demented, mild demented"


def test_a_set_of_all_classes_is_not_enough_to_say(head: HeadCard) -> None:
    assert "not enough to say" in set_words(SimpleNamespace(prediction_set=head.classes), head)


@pytest.fixture
def case(tmp_path: Path) -> SimilarCase:
    (tmp_path / "one.png").write_bytes(png())
    return SimilarCase("glioma", "cheng", "cheng/1", "one.png", None, 0.2, True)


def test_a_case_has_a_picture_where_its_data_are_on_this_machine(case, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(DATA_FOLDER, str(tmp_path))
    picture = case_picture(case, Preparation())
    assert picture is not None
    assert np.asarray(Image.open(io.BytesIO(picture))).shape == (128, 128)


@pytest.mark.parametrize("path", ["gone.png", "notes.png"])
def test_a_case_without_readable_data_has_no_picture(path: str, case, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(DATA_FOLDER, str(tmp_path))
    (tmp_path / "notes.png").write_bytes(b"just some notes")
    assert case_picture(replace(case, path=path), Preparation()) is None


def test_without_a_data_folder_no_file_is_looked_for(case, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv(DATA_FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    assert case_picture(case, Preparation()) is None
