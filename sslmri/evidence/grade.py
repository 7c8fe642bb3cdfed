"""How far the metrics of a classifier can be trusted: a grade by a written rule, and what to know with them."""

from collections.abc import Iterable

import pandas as pd

from sslmri.cohorts.confounding import find_confounding
from sslmri.cohorts.registry import MIN_GROUPS, UNKNOWN
from sslmri.diseases import Disease, class_title
from sslmri.models.key_measures import BASELINE_TITLES, key_measures
from sslmri.models.metrics import DiseaseMetrics, Grade
from sslmri.text import capital

STRONG_GROUPS = 10  # test groups of each class
RULE = (
    f"Insufficient: patients are shared between training and test; or there are fewer than {MIN_GROUPS} test groups of "
    "the reference class or of all classes with disease together; or the 95 % interval of the group-level AUROC of any "
    f"disease reaches 0.5 or below; or class and source coincide. Strong: {STRONG_GROUPS} or more test groups of each "
    "class, that interval above every baseline, no class with a source of its own, and every test patient is known. "
    "Limited: everything else."
)


def grade_evidence(disease: Disease, frame: pd.DataFrame, metrics: DiseaseMetrics, is_shared: bool) -> Grade:
    """Returns the grade of a classifier's evidence by ``RULE``."""
    faults = _faults(disease, frame, metrics, is_shared)
    if faults:
        return Grade("insufficient", f"{capital('; '.join(faults))}.")
    limits = _limits(disease, frame, metrics)
    if limits:
        return Grade("limited", f"{capital('; '.join(limits))}.")
    reason = (
        f"{STRONG_GROUPS} or more test groups of each class, {_auroc(metrics)} above every baseline, and no class with "
        "a source of its own"
    )
    return Grade("strong", f"{reason}.")


def _faults(disease: Disease, frame: pd.DataFrame, metrics: DiseaseMetrics, is_shared: bool) -> list[str]:
    """Returns what makes the evidence insufficient, each as part of a sentence."""
    auroc = metrics.groups.auroc
    faults = ["patients are shared between training and test"] if is_shared else []
    if auroc.reason:
        faults.append(f"the AUROC of any disease is {auroc.reason}")
    if auroc.low is not None and auroc.low <= 0.5:
        faults.append(f"{_auroc(metrics)} is not above 0.5")
    if find_confounding(disease, frame["label"], frame["cohort"]).is_complete:
        faults.append("class and source coincide, so the source may explain the result")
    return faults


def _limits(disease: Disease, frame: pd.DataFrame, metrics: DiseaseMetrics) -> list[str]:
    """Returns what keeps sufficient evidence from being strong, each as part of a sentence."""
    counts = {label: scores.n_groups for label, scores in metrics.groups.per_class.items()}
    rare = [f"{class_title(label)} ({n})" for label, n in counts.items() if n < STRONG_GROUPS]
    limits = [f"fewer than {STRONG_GROUPS} test groups of {', '.join(rare)}"] if rare else []
    baselines = {name: each.group_auroc for name, each in metrics.baselines.items() if each.group_auroc is not None}
    low = metrics.groups.auroc.low
    reached = [
        f"{BASELINE_TITLES.get(name, name)} ({value:.2f})"
        for name, value in baselines.items()
        if low is None or low <= value
    ]
    if not baselines:
        limits.append("no baselines were measured")
    elif reached:
        limits.append(f"{_auroc(metrics)} does not exceed {' or '.join(reached)}")
    alone = [class_title(label) for label in find_confounding(disease, frame["label"], frame["cohort"]).exclusive]
    if alone:
        limits.append(f"{', '.join(alone)} has its own source, which may reveal the label")
    return limits + _unknown_patients(frame["group"])


def _auroc(metrics: DiseaseMetrics) -> str:
    auroc = metrics.groups.auroc
    return f"the {metrics.unit}-level AUROC of any disease ({auroc.low:.2f} to {auroc.high:.2f})"


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
    return [
        f"No patient ids, so results may be optimistic: {unknown}, so a patient may be in both training and test."
        for unknown in _unknown_patients(groups)
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
    names = {row.baseline: row.measure for row in key_measures(metrics)}
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


def _unknown_patients(groups: Iterable[str]) -> list[str]:
    """Returns in how many test groups the patient is unknown, as part of a sentence; nothing where all are known."""
    is_unknown = [group.partition("/")[2].startswith(UNKNOWN) for group in set(groups)]
    if not any(is_unknown):
        return []
    return [f"the source does not identify the patient in {sum(is_unknown)} of {len(is_unknown)} test groups"]
