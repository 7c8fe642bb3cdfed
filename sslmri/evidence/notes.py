"""Plain sentences that a reader must know with the metrics of a disease."""

from collections.abc import Iterable

import pandas as pd

from sslmri.cohorts.confounding import find_confounding
from sslmri.cohorts.registry import MIN_GROUPS, UNKNOWN
from sslmri.diseases import Disease, class_title
from sslmri.models.metrics import DiseaseMetrics
from sslmri.models.model_card import BASELINE_TITLES


def notes_of(disease: Disease, frame: pd.DataFrame, metrics: DiseaseMetrics) -> list[str]:
    """Returns what a reader must know before believing the metrics: rare classes, sources, baselines not exceeded."""
    notice = find_confounding(disease, frame["label"], frame["cohort"]).notice
    sources = [notice.text] if notice else []
    return (
        _class_notes(metrics)
        + sources
        + _baseline_notes(metrics)
        + _gain_notes(metrics)
        + unknown_patients_note(frame["group"])
    )


def unknown_patients_note(groups: Iterable[str]) -> list[str]:
    """Returns a sentence if test groups, named as by ``Record.group_key``, are not known to be one patient each."""
    is_unknown = {group: group.partition("/")[2].startswith(UNKNOWN) for group in groups}
    if not any(is_unknown.values()):
        return []
    return [
        f"No patient ids, so results may be optimistic: the source does not identify the patient in "
        f"{sum(is_unknown.values())} of {len(is_unknown)} test groups, so a patient may be in both training and test."
    ]


def _class_notes(metrics: DiseaseMetrics) -> list[str]:
    """Returns a sentence for each class with too few test groups."""
    notes = []
    for label, scores in metrics.groups.per_class.items():
        if scores.n_groups == 0:
            notes.append(f"No test group shows {class_title(label)}: the metrics say nothing about it.")
        elif scores.n_groups < MIN_GROUPS:
            notes.append(
                f"Test groups of {class_title(label)}: {scores.n_groups}. Metrics for this class cannot be estimated; "
                "overall intervals are too narrow as a result."
            )
    return notes


def _gain_notes(metrics: DiseaseMetrics) -> list[str]:
    """Returns for each measure how much the classifier adds to its best baseline."""
    names = {
        "group_auroc": f"AUROC of any disease, {metrics.unit}s",
        "types_accuracy": "Accuracy among the types, slices",
    }
    return [
        f"{names[gain.measure]}: {by.value:+.2f} ({by.low:+.2f} to {by.high:+.2f}) against the best baseline, "
        f"{BASELINE_TITLES.get(gain.baseline, gain.baseline)}."
        for gain in metrics.gains
        if (by := gain.difference).value is not None
    ]


def _baseline_notes(metrics: DiseaseMetrics) -> list[str]:
    model = metrics.slices.balanced_accuracy.raw
    known = {n: each.balanced_accuracy for n, each in metrics.baselines.items() if each.balanced_accuracy is not None}
    best = max(known, key=lambda name: known[name], default=None)
    if model is None or best is None or model > known[best]:
        return []
    return [f"Balanced accuracy {model:.2f} does not exceed {BASELINE_TITLES.get(best, best)} ({known[best]:.2f})."]
