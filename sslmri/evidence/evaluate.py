"""Turns predictions on test groups into evidence: metrics, their baselines, and a grade of both."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from sslmri.cohorts.registry import unit_of
from sslmri.diseases import Disease
from sslmri.evidence.decisions import Answers, answer, set_metrics, threshold_metrics
from sslmri.evidence.grade import grade_evidence, notes_of
from sslmri.evidence.metrics import case_metrics
from sslmri.evidence.sample import Sample, draw_sample
from sslmri.evidence.subsets import (
    OLDER_FROM,
    baseline_metrics,
    gains,
    measures_of,
    older_metrics,
    stage_metrics,
    type_metrics,
)
from sslmri.models.metrics import DiseaseMetrics, Grade


def evaluate_disease(
    disease: Disease,
    frame: pd.DataFrame,
    baselines: Mapping[str, np.ndarray] | None,
    slices: Answers | None = None,
    groups: Answers | None = None,
    *,
    ages: np.ndarray | None = None,
    is_shared: bool = False,
) -> DiseaseMetrics:
    """Returns the evidence for one disease.

    Args:
        disease: of the classifier.
        frame: as from ``predictions_frame``, of the N test slices.
        baselines: (N, C) probabilities of each baseline for the same slices, or None.
        slices: what the N slices are answered, or None.
        groups: what their groups are, in the order of their names; None: a group has the mean probabilities of its
            slices, and their decisions.
        ages: (N,) in years, NaN where unknown; None where no age is known.
        is_shared: whether patients are in both training and test.

    Raises:
        ManifestError: a group with two classes.
    """
    sample = _sample(disease, frame, frame[list(disease.classes)].to_numpy(dtype=np.float64))
    sample = replace(sample, by_groups=groups.probabilities if groups else None)
    is_older = _older_groups(frame, ages)
    compared = {name: _sample(disease, frame, probabilities) for name, probabilities in (baselines or {}).items()}
    metrics = _measured(disease, frame, sample, compared, is_older)
    if slices:
        both = slices, groups or answer(sample.by_group().probabilities, slices.decisions)
        metrics = replace(metrics, thresholds=threshold_metrics(sample, *both), sets=set_metrics(sample, *both))
    grade = grade_evidence(disease, frame, metrics, is_shared)
    return replace(metrics, grade=grade, notes=tuple(notes_of(disease, frame, metrics)))


def _measured(
    disease: Disease,
    frame: pd.DataFrame,
    sample: Sample,
    compared: Mapping[str, Sample],
    is_older: np.ndarray | None,
) -> DiseaseMetrics:
    """Returns all metrics that need no decisions, with the same of each baseline, not graded yet."""
    measures = measures_of(disease, is_older)
    return DiseaseMetrics(
        classes=disease.classes,
        unit=unit_of(frame["group"]),
        slices=case_metrics(sample, disease.classes),
        groups=case_metrics(sample.by_group(), disease.classes),
        thresholds=None,
        sets=None,
        types=type_metrics(disease, sample),
        later_stages=stage_metrics(disease, sample),
        baselines={
            name: baseline_metrics(measures, replace(each, weights=each.weights[:1])) for name, each in compared.items()
        },
        grade=Grade("insufficient", "not graded yet"),
        notes=(),
        older=older_metrics(sample, is_older),
        gains=gains(measures, sample, compared),
    )


def _older_groups(frame: pd.DataFrame, ages: np.ndarray | None) -> np.ndarray | None:
    """Returns which groups (G,), in the order of a sample, are of ``OLDER_FROM`` years and over; None without any."""
    if ages is None:
        return None
    is_older = (pd.Series(ages).groupby(frame["group"].to_numpy()).max() >= OLDER_FROM).to_numpy()
    return is_older if is_older.any() else None


def _sample(disease: Disease, frame: pd.DataFrame, probabilities: np.ndarray) -> Sample:
    truth = np.array([disease.classes.index(label) for label in frame["label"]], dtype=np.int64)
    return draw_sample(truth, probabilities, frame["group"].to_numpy(dtype=str))
