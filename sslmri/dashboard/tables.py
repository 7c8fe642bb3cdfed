"""The evidence of a model as tables: what the charts draw is what their buttons save."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sslmri.dashboard.charts import FLOOR_TITLES, MEASURES
from sslmri.dashboard.words import in_order, interval, proportion
from sslmri.diseases import DISEASES, Disease, class_title

_FIGURES = ("value", "low", "high", "raw", "reason")


def headline(result: Mapping[str, Any]) -> pd.DataFrame:
    """Returns one row a measure of a disease: its figure, its interval and its floors."""
    subject, types, units = result["subject"], result["types"], f"{result['unit']}s"
    measures = [
        ("Accuracy, slices", result["accuracy"], "accuracy"),
        ("Balanced accuracy, slices", result["balanced_accuracy"], "balanced_accuracy"),
        ("AUROC of any disease, slices", result["auroc"], "auroc"),
        (f"Accuracy, {units}", subject["accuracy"], None),
        (f"AUROC of any disease, {units}", subject["auroc"], "subject_auroc"),
    ]
    if types:
        measures.append(("Accuracy among the types, slices", types["accuracy"], "types_accuracy"))
    floors = result["floors"]
    rows = [
        {"measure": name, **_figures(figure), **{floor: floors.get(floor, {}).get(key) for floor in FLOOR_TITLES}}
        for name, figure, key in measures
    ]
    return _numeric(pd.DataFrame(rows), ["value", "low", "high", "raw", *FLOOR_TITLES])


def per_class(result: Mapping[str, Any]) -> pd.DataFrame:
    """Returns one row a class and measure: precision, recall, F1 with their intervals, groups and slices."""
    rows = [
        {"label": label, "measure": measure, **_figures(own[measure]), "groups": own["groups"], "slices": own["slices"]}
        for label, own in result["per_class"].items()
        for measure in MEASURES
    ]
    return _numeric(pd.DataFrame(rows), ["value", "low", "high", "raw"])


def confusion(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> pd.DataFrame:
    """Returns a confusion matrix with the truth as its first column."""
    return pd.DataFrame(counts, columns=list(labels)).assign(truth=list(labels))[["truth", *labels]]


def areas(result: Mapping[str, Any]) -> dict[str, float | None]:
    """Returns the AUROC of each class against the rest, None where it is not estimable."""
    return {label: own["auroc"]["value"] for label, own in result["per_class"].items()}


def counts(result: Mapping[str, Any], disease: Disease) -> pd.DataFrame:
    """Returns test groups and slices of each class."""
    per_label = result["per_class"]
    rows = [(class_title(label), per_label[label]["groups"], per_label[label]["slices"]) for label in disease.classes]
    return pd.DataFrame(rows, columns=["class", "test groups", "test slices"])


def unknown_figures(table: pd.DataFrame) -> list[str]:
    """Returns one sentence for each reason why figures of a table are not estimable, naming the figures."""
    missing = table[table["value"].isna()]
    names = missing["label"].map(class_title) if "label" in missing else missing["measure"]
    by_reason = names.groupby(missing["reason"].fillna("not estimable"), sort=False).unique()
    return [f"{', '.join(own)}: {reason}." for reason, own in by_reason.items()]


def history(entries: Sequence[Mapping[str, Any]], scores: str) -> pd.DataFrame:
    """Returns one row an epoch: its loss, and the scores of each disease that were taken then.

    Args:
        entries: of a history file.
        scores: key of the entry's scores, ``knn`` or ``auroc``.
    """
    rows = [{"epoch": entry["epoch"], "loss": entry["loss"], **(entry.get(scores) or {})} for entry in entries]
    return pd.DataFrame(rows)


def overview(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the figures of all diseases with intervals and best floors, as people read them."""
    rows = []
    for key in in_order(metrics["diseases"]):
        result = metrics["diseases"][key]
        for row in headline(result).to_dict("records"):
            own = [row[floor] for floor in FLOOR_TITLES if pd.notna(row[floor])]
            rows.append(
                {
                    "disease": DISEASES[key].title,
                    "measure": row["measure"],
                    "figure (95 % interval)": _overview_figure(row),
                    "best floor": proportion(max(own)) if own else "none",
                    "groups": result["n_groups"],
                    "slices": result["n_slices"],
                }
            )
    return pd.DataFrame(rows)


def _overview_figure(row: Mapping[Any, Any]) -> str:
    """Returns a figure with its interval; why it has none, the performance page says."""
    return interval(row) if pd.notna(row["value"]) else "not estimable"


def _figures(figure: Mapping[str, Any]) -> dict[str, Any]:
    return {name: figure[name] for name in _FIGURES}


def _numeric(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    return table.astype(dict.fromkeys(columns, float))
