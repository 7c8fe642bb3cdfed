"""Turns predictions on test groups into evidence: figures, their floors, and what both are worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.registry import unit_of
from sslmri.diseases import Disease
from sslmri.errors import ModelError
from sslmri.evidence.decisions import set_result, threshold_result
from sslmri.evidence.evidence_io import check_frame
from sslmri.evidence.grade import grade_evidence
from sslmri.evidence.metrics import CaseMetrics, compute_metrics
from sslmri.evidence.notes import notes_of
from sslmri.evidence.sample import draw_sample
from sslmri.evidence.subsets import Cases, baseline_metrics, by_label, stage_metrics, type_metrics


def predictions_frame(records: Sequence[Record], probabilities: np.ndarray, disease: Disease) -> pd.DataFrame:
    """Returns one row a slice: name, cohort, group, label, predicted, then the probability of each class.

    Args:
        records: the N labelled records, one for each slice.
        probabilities: (N, C) in the order of the disease's classes.
        disease: the head's disease.

    Raises:
        ModelError: another number of rows or classes.
    """
    expected = (len(records), len(disease.classes))
    if probabilities.shape != expected:
        raise ModelError(
            f"Expected probabilities of shape {expected} for {disease.key}, got {probabilities.shape}: "
            "predict the same slices with the head of this disease."
        )
    frame = pd.DataFrame(
        {
            "name": [record.name for record in records],
            "cohort": [record.cohort for record in records],
            "group": [record.group_key for record in records],
            "label": [record.label for record in records],
            "predicted": [disease.classes[index] for index in probabilities.argmax(axis=1)],
        }
    )
    return frame.assign(**{label: probabilities[:, index] for index, label in enumerate(disease.classes)})


def evaluate_disease(
    disease: Disease,
    frame: pd.DataFrame,
    floors: Mapping[str, np.ndarray] | None,
    seed: int = 0,
    *,
    thresholds: tuple[float, float] | None = None,
    set_thresholds: Mapping[str, float | None] | None = None,
    is_shared: bool = False,
) -> dict[str, Any]:
    """Returns the evidence for one disease, ready for JSON; its ``unit`` is what to call a group.

    Beside the figures of all classes stand, as ``types``, those of the types of disease: the same slices without the
    reference class, with the probabilities shared out among the types (stages and two-class diseases have none), and
    as ``later_stages`` those of the later stages against none (only stages have these).

    Args:
        disease: the head's disease.
        frame: as from ``predictions_frame``, of the test slices.
        floors: (N, C) probabilities of each floor for the same slices, or None.
        seed: of the bootstrap.
        thresholds: the head's low and high threshold on the probability of any disease, or None.
        set_thresholds: the head's thresholds of its prediction sets, by class, or None.
        is_shared: whether people are on both sides of the split.

    Raises:
        ModelError: columns, labels, floors or thresholds that do not fit the disease.
        ManifestError: a group with two classes.
    """
    check_frame(disease, frame)
    cases = _cases_of(disease, frame, frame[list(disease.classes)].to_numpy(dtype=np.float64))
    floor_cases = {name: _cases_of(disease, frame, floor) for name, floor in (floors or {}).items()}
    figures, sample = compute_metrics(*cases, seed=seed), draw_sample(*cases, seed=seed)
    types = type_metrics(disease, cases, floor_cases, seed)
    later = stage_metrics(disease, cases, floor_cases, seed)
    found = {name: _all_floors(name, floor, types, later) for name, floor in floor_cases.items()}
    return {
        "classes": list(disease.classes),
        "unit": unit_of(frame["group"]),
        **figures,
        "per_class": by_label(disease.classes, figures["per_class"]),
        "subject": _labelled(disease, figures["subject"]),
        "thresholds": threshold_result(sample, *thresholds) if thresholds else None,
        "sets": set_result(sample, _own_classes(disease, set_thresholds)) if set_thresholds else None,
        "types": types,
        "later_stages": later,
        "floors": found,
        "grade": grade_evidence(disease, frame, figures, found, is_shared),
        "notes": notes_of(disease, frame, figures, found),
    }


def _all_floors(
    name: str, cases: Cases, types: Mapping[str, Any] | None, later: Mapping[str, Any] | None
) -> dict[str, float | None]:
    """Returns a floor's figures for every measure that has one, None for questions the disease does not ask."""
    return {
        **baseline_metrics(cases),
        "types_accuracy": types["floors"][name]["accuracy"] if types else None,
        "later_stages_auroc": later["floors"][name]["auroc"] if later else None,
        "subject_later_stages_auroc": later["floors"][name]["subject_auroc"] if later else None,
    }


def _labelled(disease: Disease, figures: CaseMetrics) -> dict[str, Any]:
    return {**figures, "per_class": by_label(disease.classes, figures["per_class"])}


def _own_classes(disease: Disease, set_thresholds: Mapping[str, float | None]) -> Mapping[str, float | None]:
    if tuple(set_thresholds) != disease.classes:
        raise ModelError(
            f"Expected thresholds of {', '.join(disease.classes)}, got those of {', '.join(set_thresholds)}: "
            "use the card of this head."
        )
    return set_thresholds


def _cases_of(disease: Disease, frame: pd.DataFrame, probabilities: np.ndarray) -> Cases:
    expected = (len(frame), len(disease.classes))
    if probabilities.shape != expected:
        raise ModelError(
            f"Expected floors of shape {expected}, got {probabilities.shape}: compute them on the same slices."
        )
    truth = np.array([disease.classes.index(label) for label in frame["label"]], dtype=np.int64)
    return truth, probabilities, frame["group"].to_numpy(dtype=str)
