"""A summary of data as tables, one disease at a time."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sslmri.cohorts.manifest import TRAIN_USE
from sslmri.cohorts.registry import GROUP, SUBJECT, meaning_of
from sslmri.cohorts.summary import QUANTILES
from sslmri.dashboard.text import in_order
from sslmri.diseases import DISEASES, Disease, class_title

_WHOLE = "all"


def diseases(summary: Mapping[str, Any]) -> list[str]:
    """Returns the keys of the diseases that the data hold, in the order of ``DISEASES``."""
    return in_order(row["disease"] for row in summary["classes"])


def faults(summary: Mapping[str, Any], disease: Disease) -> list[str]:
    """Returns the known limitations of the data of a disease, and unreadable files of any."""
    return [fault["text"] for fault in summary["faults"] if fault["disease"] in (None, disease.key)]


def classes(summary: Mapping[str, Any], disease: Disease) -> pd.DataFrame:
    """Returns groups and slices of each class and split."""
    rows = [row for row in summary["classes"] if row["disease"] == disease.key]
    table = pd.DataFrame(rows, columns=["label", "split", "groups", "slices"])
    return table.assign(split=[split or _WHOLE for split in table["split"]])


def intensities(summary: Mapping[str, Any], disease: Disease) -> pd.DataFrame:
    """Returns one row per class: sampled slices, intensity quantiles, contrast."""
    found = _intensity_rows(summary, disease)
    rows = [
        {"class": class_title(row["label"]), "slices": row["n_slices"]}
        | {_quantile_title(q): round(value, 3) for q, value in zip(QUANTILES, row["quantiles"], strict=True)}
        | {"contrast": round(row["contrast"], 3)}
        for row in found
    ]
    return pd.DataFrame(rows)


def densities(summary: Mapping[str, Any], disease: Disease) -> pd.DataFrame:
    """Returns one row per class and bin: intensity at the middle of the bin, density."""
    rows = [
        {"label": row["label"], "intensity": (index + 0.5) / len(row["density"]), "density": density}
        for row in _intensity_rows(summary, disease)
        for index, density in enumerate(row["density"])
    ]
    return pd.DataFrame(rows, columns=["label", "intensity", "density"])


def sizes(summary: Mapping[str, Any], disease: Disease) -> pd.DataFrame:
    """Returns how many sampled files of each cohort of the disease have which size."""
    cohorts = _cohorts(summary, disease)
    rows = [row for row in summary["sizes"] if row["cohort"] in cohorts]
    return pd.DataFrame(rows, columns=["cohort", "width", "height", "slices"])


def formats(summary: Mapping[str, Any], disease: Disease) -> pd.DataFrame:
    """Returns how many sampled files of each cohort of the disease have which format."""
    cohorts = _cohorts(summary, disease)
    rows = [row for row in summary["formats"] if row["cohort"] in cohorts]
    return pd.DataFrame(rows, columns=["cohort", "format", "slices"])


def uses(summary: Mapping[str, Any]) -> pd.DataFrame:
    """Returns what all the records are used for."""
    titles = {key: disease.title for key, disease in DISEASES.items()}
    rows = [row | {"disease": titles.get(row["disease"], "none, pre-training only")} for row in summary["use"]]
    return pd.DataFrame(rows, columns=["cohort", "disease", "use", "groups", "slices"])


def meaning_of_group(summary: Mapping[str, Any], disease: Disease) -> str:
    """Returns the sentence that says what a group of the training data of a disease is."""
    units = {row["unit"] for row in summary["use"] if row["use"] == TRAIN_USE and row["disease"] == disease.key}
    return meaning_of(SUBJECT if units == {SUBJECT} else GROUP)


def totals(table: pd.DataFrame) -> tuple[int, int]:
    """Returns groups and slices over all classes and splits of ``classes``."""
    return int(table["groups"].sum()), int(table["slices"].sum())


def _quantile_title(percent: int) -> str:
    return "median" if percent == 50 else f"{percent} %"


def _intensity_rows(summary: Mapping[str, Any], disease: Disease) -> list[dict[str, Any]]:
    by_label = {row["label"]: row for row in summary["intensity"] if row["disease"] == disease.key}
    return [by_label[label] for label in disease.classes if label in by_label]


def _cohorts(summary: Mapping[str, Any], disease: Disease) -> set[str]:
    return {row["cohort"] for row in summary["use"] if row["disease"] == disease.key}
