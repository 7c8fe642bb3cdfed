"""Rewrites the evidence of a model of format ``sslmri-2`` in the words of ``sslmri-3``; no number changes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sslmri.cohorts.protocols import EVIDENCE_FOLDERS
from sslmri.models.cards import FORMAT
from sslmri.models.evidence import (
    Controls,
    CrossValidation,
    Evidence,
    GateTable,
    LabelEfficiency,
    Metrics,
    write_evidence,
)

_Content = dict[str, Any]
_KEYS = {
    "controls": "shortcuts",
    "count": "n_cases",
    "flagged": "rate",
    "floors": "baselines",
    "heads": "diseases",
    "kept_all": "other_cohorts",
    "kept_other": "unrelated",
    "kept_pictures": "synthetic",
    "n_scans": "n_slices",
    "other_healthy": "healthy_flagged",
    "refused_own": "in_distribution",
    "says": "message",
    "sentences": "messages",
    "share_applies": "fraction_in_distribution",
    "share_brain": "fraction_brain",
    "share_right": "accuracy",
    "subject": "groups",
    "subject_accuracy": "group_accuracy",
    "subject_auroc": "group_auroc",
    "subject_later_stages_auroc": "group_later_stages_auroc",
}
_COUNTS = {"slices": "n_cases", "groups": "n_groups"}  # where they are numbers
_RELATIONS = {
    "own": "in distribution",
    "same contrasts": "same sequences",
    "other": "unrelated",
    "no brain": "not brain",
}
_PHRASES = {
    "made-up pictures that are no brain MRI, drawn anew": "synthetic images that are not brain MRI",
    "which neither the bank nor its thresholds have seen": "on which neither the bank nor its thresholds were fitted",
    "made-up pictures": "synthetic images",
}


def convert_evidence(folder: Path) -> None:
    """Rewrites the evidence that lies next to a model, under both protocols; files of the new format stay."""
    for protocol_folder in EVIDENCE_FOLDERS.values():
        for kind, (name, convert) in _CONVERTERS.items():
            path = folder / protocol_folder / name
            content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
            if content and content.get("format") != FORMAT:
                new = json.dumps({**convert(_renamed(content)), "format": FORMAT})
                write_evidence(path.parent, TypeAdapter(kind).validate_json(new, extra="ignore"))
                if name != kind.FILE:
                    path.unlink()


def _renamed(old: Any) -> Any:
    """Returns the content of a file with every key in the new words."""
    if isinstance(old, list):
        return [_renamed(item) for item in old]
    if not isinstance(old, dict):
        return old
    counts = {key: _COUNTS[key] for key in old.keys() & _COUNTS.keys() if isinstance(old[key], int)}
    return {(_KEYS | counts).get(key, key): _renamed(value) for key, value in old.items()}


def _metrics(old: _Content) -> _Content:
    return {**old, "diseases": {key: _disease(result) for key, result in old["diseases"].items()}}


def _disease(old: _Content) -> _Content:
    of_types = old["types"]["baselines"] if old["types"] else {}
    return {
        **old,
        "slices": {**old, "n_cases": old["n_slices"]},
        "groups": {**old["groups"], "n_cases": old["n_groups"], "n_groups": old["n_groups"]},
        "baselines": {
            name: {**baseline, "types_balanced_accuracy": of_types.get(name, {}).get("balanced_accuracy")}
            for name, baseline in old["baselines"].items()
        },
    }


def _controls(old: _Content) -> _Content:
    return {**old, "rule": old["rules"]["shortcut"]}


def _efficiency(old: _Content) -> _Content:
    return {
        **old,
        "diseases": {
            key: {**own, "curves": _points(own["curves"]), "differences": _points(own["differences"])}
            for key, own in old["diseases"].items()
        },
    }


def _points(rows: list[_Content]) -> list[_Content]:
    return [
        {
            **row,
            "measure": row["measure"].replace("subject_", "group_"),
            "regime": row["regime"].replace("floor", "baseline"),
            "estimate": row,
        }
        for row in rows
    ]


def _crossvalidation(old: _Content) -> _Content:
    diseases = {key: {"pooled": _disease(own), "folds": own["folds"]} for key, own in old["diseases"].items()}
    return {**old, "diseases": diseases}


def _gate(old: _Content) -> _Content:
    rows = [
        {**row, "relation": _RELATIONS.get(row["relation"], row["relation"]), "cohort": _in_new_words(row["cohort"])}
        for row in old["rows"]
    ]
    return {**old, "rule": _in_new_words(old["rule"]), "rows": rows}


def _in_new_words(text: str) -> str:
    """Returns the rule of a gate table, or the name of a cohort in it, in the words of ``sslmri.gate.measure``."""
    for old, new in _PHRASES.items():
        text = text.replace(old, new)
    return text


_CONVERTERS: dict[type[Evidence], tuple[str, Callable[[_Content], _Content]]] = {
    Metrics: ("metrics.json", _metrics),
    Controls: ("controls.json", _controls),
    LabelEfficiency: ("label_efficiency.json", _efficiency),
    CrossValidation: ("crossvalidation.json", _crossvalidation),
    GateTable: ("applicability.json", _gate),
}
