"""Evidence of the former format is rewritten with every number it holds."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sslmri.diseases import DISEASES
from sslmri.models.convert import convert_evidence
from sslmri.models.evidence import (
    Controls,
    Evidence,
    GateTable,
    LabelEfficiency,
    Metrics,
    read_evidence,
)

NUMBERS = itertools.count(1)
HEADER = {"created": "then", "encoder_sha256": "e"}


def number() -> float:
    """Returns another number each time."""
    return next(NUMBERS) / 1024


def count() -> int:
    return 10_000 + next(NUMBERS)


def estimate() -> dict[str, Any]:
    return {name: number() for name in ("value", "low", "high", "raw")} | {"reason": None}


def classes(labels: tuple[str, ...]) -> dict[str, Any]:
    names = ("precision", "recall", "specificity", "f1", "auroc", "average_precision")
    return {label: {"slices": count(), "groups": count()} | {name: estimate() for name in names} for label in labels}


def cases(labels: tuple[str, ...]) -> dict[str, Any]:
    names = ("accuracy", "balanced_accuracy", "auroc", "average_precision", "brier", "ece")
    bin_ = {name: number() for name in ("low", "high", "probability", "share_right")}
    rest = {"confusion": [[count()]], "reliability": [bin_ | {"count": count(), "groups": count()}]}
    return {name: estimate() for name in names} | rest | {"per_class": classes(labels)}


def operating_point() -> dict[str, Any]:
    return {"sensitivity": estimate(), "specificity": estimate()}


def disease(key: str) -> dict[str, Any]:
    """Returns the former content of one disease with types and later stages, whichever it has."""
    labels = DISEASES[key].classes
    thresholds = {
        name: {"threshold": number(), "slices": operating_point(), "subject": operating_point()}
        for name in ("low", "high")
    }
    coverage = {
        place: {
            "coverage": {label: estimate() | {"groups": 7} for label in labels},
            "mean_size": estimate(),
            "empty": estimate(),
        }
        for place in ("slices", "subject")
    }
    names = ("accuracy", "balanced_accuracy", "auroc", "subject_accuracy", "subject_auroc", "types_accuracy")
    floors = {"majority": {name: number() for name in (*names, "later_stages_auroc", "subject_later_stages_auroc")}}
    types = {"n_slices": count(), "n_groups": count(), "accuracy": estimate(), "balanced_accuracy": estimate()}
    later = {"n_groups": count(), "n_slices": count(), "auroc": estimate(), "subject_auroc": estimate()}
    floor = floors["majority"]
    return cases(labels) | {
        "classes": list(labels),
        "unit": "subject",
        "n_slices": count(),
        "n_groups": count(),
        "subject": cases(labels),
        "thresholds": thresholds,
        "sets": {"thresholds": dict.fromkeys(labels), "abstaining": list(labels), **coverage},
        "types": types
        | {
            "classes": list(labels[1:]),
            "confusion": [[count()]],
            "per_class": classes(labels[1:]),
            "floors": {"majority": {"accuracy": floor["types_accuracy"], "balanced_accuracy": number()}},
        },
        "later_stages": later | {"classes": list(labels[2:]), "left_out": labels[1], "floors": {}},
        "floors": floors,
        "grade": {"grade": "limited", "reason": "Few."},
        "notes": ["A note."],
        "n_shared_groups": count(),
    }


def rate(name: str, slices: str = "n_slices") -> dict[str, Any]:
    return {name: estimate(), slices: count(), "n_groups": count()}


def controls() -> dict[str, Any]:
    def pair() -> dict[str, Any]:
        return {"balanced_accuracy": estimate(), "auroc": estimate()}

    game = {"pointing": estimate(), "energy": estimate(), "n_flat": count()}
    localisation = {
        **{name: count() for name in ("n_slices", "n_groups", "n_left_out")},
        "random_point": {"slice": number(), "head": number()},
        "predicted": game,
        "true": game,
        "random_head": {"n_heads": count(), "pointing": estimate(), "rank_correlation": estimate()},
        "sentences": ["It points."],
    }
    result = {
        "n_slices": count(),
        "n_groups": count(),
        "chance": number(),
        "model": pair(),
        "controls": {"file": pair() | {"verdict": "part"}},
        "sentences": ["A sentence."],
        "other_healthy": {"c": rate("flagged")},
        "localisation": localisation,
    }
    rest = {"rules": {"shortcut": "The rule."}, "diseases": {"ms": result}, "family_wise": rate("flagged")}
    return HEADER | {"format": "sslmri-controls-1"} | rest


def label_efficiency() -> dict[str, Any]:
    point = {"regime": "floor", "labels": count(), "measure": "subject_auroc", **estimate(), "seeds": [number()]}
    result = {
        "unit": "subject",
        "n_groups": count(),
        "n_slices": count(),
        "labels_used": {"25": {"normal": count()}},
        "curves": [point | {"encoder": "pixels"}],
        "differences": [point | {"against": "random"}],
        "notes": [],
    }
    header = HEADER | {"encoder_created": "before", "groups_sha256": "g", "protocol": "group-disjoint"}
    rest = {"settings": {"labels": [count()]}, "not_run": [], "notes": [], "diseases": {"ms": result}}
    return header | {"format": "sslmri-label-efficiency-1"} | rest


def gate() -> dict[str, Any]:
    row = {"disease": "ms", "cohort": "c", "relation": "own", "n_slices": count(), "n_groups": count()}
    rows = [row | {"share_brain": number(), "share_applies": number()}]
    names = ("refused_own", "kept_other", "kept_all")
    heads = {"ms": {name: rate("rate", "n_scans") for name in names} | {"kept_pictures": None}}
    return HEADER | {"rule": "The rule.", "n_cases": count(), "rows": rows, "heads": heads}


def metrics() -> dict[str, Any]:
    diseases = {key: disease(key) for key in ("alzheimers", "tumours")}
    header = HEADER | {"format": "sslmri-2", "protocol": "group-disjoint", "n_shared_groups": count()}
    return header | {"diseases": diseases}


def numbers_of(content: Any) -> Iterator[float]:
    for value in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from numbers_of(value)
    if isinstance(content, int | float):
        yield content


@pytest.mark.parametrize(
    ("file", "kind", "old"),
    [
        ("metrics.json", Metrics, metrics()),
        ("controls.json", Controls, controls()),
        ("label_efficiency.json", LabelEfficiency, label_efficiency()),
        ("applicability.json", GateTable, gate()),
    ],
)
def test_every_number_of_the_former_file_is_in_the_new_one(
    file: str, kind: type[Evidence], old: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / file).write_text(json.dumps(old))
    convert_evidence(folder)
    assert read_evidence(folder, kind) is not None
    new = json.loads((folder / kind.FILE).read_text())
    assert set(numbers_of(old)) - set(numbers_of(new)) <= {7}  # groups of a class, which stand with its metrics
    assert set(numbers_of(new)) <= set(numbers_of(old))
    assert [path.name for path in folder.iterdir()] == [kind.FILE]
