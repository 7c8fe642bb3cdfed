"""Grades follow their written rule."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from sslmri.diseases import DISEASES, Disease
from sslmri.models.metrics import Grade
from tests.test_evaluate import MS, TUMOURS, baselines_of, evaluated, frame_of

STAGES = DISEASES["alzheimers"]


def graded(frame: pd.DataFrame, disease: Disease = MS, **settings: Any) -> tuple[str, str]:
    """Returns grade and reason of a frame whose baselines know nothing."""
    grade = evaluated(disease, frame, baselines_of(frame, disease), **settings).grade
    return grade.grade, grade.reason


def test_many_groups_above_every_baseline_from_shared_sources_are_strong() -> None:
    grade, reason = graded(frame_of(MS, n_groups=10))
    assert grade == "strong"
    assert reason.startswith("10 or more test groups of each class")


def test_groups_of_unknown_people_are_never_strong() -> None:
    frame = frame_of(MS, n_groups=10)
    names = frame["group"].str.partition("/")[2]
    grade, reason = graded(frame.assign(group=frame["cohort"] + "/unknown-" + names))
    assert grade == "limited"
    assert "does not identify the patient in 20 of 20 test groups" in reason


def test_shared_people_are_insufficient_whatever_the_metrics() -> None:
    grade, reason = graded(frame_of(MS, n_groups=10), is_shared=True)
    assert (grade, reason) == ("insufficient", "Patients are shared between training and test.")


def test_under_five_groups_of_one_side_are_insufficient() -> None:
    frame = frame_of(MS, n_groups=10)
    few = (frame["label"] != "normal") | frame["group"].str.endswith(("0", "1"))
    grade, reason = graded(frame[few])
    assert grade == "insufficient"
    assert "2 test groups of the reference class, 5 needed" in reason


def test_interval_that_includes_chance_is_insufficient() -> None:
    grade, reason = graded(frame_of(MS, n_groups=10, strength=0.0))
    assert grade == "insufficient"
    assert "is not above 0.5" in reason


def test_classes_from_different_sources_only_are_insufficient() -> None:
    grade, reason = graded(frame_of(MS, n_groups=10, own_cohorts=True))
    assert grade == "insufficient"
    assert "class and source coincide" in reason.lower()


def test_one_class_of_its_own_source_is_limited() -> None:
    frame = frame_of(TUMOURS, n_groups=10)
    frame.loc[frame["label"] == "no_tumour", "cohort"] = "elsewhere"
    grade, reason = graded(frame, TUMOURS)
    assert grade == "limited"
    assert reason == "No tumour has its own source, which may reveal the label."


def test_rare_class_is_limited_and_named() -> None:
    grade, reason = graded(frame_of(TUMOURS, n_groups=6), TUMOURS)
    assert grade == "limited"
    assert "glioma (6)" in reason


def test_baseline_within_the_interval_is_limited_and_named() -> None:
    frame = frame_of(MS, n_groups=10)
    perfect = np.eye(2)[[MS.classes.index(label) for label in frame["label"]]]
    grade = evaluated(MS, frame, {"pca_logistic": perfect}).grade
    assert grade.grade == "limited"
    assert "does not exceed PCA + logistic regression (1.00)" in grade.reason


def test_evidence_without_baselines_is_limited() -> None:
    grade = evaluated(MS, frame_of(MS, n_groups=10), None).grade
    assert grade == Grade("limited", "No baselines were measured.")


@pytest.mark.parametrize("disease", [MS, STAGES])
def test_no_test_slices_are_insufficient(disease: Disease) -> None:
    grade, reason = graded(frame_of(disease).iloc[:0], disease)
    assert grade == "insufficient"
    assert "not estimable" in reason
