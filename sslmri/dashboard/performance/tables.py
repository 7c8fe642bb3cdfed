"""The evidence of a model as tables: what the charts draw is what their buttons save."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sslmri.dashboard.charts import MEASURES
from sslmri.dashboard.text import count, in_order, interval, proportion
from sslmri.diseases import DISEASES, Disease, class_title
from sslmri.evidence.grade import FLOOR_TITLES

_FIGURES = ("value", "low", "high", "raw", "reason")
_OVERALL = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "auroc": "AUROC of any disease",
    "average_precision": "Average precision of any disease",
    "brier": "Brier score (0 to 2, low is good)",
    "ece": "Expected calibration error (low is good)",
}
_BY_CLASS = {
    "precision": "precision",
    "recall": "recall (sensitivity)",
    "specificity": "specificity",
    "f1": "F1",
    "auroc": "AUROC",
    "average_precision": "average precision",
}


def headline(result: Mapping[str, Any]) -> pd.DataFrame:
    """Returns one row a measure of a disease: its figure, its interval and its floors."""
    subject, types, later, units = result["subject"], result["types"], result["later_stages"], f"{result['unit']}s"
    measures = [
        ("Accuracy, slices", result["accuracy"], "accuracy"),
        ("Balanced accuracy, slices", result["balanced_accuracy"], "balanced_accuracy"),
        ("AUROC of any disease, slices", result["auroc"], "auroc"),
        (f"Accuracy, {units}", subject["accuracy"], "subject_accuracy"),
        (f"AUROC of any disease, {units}", subject["auroc"], "subject_auroc"),
    ]
    if types:
        measures.append(("Accuracy among the types, slices", types["accuracy"], "types_accuracy"))
    if later:
        name = later_title(result)
        measures.append((f"{name}, slices", later["auroc"], "later_stages_auroc"))
        measures.append((f"{name}, {units}", later["subject_auroc"], "subject_later_stages_auroc"))
    floors = result["floors"]
    rows = [
        {"measure": name, **_figures(figure), **{floor: floors.get(floor, {}).get(key) for floor in FLOOR_TITLES}}
        for name, figure, key in measures
    ]
    return _numeric(pd.DataFrame(rows), ["value", "low", "high", "raw", *FLOOR_TITLES])


def later_title(result: Mapping[str, Any]) -> str:
    """Returns what the figure of the later stages is called."""
    first = class_title(result["later_stages"]["classes"][0])
    return f"AUROC of {first} or worse against {class_title(result['classes'][0])}"


def protocols(
    found: Mapping[str, Mapping[str, Any]], is_shared: Mapping[str, bool], encoders: Mapping[str, str]
) -> pd.DataFrame:
    """Returns the headline figures of a disease under each protocol, as people read them.

    Args:
        found: the disease's evidence by protocol, those measured.
        is_shared: by protocol, whether people are on both sides of its split.
        encoders: by protocol, whose encoder was measured.
    """
    rows = [
        {
            "measure": row["measure"],
            "protocol": protocol,
            "encoder": encoders[protocol],
            "people shared": _shared(result, is_shared[protocol]),
            "figure (95 % interval)": _overview_figure(row),
            **{title: _floor(row[name]) for name, title in FLOOR_TITLES.items()},
            "test groups": result["n_groups"],
            "test slices": result["n_slices"],
        }
        for protocol, result in found.items()
        for row in headline(result).to_dict("records")
    ]
    return pd.DataFrame(rows)


def pixels_sentence(result: Mapping[str, Any]) -> str:
    """Returns that pixels without learning do as well, with the figures, or nothing where they do not."""
    model, pixels = result["accuracy"]["raw"], result["floors"].get("nearest_neighbour", {}).get("accuracy")
    if model is None or pixels is None or pixels < model:
        return ""
    return f" Pixels without learning do as well: accuracy {proportion(pixels)} (1-NN) beside {proportion(model)}."


def overall(result: Mapping[str, Any]) -> pd.DataFrame:
    """Returns every figure over all classes, of slices and of groups side by side, as people read them."""
    subject = result["subject"]
    rows = [(title, result[name], subject[name]) for name, title in _OVERALL.items()]
    for name, rule in (("low", "not flagged below"), ("high", "flagged from")):
        own = (result["thresholds"] or {}).get(name)
        if own:
            place = f"of any disease, {rule} {own['threshold']:.2f}"
            rows += [
                (f"{measure.capitalize()} {place}", own["slices"][measure], own["subject"][measure])
                for measure in ("sensitivity", "specificity")
            ]
    words = [(title, interval(slices), interval(groups)) for title, slices, groups in rows]
    return pd.DataFrame(words, columns=["measure", "slices", f"{result['unit']}s"])


def by_class(figures: Mapping[str, Any]) -> pd.DataFrame:
    """Returns every figure of each class, one row a class, as people read them.

    Args:
        figures: a disease's evidence, or its ``subject``.
    """
    rows = [
        {"class": class_title(label), **{title: interval(own[name]) for name, title in _BY_CLASS.items()}}
        for label, own in figures["per_class"].items()
    ]
    return pd.DataFrame(rows)


def coverage(result: Mapping[str, Any]) -> pd.DataFrame:
    """Returns how often the 90 % sets hold the true class, one row a class, as people read it."""
    sets = result["sets"]
    rows = [
        {
            "class": class_title(label),
            "in the set from": "always" if bar is None else proportion(bar),
            "coverage, slices": interval(sets["slices"]["coverage"][label]),
            f"coverage, {result['unit']}s": interval(sets["subject"]["coverage"][label]),
            "test groups": sets["slices"]["coverage"][label]["groups"],
        }
        for label, bar in sets["thresholds"].items()
    ]
    return pd.DataFrame(rows)


def set_notes(result: Mapping[str, Any]) -> list[str]:
    """Returns how large the sets are and which classes abstain, each in a sentence."""
    slices = result["sets"]["slices"]
    notes = [
        f"Classes in the set of a slice, on average: {interval(slices['mean_size'])}; "
        f"share of empty sets: {interval(slices['empty'])}."
    ]
    names = ", ".join(class_title(label) for label in result["sets"]["abstaining"])
    if names:
        notes.append(f"In every set because too few validation groups show it: {names}.")
    return notes


def reliability(figures: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the bins of a reliability curve: mean highest probability, share right, number of cases and groups."""
    columns = ["low", "high", "probability", "share_right", "count", "groups"]
    return pd.DataFrame(figures["reliability"], columns=columns)


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


def areas(result: Mapping[str, Any], measure: str = "auroc") -> dict[str, float | None]:
    """Returns the area under each class's curve against the rest, None where it is not estimable.

    Args:
        result: a disease's evidence.
        measure: ``auroc`` or ``average_precision``.
    """
    return {label: own[measure]["value"] for label, own in result["per_class"].items()}


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
                    "evidence": result["grade"]["grade"],
                    "measure": row["measure"],
                    "figure (95 % interval)": _overview_figure(row),
                    "best floor": _floor(max(own, default=None)),
                    "groups": result["n_groups"],
                    "slices": result["n_slices"],
                }
            )
    return pd.DataFrame(rows)


def _overview_figure(row: Mapping[Any, Any]) -> str:
    """Returns a figure with its interval; why it has none, the performance page says."""
    return interval(row) if pd.notna(row["value"]) else "not estimable"


def _shared(result: Mapping[str, Any], is_shared: bool) -> str:
    """Returns whether people are on both sides, and how many groups are, where that was counted."""
    n_shared = result.get("n_shared_groups")
    return ("yes" if is_shared else "no") + (f" ({count(n_shared, 'group')})" if n_shared else "")


def _floor(value: float | None) -> str:
    return "none" if value is None or pd.isna(value) else proportion(value)


def _figures(figure: Mapping[str, Any]) -> dict[str, Any]:
    return {name: figure[name] for name in _FIGURES}


def _numeric(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    return table.astype(dict.fromkeys(columns, float))
