"""Turns predictions on test groups into evidence: metrics, their baselines, and a grade of both."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from sslmri.cohorts.registry import unit_of
from sslmri.diseases import Disease
from sslmri.evidence.decisions import Answers, set_metrics, threshold_metrics
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
    baselines: Mapping[str, np.ndarray],
    slices: Answers,
    groups: Answers,
    *,
    ages: np.ndarray | None,
    is_shared: bool,
) -> DiseaseMetrics:
    """Returns the evidence for one disease from its N test slices, a frame as from ``predictions_frame``.

    Answers to groups are in the order of their names. Ages (N,) are in years, NaN where unknown; None where all are.

    Raises:
        ManifestError: a group with two classes.
    """
    sample = _sample(disease, frame, frame[list(disease.classes)].to_numpy(dtype=np.float64))
    sample = replace(sample, by_groups=groups.probabilities)
    compared = {name: _sample(disease, frame, probabilities) for name, probabilities in baselines.items()}
    is_older = _older_groups(frame, ages)
    measures = measures_of(disease, is_older)
    metrics = DiseaseMetrics(
        classes=disease.classes,
        unit=unit_of(frame["group"]),
        slices=case_metrics(sample, disease.classes),
        groups=case_metrics(sample.by_group(), disease.classes),
        thresholds=threshold_metrics(sample, slices, groups),
        sets=set_metrics(sample, slices, groups),
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
    return replace(
        metrics,
        grade=grade_evidence(disease, frame, metrics, is_shared),
        notes=tuple(notes_of(disease, frame, metrics)),
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
