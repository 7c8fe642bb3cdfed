"""Rewrites the evidence of a model of format ``sslmri-2`` in the words of ``sslmri-3``; no number changes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sslmri.cohorts.protocols import EVIDENCE_FOLDERS
from sslmri.models.evidence import (
    FORMAT,
    Controls,
    CrossValidation,
    Evidence,
    GateTable,
    LabelEfficiency,
    Metrics,
    write_evidence,
)

_ESTIMATE = {"value", "low", "high", "raw", "reason"}
_CASES = (
    *("accuracy", "balanced_accuracy", "auroc", "average_precision", "brier", "ece"),
    *("confusion", "reliability", "per_class"),
)
_RENAMED = {
    "slices": "n_cases",
    "groups": "n_groups",
    "count": "n_cases",
    "share_right": "accuracy",
}
_BASELINES = {
    "subject_accuracy": "group_accuracy",
    "subject_auroc": "group_auroc",
    "subject_later_stages_auroc": "group_later_stages_auroc",
}


def convert_evidence(folder: Path) -> None:
    """Rewrites the evidence that lies next to a model, under both protocols; files of the new format stay."""
    for protocol_folder in EVIDENCE_FOLDERS.values():
        for kind, (name, convert) in _CONVERTERS.items():
            path = folder / protocol_folder / name
            content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
            if content and content.get("format") != FORMAT:
                new = json.dumps({**convert(content), "format": FORMAT})
                write_evidence(path.parent, TypeAdapter(kind).validate_json(new))
                if name != kind.FILE:
                    path.unlink()


def _metrics(old: Mapping[str, Any]) -> dict[str, Any]:
    return {**old, "diseases": {key: _disease(result) for key, result in old["diseases"].items()}}


def _disease(old: Mapping[str, Any]) -> dict[str, Any]:
    counts = {"n_cases": old["n_slices"], "n_groups": old["n_groups"]}
    types, later = old["types"], old["later_stages"]
    return {
        "classes": old["classes"],
        "unit": old["unit"],
        "slices": counts | _cases(old),
        "groups": counts | {"n_cases": old["n_groups"]} | _cases(old["subject"]),
        "thresholds": old["thresholds"] and {name: _threshold(own) for name, own in old["thresholds"].items()},
        "sets": old["sets"] and _sets(old["sets"]),
        "types": types
        and {key: types[key] for key in ("n_slices", "n_groups", "accuracy", "balanced_accuracy", "confusion")}
        | {"per_class": _classes(types["per_class"])},
        "later_stages": later
        and {key: later[key] for key in ("classes", "n_slices", "n_groups", "auroc")}
        | {"group_auroc": later["subject_auroc"]},
        "baselines": {
            name: {_BASELINES.get(key, key): value for key, value in baseline.items()}
            | {"types_balanced_accuracy": types["floors"][name]["balanced_accuracy"] if types else None}
            for name, baseline in old["floors"].items()
        },
        "grade": old["grade"],
        "notes": old["notes"],
        "n_shared_groups": old.get("n_shared_groups", 0),
    }


def _cases(old: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: old[key] for key in _CASES}
    return kept | {
        "reliability": [{_RENAMED.get(key, key): value for key, value in own.items()} for own in old["reliability"]],
        "per_class": _classes(old["per_class"]),
    }


def _classes(old: Mapping[str, Any]) -> dict[str, Any]:
    return {label: {_RENAMED.get(key, key): value for key, value in own.items()} for label, own in old.items()}


def _threshold(old: Mapping[str, Any]) -> dict[str, Any]:
    return {"threshold": old["threshold"], "slices": old["slices"], "groups": old["subject"]}


def _sets(old: Mapping[str, Any]) -> dict[str, Any]:
    def coverage(own: Mapping[str, Any]) -> dict[str, Any]:
        found = {label: {key: row[key] for key in _ESTIMATE} for label, row in own["coverage"].items()}
        return {**own, "coverage": found}

    return {"thresholds": old["thresholds"], "slices": coverage(old["slices"]), "groups": coverage(old["subject"])}


def _controls(old: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "encoder_sha256": old["encoder_sha256"],
        "created": old["created"],
        "rule": old["rules"]["shortcut"],
        "diseases": {key: _disease_controls(own) for key, own in old["diseases"].items()},
        "family_wise": _rate(old["family_wise"], "flagged"),
    }


def _disease_controls(old: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: old[key] for key in ("n_slices", "n_groups", "chance", "model")}
    maps = old["localisation"]
    return kept | {
        "shortcuts": old["controls"],
        "messages": old["sentences"],
        "healthy_flagged": {cohort: _rate(own, "flagged") for cohort, own in old["other_healthy"].items()},
        "localisation": maps
        and {key: value for key, value in maps.items() if key != "sentences"} | {"messages": maps["sentences"]},
    }


def _rate(old: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {"rate": old[name], "n_slices": old.get("n_slices", old.get("n_scans")), "n_groups": old["n_groups"]}


def _efficiency(old: Mapping[str, Any]) -> dict[str, Any]:
    def points(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in row.items() if key not in _ESTIMATE}
            | {
                "measure": row["measure"].replace("subject_", "group_"),
                "regime": row["regime"].replace("floor", "baseline"),
                "estimate": {key: row[key] for key in _ESTIMATE},
            }
            for row in rows
        ]

    return {
        **old,
        "diseases": {
            key: {**own, "curves": points(own["curves"]), "differences": points(own["differences"])}
            for key, own in old["diseases"].items()
        },
    }


def _crossvalidation(old: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **old,
        "folds": [{("message" if key == "says" else key): value for key, value in own.items()} for own in old["folds"]],
        "diseases": {
            key: {
                "pooled": _disease(own),
                "folds": [{_BASELINES.get(name, name): v for name, v in fold.items()} for fold in own["folds"]],
            }
            for key, own in old["diseases"].items()
        },
    }


def _gate(old: Mapping[str, Any]) -> dict[str, Any]:
    names = {"share_brain": "fraction_brain", "share_applies": "fraction_in_distribution"}
    rates = {
        "refused_own": "in_distribution",
        "kept_other": "unrelated",
        "kept_all": "other_cohorts",
        "kept_pictures": "synthetic",
    }
    relations = {
        "own": "in distribution",
        "same contrasts": "same sequences",
        "other": "unrelated",
        "no brain": "not brain",
    }
    return {
        **{key: old[key] for key in ("encoder_sha256", "created", "n_cases")},
        "rule": _in_new_words(old["rule"]),
        "rows": [
            {names.get(key, key): value for key, value in row.items()}
            | {"relation": relations.get(row["relation"], row["relation"]), "cohort": _in_new_words(row["cohort"])}
            for row in old["rows"]
        ],
        "diseases": {
            key: {new: own[name] and _rate(own[name], "rate") for name, new in rates.items()}
            for key, own in old["heads"].items()
        },
    }


def _in_new_words(text: str) -> str:
    """Returns the rule of a gate table, or the name of a cohort in it, in the words of ``sslmri.gate.measure``."""
    for old, new in (
        ("made-up pictures that are no brain MRI, drawn anew", "synthetic images that are not brain MRI"),
        (
            "which neither the bank nor its thresholds have seen",
            "on which neither the bank nor its thresholds were fitted",
        ),
        ("made-up pictures", "synthetic images"),
    ):
        text = text.replace(old, new)
    return text


_CONVERTERS: dict[type[Evidence], tuple[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    Metrics: ("metrics.json", _metrics),
    Controls: ("controls.json", _controls),
    LabelEfficiency: ("label_efficiency.json", _efficiency),
    CrossValidation: ("crossvalidation.json", _crossvalidation),
    GateTable: ("applicability.json", _gate),
}
