"""The tables that ``evaluate`` prints."""

from collections.abc import Iterable, Mapping
from typing import Any

from sslmri.diseases import DISEASES

_FLOORS = ("nearest_neighbour", "pca_logistic", "majority")
_COLUMNS = "| task | measure | model | 95 % interval | 1-NN on pixels | PCA + LR | majority | groups | slices |"

_FOLD_MEASURES = (
    ("accuracy, slices", "accuracy"),
    ("balanced accuracy, slices", "balanced_accuracy"),
    ("AUROC any disease, slices", "auroc"),
    ("AUROC any disease, groups", "subject_auroc"),
)


def report(results: Mapping[str, Any]) -> str:
    """Returns the table of an evaluation: each figure with its interval, its floors, groups and slices; then notes."""
    lines = [_COLUMNS, "|" + "---|" * 9]
    for key, result in results.items():
        lines += _rows(DISEASES[key].title, result)
    return "\n".join([*lines, *_notes(results)])


def crossvalidation_report(content: Mapping[str, Any]) -> str:
    """Returns the tables of a cross-validation: figures over all test folds, then each fold; then what to know."""
    lines = [content["encoder"], "", _COLUMNS.replace("| model |", "| probe |"), "|" + "---|" * 9]
    for key, result in content["diseases"].items():
        lines += _rows(DISEASES[key].title, result)
    measures = [name for name, _ in _FOLD_MEASURES]
    lines += ["", f"| task | fold | {' | '.join(measures)} | groups | slices |", "|" + "---|" * (4 + len(measures))]
    for key, result in content["diseases"].items():
        for fold in result["folds"]:
            figures = " | ".join(_number(fold[name]) for _, name in _FOLD_MEASURES)
            counts = f"{fold['n_groups']} | {fold['n_slices']}"
            lines.append(f"| {DISEASES[key].title} | {fold['fold']} | {figures} | {counts} |")
        spread = " | ".join(_spread(result["spread"][name]) for _, name in _FOLD_MEASURES)
        lines.append(f"| {DISEASES[key].title} | lowest to highest | {spread} | | |")
    told = [f"- {note}" for note in content["notes"]] + [f"- {fold['says']}" for fold in content["folds"]]
    return "\n".join([*lines, "", *told, *_notes(content["diseases"])])


def _rows(title: str, result: Mapping[str, Any]) -> Iterable[str]:
    """Yields the rows of one disease: all classes, then the types or the later stages where it has them."""
    unit, types, later = result["unit"], result["types"], result["later_stages"]
    rows = [
        (title, "accuracy, slices", result["accuracy"], "accuracy", result),
        (title, "AUROC any disease, slices", result["auroc"], "auroc", result),
        (title, f"AUROC any disease, {unit}s", result["subject"]["auroc"], "subject_auroc", result),
    ]
    if types:
        name = f"{title}, reference class left out"
        rows.append((name, "accuracy, slices", types["accuracy"], "types_accuracy", types))
    if later:
        name = f"{title}, later stages against none"
        rows.append((name, "AUROC, slices", later["auroc"], "later_stages_auroc", later))
        rows.append((name, f"AUROC, {unit}s", later["subject_auroc"], "subject_later_stages_auroc", later))
    for name, measure, figure, floor, counted in rows:
        floors = " | ".join(_number(result["floors"][kind][floor]) for kind in _FLOORS)
        yield f"| {name} | {measure} | {_figure(figure)} | {floors} | {counted['n_groups']} | {counted['n_slices']} |"


def _notes(results: Mapping[str, Any]) -> list[str]:
    notes = [f"- {DISEASES[key].title}: {note}" for key, result in results.items() for note in result["notes"]]
    return ["", *notes] if notes else []


def _figure(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"{_number(figure['raw'])} | {figure['reason']}"
    return f"{_number(figure['value'])} | {_number(figure['low'])} to {_number(figure['high'])}"


def _spread(spread: Mapping[str, float] | None) -> str:
    return "-" if spread is None else f"{_number(spread['low'])} to {_number(spread['high'])}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
