"""The evidence of a model as tables: what the charts draw is what their buttons save."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from sslmri.cohorts.protocols import AS_PUBLISHED, Protocol
from sslmri.dashboard.text import count, proportion
from sslmri.diseases import class_title
from sslmri.evidence.tables import shortcut_rows
from sslmri.models.evidence import Point
from sslmri.models.key_measures import BASELINE_TITLES, key_measures
from sslmri.models.metrics import CaseMetrics, DiseaseControls, DiseaseMetrics, SetMetrics
from sslmri.models.model_card import SPLIT_RULES

_MEASURES = ("precision", "recall", "f1")
SPLIT_TITLES = {protocol: rule.partition(": ")[0] for protocol, rule in SPLIT_RULES.items()}
_OVERALL = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "auroc": "AUROC of any disease",
    "average_precision": "Average precision of any disease",
    "brier": "Brier score (0 to 2, lower is better)",
    "ece": "Expected calibration error (lower is better)",
}
_BY_CLASS = {
    "precision": "precision",
    "recall": "recall (sensitivity)",
    "specificity": "specificity",
    "f1": "F1",
    "auroc": "AUROC",
    "average_precision": "average precision",
}


def headline(result: DiseaseMetrics) -> pd.DataFrame:
    """Returns one row per measure of a disease: its value, its interval and its baselines."""
    rows = [
        {"measure": row.measure, **asdict(row.estimate)}
        | {key: getattr(result.baselines.get(key), row.baseline, None) for key in BASELINE_TITLES}
        for row in key_measures(result)
    ]
    return _numeric(pd.DataFrame(rows), *BASELINE_TITLES)


def protocols(results: Mapping[Protocol, DiseaseMetrics]) -> pd.DataFrame:
    """Returns one row per main metric with its value on each split, formatted for display."""
    columns = {
        SPLIT_TITLES[protocol]: {
            row.measure: "not estimable" if row.estimate.value is None else str(row.estimate)
            for row in key_measures(result)
        }
        for protocol, result in results.items()
    }
    return pd.DataFrame(columns).rename_axis("measure").fillna("").reset_index()


def split_note(protocol: Protocol, result: DiseaseMetrics, encoder: str) -> str:
    """Returns whose encoder was measured on a split, on how many groups and slices, and who is shared."""
    slices = result.slices
    tested = f"{count(slices.n_groups, 'test group')}, {count(slices.n_cases, 'test slice')}"
    is_shared = protocol == AS_PUBLISHED
    shared = count(result.n_shared_groups, "group") if result.n_shared_groups else "yes" if is_shared else "none"
    return f"{SPLIT_TITLES[protocol].capitalize()}: {tested}; encoder: {encoder}; patients shared: {shared}."


def pixels_sentence(result: DiseaseMetrics) -> str:
    """Returns that pixels without learning do as well, with the values, or nothing where they do not."""
    model = result.slices.accuracy.raw
    pixels = getattr(result.baselines.get("nearest_neighbour"), "accuracy", None)
    if model is None or pixels is None or pixels < model:
        return ""
    return f" Pixels without learning do as well: accuracy {proportion(pixels)} (1-NN) against {proportion(model)}."


def overall(result: DiseaseMetrics) -> pd.DataFrame:
    """Returns every metric over all classes, of slices and of groups side by side, formatted for display."""
    rows = [(title, getattr(result.slices, name), getattr(result.groups, name)) for name, title in _OVERALL.items()]
    if result.thresholds:
        for name, point in (("lower", result.thresholds.low), ("upper", result.thresholds.high)):
            is_own = point.group_threshold not in (None, point.threshold)
            own = f"; {result.unit}s {point.group_threshold:.2f}" if is_own else ""
            suffix = f"at the {name} threshold ({point.threshold:.2f}{own})"
            rows.append((f"Sensitivity {suffix}", point.slices.sensitivity, point.groups.sensitivity))
            rows.append((f"Specificity {suffix}", point.slices.specificity, point.groups.specificity))
    texts = [(title, str(slices), str(groups)) for title, slices, groups in rows]
    return pd.DataFrame(texts, columns=["measure", "slices", f"{result.unit}s"])


def by_class(metrics: CaseMetrics) -> pd.DataFrame:
    """Returns every metric of each class, one row per class, formatted for display."""
    rows = [
        {
            "class": class_title(label),
            "groups": scores.n_groups,
            **({} if metrics.n_cases == metrics.n_groups else {"slices": scores.n_cases}),
            **{title: str(getattr(scores, name)) for name, title in _BY_CLASS.items()},
        }
        for label, scores in metrics.per_class.items()
    ]
    return pd.DataFrame(rows)


def coverage(sets: SetMetrics, result: DiseaseMetrics) -> pd.DataFrame:
    """Returns how often the 90 % sets hold the true class, one row per class, formatted for display."""
    rows = [
        {
            "class": class_title(label),
            "in the set from": "" if threshold is None else proportion(threshold),
            "coverage, slices": str(sets.slices.coverage[label]),
            f"coverage, {result.unit}s": str(sets.groups.coverage[label]),
        }
        for label, threshold in sets.thresholds.items()
    ]
    return pd.DataFrame(rows)


def set_note(sets: SetMetrics, unit: str) -> str:
    """Returns how large the sets of slices and of groups are."""
    return (
        f"Mean number of classes in a set, slices: {sets.slices.mean_size}, {unit}s: {sets.groups.mean_size}; "
        f"fraction of empty sets, slices: {sets.slices.empty}."
    )


def per_class(metrics: CaseMetrics) -> pd.DataFrame:
    """Returns one row per class and measure: precision, recall, F1 with their intervals, groups and slices."""
    rows = [
        {
            "label": label,
            "measure": _BY_CLASS[measure],
            **asdict(getattr(scores, measure)),
            "groups": scores.n_groups,
            "slices": scores.n_cases,
        }
        for label, scores in metrics.per_class.items()
        for measure in _MEASURES
    ]
    return _numeric(pd.DataFrame(rows))


def errors(wrong: pd.DataFrame, n_shown: int) -> pd.DataFrame:
    """Returns the misclassified slices with the highest probability of a wrong class, one of each group."""
    worst = wrong.assign(probability=[row[row["predicted"]] for _, row in wrong.iterrows()])
    worst = worst.sort_values("probability", ascending=False, kind="stable").drop_duplicates("group").head(n_shown)
    named = worst.rename(columns={"name": "slice", "label": "truth"}).reset_index(drop=True)
    columns = ["slice", "truth", "predicted", "probability", "group"]
    return named[columns].assign(truth=named["truth"].map(class_title), predicted=named["predicted"].map(class_title))


def not_estimable(table: pd.DataFrame) -> list[str]:
    """Returns one sentence for each reason why values of a table cannot be estimated, naming what is missing."""
    missing = table[table["value"].isna()]
    names = missing["label"].map(class_title) if "label" in missing else missing["measure"]
    by_reason = names.groupby(missing["reason"].fillna("not estimable"), sort=False).unique()
    return [f"{', '.join(named)}: {reason}." for reason, named in by_reason.items()]


def shortcuts(result: DiseaseControls) -> pd.DataFrame:
    """Returns one row for the model and one for each control: balanced accuracy with its interval, and the verdict."""
    rows = [
        {"input": name, **asdict(metrics.balanced_accuracy), "verdict": metrics.verdict or ""}
        for name, metrics in shortcut_rows(result).items()
    ]
    return _numeric(pd.DataFrame(rows))


def efficiency(points: Sequence[Point], measure: str, by: str) -> pd.DataFrame:
    """Returns one row per point of a measure: its ``by``, encoder or rival, its regime, labels per class, value."""
    rows = [
        {**{name: getattr(point, name) for name in (by, "regime", "labels")}, **asdict(point.estimate)}
        for point in points
        if point.measure == measure
    ]
    order = [False, False, True]  # SimCLR, random, pixels; probe before fine-tuned; few labels first
    return _numeric(pd.DataFrame(rows)).sort_values([by, "regime", "labels"], ascending=order, ignore_index=True)


def _numeric(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Returns a table of estimates in which what is None is NaN, also where it is in all of a column."""
    return table.astype(dict.fromkeys(("value", "low", "high", "raw", *columns), float))
