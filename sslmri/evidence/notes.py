"""Plain sentences that stand beside the figures of a disease."""

from collections.abc import Mapping

import pandas as pd

from sslmri.cohorts.confounding import find_confounding
from sslmri.diseases import Disease, class_title
from sslmri.evidence.intervals import MIN_GROUPS
from sslmri.evidence.metrics import Metrics


def notes_of(
    disease: Disease, frame: pd.DataFrame, figures: Metrics, floors: Mapping[str, Mapping[str, float | None]]
) -> list[str]:
    """Returns what a reader must know before believing the figures: rare classes, sources, floors not cleared."""
    notice = find_confounding(disease, frame["label"], frame["cohort"]).notice
    return _class_notes(disease, figures) + ([notice.text] if notice else []) + _floor_notes(figures, floors)


def _class_notes(disease: Disease, figures: Metrics) -> list[str]:
    """Returns a sentence for each class with too few test groups."""
    notes = []
    for label, found in zip(disease.classes, figures["per_class"], strict=True):
        if found["groups"] == 0:
            notes.append(f"No test group shows {class_title(label)}: the figures say nothing about it.")
        elif found["groups"] < MIN_GROUPS:
            notes.append(
                f"Test groups of {class_title(label)}: {found['groups']}. Its own figures are not estimable, and the "
                "intervals of figures over all classes are too narrow by its share."
            )
    return notes


def _floor_notes(figures: Metrics, floors: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    own = figures["balanced_accuracy"]["raw"]
    known = {name: value for name, floor in floors.items() if (value := floor["balanced_accuracy"]) is not None}
    best = max(known, key=lambda name: known[name], default=None)
    if own is None or best is None or own > known[best]:
        return []
    floor = f"{best.replace('_', ' ')}, {known[best]:.1%}"
    return [f"The balanced accuracy, {own:.1%}, is not above that of the floor {floor}."]
