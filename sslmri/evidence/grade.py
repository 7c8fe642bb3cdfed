"""Grades how far the figures of a head can be trusted, by a written rule."""

from collections.abc import Mapping
from typing import TypedDict

import pandas as pd

from sslmri.cohorts.confounding import find_confounding
from sslmri.cohorts.registry import UNKNOWN
from sslmri.diseases import Disease, class_title
from sslmri.evidence.intervals import MIN_GROUPS
from sslmri.evidence.metrics import Metrics

STRONG, LIMITED, INSUFFICIENT = "strong", "limited", "insufficient"
STRONG_GROUPS = 10  # test groups of each class
FLOOR_TITLES = {"majority": "majority class", "nearest_neighbour": "1-NN on pixels", "pca_logistic": "PCA + logistic"}
RULE = (
    f"Insufficient: people are shared between training and test, or under {MIN_GROUPS} test groups of the reference "
    "class or of all classes with disease together, or the interval of the AUROC of any disease per group includes "
    "0.5 or lies below, or no cohort holds two classes. "
    f"Strong: {STRONG_GROUPS} test groups or more of each class, the lower end of that interval above every floor, and "
    "no class from cohorts of its own, and the source says of each test group who it is. Limited: all else."
)


class Grade(TypedDict):
    """A grade, ``strong``, ``limited`` or ``insufficient``, with its reason in a sentence."""

    grade: str
    reason: str


def grade_evidence(
    disease: Disease,
    frame: pd.DataFrame,
    figures: Metrics,
    floors: Mapping[str, Mapping[str, float | None]],
    is_shared: bool,
) -> Grade:
    """Returns the grade of a head's evidence by ``RULE``.

    Args:
        disease: the head's disease.
        frame: the test slices, with their cohort, group and label.
        figures: of these slices.
        floors: figures of each floor.
        is_shared: whether people are on both sides of the split.
    """
    faults = _faults(disease, frame, figures, is_shared)
    if faults:
        return {"grade": INSUFFICIENT, "reason": _sentence(faults)}
    limits = _limits(disease, frame, figures, floors)
    if limits:
        return {"grade": LIMITED, "reason": _sentence(limits)}
    reason = (
        f"{STRONG_GROUPS} test groups or more of each class, {_area(figures)} above every floor, and no class from "
        "cohorts of its own"
    )
    return {"grade": STRONG, "reason": _sentence([reason])}


def _faults(disease: Disease, frame: pd.DataFrame, figures: Metrics, is_shared: bool) -> list[str]:
    """Returns what makes the evidence insufficient, each as part of a sentence."""
    auroc = figures["subject"]["auroc"]
    faults = ["people are shared between training and test"] if is_shared else []
    if auroc["reason"]:
        faults.append(f"the AUROC of any disease is {auroc['reason']}")
    if auroc["low"] is not None and auroc["low"] <= 0.5:
        faults.append(f"{_area(figures)} does not lie above 0.5")
    if find_confounding(disease, frame["label"], frame["cohort"]).is_complete:
        faults.append("class and source coincide, so the source may explain the result")
    return faults


def _limits(
    disease: Disease, frame: pd.DataFrame, figures: Metrics, floors: Mapping[str, Mapping[str, float | None]]
) -> list[str]:
    """Returns what keeps sufficient evidence from being strong, each as part of a sentence."""
    counts = zip(disease.classes, figures["per_class"], strict=True)
    rare = [f"{class_title(label)} ({own['groups']})" for label, own in counts if own["groups"] < STRONG_GROUPS]
    limits = [f"under {STRONG_GROUPS} test groups of {', '.join(rare)}"] if rare else []
    bars = {name: value for name, floor in floors.items() if (value := floor["subject_auroc"]) is not None}
    low = figures["subject"]["auroc"]["low"]
    reached = [f"{FLOOR_TITLES.get(name, name)} ({bar:.2f})" for name, bar in bars.items() if low is None or low <= bar]
    if not bars:
        limits.append("no floors were measured")
    elif reached:
        limits.append(f"{_area(figures)} is not above {', '.join(reached)}")
    alone = [class_title(label) for label in find_confounding(disease, frame["label"], frame["cohort"]).exclusive]
    if alone:
        limits.append(f"no other class comes from the cohorts of {', '.join(alone)}: the source may give it away")
    groups = frame["group"].drop_duplicates()
    n_unknown = int(groups.str.partition("/")[2].str.startswith(UNKNOWN).sum())
    if n_unknown:
        limits.append(f"the source does not say who is who in {n_unknown} of {len(groups)} test groups")
    return limits


def _area(figures: Metrics) -> str:
    auroc = figures["subject"]["auroc"]
    return f"the AUROC of any disease per group ({auroc['low']:.2f} to {auroc['high']:.2f})"


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."
