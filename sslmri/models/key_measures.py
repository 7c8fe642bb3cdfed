"""The measures by which a classifier is summarised, and the baselines that each is compared with."""

from typing import NamedTuple

from sslmri.diseases import class_title
from sslmri.models.metrics import DiseaseMetrics, Estimate
from sslmri.text import proportion

BASELINE_TITLES = {
    "majority": "majority class",
    "nearest_neighbour": "1-NN on pixels",
    "pca_logistic": "PCA + logistic regression",
    "age": "age alone",
    "dark_fraction": "dark fraction of the head",
}


class KeyMeasure(NamedTuple):
    """A measure by which a classifier is summarised: its attribute of a baseline, and what it rests on."""

    measure: str
    estimate: Estimate
    baseline: str
    n_groups: int
    n_slices: int


def key_measures(result: DiseaseMetrics) -> list[KeyMeasure]:
    """Returns the measures by which a classifier is summarised."""
    units, types, later = f"{result.unit}s", result.types, result.later_stages
    counts = result.slices.n_groups, result.slices.n_cases
    measures = [
        KeyMeasure("Accuracy, slices", result.slices.accuracy, "accuracy", *counts),
        KeyMeasure("Balanced accuracy, slices", result.slices.balanced_accuracy, "balanced_accuracy", *counts),
        KeyMeasure("AUROC of any disease, slices", result.slices.auroc, "auroc", *counts),
        KeyMeasure(f"Accuracy, {units}", result.groups.accuracy, "group_accuracy", *counts),
        KeyMeasure(f"AUROC of any disease, {units}", result.groups.auroc, "group_auroc", *counts),
    ]
    if types:
        counts = types.n_groups, types.n_slices
        measures.append(KeyMeasure("Accuracy among the types, slices", types.accuracy, "types_accuracy", *counts))
    if later:
        name = f"AUROC of {class_title(later.classes[0])} or worse against {class_title(result.classes[0])}"
        counts = later.n_groups, later.n_slices
        measures.append(KeyMeasure(f"{name}, slices", later.auroc, "later_stages_auroc", *counts))
        measures.append(KeyMeasure(f"{name}, {units}", later.group_auroc, "group_later_stages_auroc", *counts))
    if older := result.older:
        name = f"AUROC of any disease, {units} of {older.from_age} and over"
        counts = older.n_groups, older.n_slices
        measures.append(KeyMeasure(name, older.group_auroc, "older_group_auroc", *counts))
    return measures


def best_baseline(result: DiseaseMetrics, row: KeyMeasure) -> str:
    """Returns what the best baseline of a measure reaches, with its title; "none" without any."""
    values = {name: getattr(baseline, row.baseline) for name, baseline in result.baselines.items()}
    known = {name: value for name, value in values.items() if value is not None}
    best = max(known, key=lambda name: known[name], default="")
    return f"{proportion(known[best])} ({BASELINE_TITLES.get(best, best)})" if best else "none"
