"""Grades how far the metrics of a classifier can be trusted, by a written rule."""

import pandas as pd

from sslmri.cohorts.confounding import find_confounding
from sslmri.cohorts.registry import MIN_GROUPS, UNKNOWN
from sslmri.diseases import Disease, class_title
from sslmri.models.metrics import DiseaseMetrics, Grade
from sslmri.models.model_card import BASELINE_TITLES

STRONG_GROUPS = 10  # test groups of each class
RULE = (
    f"Insufficient: patients are shared between training and test; or there are fewer than {MIN_GROUPS} test groups of "
    "the reference class or of all classes with disease together; or the 95 % interval of the group-level AUROC of any "
    f"disease reaches 0.5 or below; or class and source coincide. Strong: {STRONG_GROUPS} or more test groups of each "
    "class, that interval above every baseline, no class with a source of its own, and every test patient is known. "
    "Limited: everything else."
)


def grade_evidence(disease: Disease, frame: pd.DataFrame, metrics: DiseaseMetrics, is_shared: bool) -> Grade:
    """Returns the grade of a classifier's evidence by ``RULE``.

    Args:
        disease: of the classifier.
        frame: the test slices, with their cohort, group and label.
        metrics: of these slices.
        is_shared: whether patients are in both training and test.
    """
    faults = _faults(disease, frame, metrics, is_shared)
    if faults:
        return Grade("insufficient", _sentence(faults))
    limits = _limits(disease, frame, metrics)
    if limits:
        return Grade("limited", _sentence(limits))
    reason = (
        f"{STRONG_GROUPS} or more test groups of each class, {_auroc(metrics)} above every baseline, and no class with "
        "a source of its own"
    )
    return Grade("strong", _sentence([reason]))


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
    groups = frame["group"].drop_duplicates()
    n_unknown = int(groups.str.partition("/")[2].str.startswith(UNKNOWN).sum())
    if n_unknown:
        limits.append(f"the source does not identify the patient in {n_unknown} of {len(groups)} test groups")
    return limits


def _auroc(metrics: DiseaseMetrics) -> str:
    auroc = metrics.groups.auroc
    return f"the {metrics.unit}-level AUROC of any disease ({auroc.low:.2f} to {auroc.high:.2f})"


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."
