"""The tables that ``controls`` prints."""

from collections.abc import Mapping, Sequence
from typing import Any

from sslmri.diseases import DISEASES
from sslmri.evidence.shortcuts import CONTROLS


def report_controls(content: Mapping[str, Any]) -> str:
    """Returns the tables that ``controls`` prints: shortcuts, false alarms and localisation, and what they mean."""
    parts = [
        _table(
            ("task", "seen", "balanced accuracy", "95 % interval", "AUROC any disease", "verdict"),
            _shortcut_rows(content),
        ),
        _table(("head", "healthy slices of", "flagged", "95 % interval", "groups", "slices"), _alarm_rows(content)),
        _table(("head", "measure", "figure", "95 % interval", "groups", "slices"), _map_rows(content)),
        "\n".join(_sentences(content)),
    ]
    return "\n\n".join(parts)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _shortcut_rows(content: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for key, result in content["diseases"].items():
        title = DISEASES[key].title
        seen = [("the slice: this model", result["model"], "-")]
        seen += [(CONTROLS[name], own, own["verdict"]) for name, own in result["controls"].items()]
        for name, own, verdict in seen:
            rows.append((title, name, *_cells(own["balanced_accuracy"]), _number(own["auroc"]["raw"]), verdict))
        rows.append((title, "nothing: chance", _number(result["chance"]), "-", "0.500", "-"))
    return rows


def _alarm_rows(content: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = [
        (DISEASES[key].title, cohort, *_cells(own["flagged"]), str(own["n_groups"]), str(own["n_slices"]))
        for key, result in content["diseases"].items()
        for cohort, own in result["other_healthy"].items()
    ]
    own = content["family_wise"]
    return [*rows, ("any head", "all cohorts", *_cells(own["flagged"]), str(own["n_groups"]), str(own["n_slices"]))]


def _map_rows(content: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for key, result in content["diseases"].items():
        found = result["localisation"]
        if found is None:
            continue
        counts = str(found["n_groups"]), str(found["n_slices"])
        measures = [
            (f"{game}, map of the {which} class", found[which][game])
            for which in ("true", "predicted")
            for game in ("pointing", "energy")
        ]
        measures += [
            (f"random heads, {name.replace('_', ' ')}", found["random_head"][name])
            for name in ("pointing", "rank_correlation")
        ]
        rows += [(DISEASES[key].title, name, *_cells(figure), *counts) for name, figure in measures]
        rows += [
            (DISEASES[key].title, f"random point of the {where}", _number(share), "-", *counts)
            for where, share in found["random_point"].items()
        ]
    return rows


def _sentences(content: Mapping[str, Any]) -> list[str]:
    return [
        f"{DISEASES[key].title}: {sentence}"
        for key, result in content["diseases"].items()
        for sentence in [*result["sentences"], *(result["localisation"] or {}).get("sentences", [])]
    ]


def _cells(figure: Mapping[str, Any]) -> tuple[str, str]:
    if figure["value"] is None:
        return _number(figure["raw"]), str(figure["reason"])
    return _number(figure["value"]), f"{_number(figure['low'])} to {_number(figure['high'])}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
