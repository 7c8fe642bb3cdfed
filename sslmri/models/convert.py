"""Rewrites a model of the former format in the words of this version: no weight and no number changes."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.numpy import load

from sslmri.cohorts.protocols import EVIDENCE_FOLDERS, GROUP_DISJOINT
from sslmri.diseases import DISEASES
from sslmri.errors import ModelError
from sslmri.files import write_json
from sslmri.models.architecture import Architecture
from sslmri.models.bank import BankCard, write_bank
from sslmri.models.cards import FORMAT, SET_RULE, THRESHOLD_RULE, EncoderCard, HeadCard, TrainingData
from sslmri.models.evidence import (
    Controls,
    Evidence,
    GateTable,
    LabelEfficiency,
    Metrics,
    write_evidence,
)
from sslmri.models.folder import (
    BANK_CARD,
    BANK_FILE,
    ENCODER_CARD,
    FORMER_FORMAT,
    HEADS,
    MODEL_FILE,
    check_format,
    find_model,
    replaced,
    write_card,
    write_model_file,
)
from sslmri.models.integrity import parse_json, read_bounded, read_listed

_Content = dict[str, Any]
_T = TypeVar("_T")
_ARCHITECTURES = {"resnet50-1ch": Architecture(), "resnet50-1ch-os16": Architecture(output_stride=16)}
_NO_TERMS = "origin and terms not recorded"
_PRECISION = "bfloat16"  # of every training of the former format
_KEYS = {
    "controls": "shortcuts",
    "count": "n_cases",
    "flagged": "rate",
    "floors": "baselines",
    "heads": "diseases",
    "kept_all": "other_cohorts",
    "kept_other": "unrelated",
    "kept_pictures": "synthetic",
    "location_weight": "localisation_weight",
    "n_scans": "n_slices",
    "other_healthy": "healthy_flagged",
    "pictures_sha256": "images_sha256",
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
    "threshold_figures": "threshold_metrics",
}
_COUNTS = {"slices": "n_cases", "groups": "n_groups"}  # where they are numbers
_PHRASES = {
    "made-up pictures that are no brain MRI, drawn anew": "synthetic images that are not brain MRI",
    "which neither the bank nor its thresholds have seen": "on which neither the bank nor its thresholds were fitted",
    "made-up pictures": "synthetic images",
    "no brain": "not brain",
}
_RELATIONS = {
    "own": "in distribution",
    "same contrasts": "same sequences",
    "other": "unrelated",
    "no brain": "not brain",
}


def convert_model(folder: Path, evidence_note: str | None = None) -> Path:
    """Returns the model folder, after rewriting it in the format of this version, whole or not at all.

    Args:
        folder: a model folder of the former format, or a run folder with one.
        evidence_note: what a reader of its stored results must know.

    Raises:
        ModelError: there is no model of the former format, or it is damaged.
    """
    folder = find_model(folder)
    former = parse_json(read_bounded(folder, MODEL_FILE, "name a folder with a model"), folder / MODEL_FILE)
    if former.get("format") != FORMER_FORMAT:
        check_format(former.get("format"), folder)
        raise ModelError(f"Expected a model of format {FORMER_FORMAT} in {folder}: it is converted already.")
    try:
        for name in former["files"]:  # every hash is checked
            read_listed(folder, former["files"], name)
        with replaced(folder) as new:
            _convert(new, former, evidence_note)
    except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ModelError(f"Expected a whole model of format {FORMER_FORMAT} in {folder}: copy it again.") from error
    return folder


def _convert(folder: Path, former: _Content, evidence_note: str | None) -> None:
    terms = former["training"]["cohorts"]
    encoder = folder / ENCODER_CARD
    write_card(encoder, _as(EncoderCard, _encoder(_renamed(encoder), terms)))
    for path in [folder / name for name in former["files"] if name.startswith(HEADS) and name.endswith(".json")]:
        write_card(path, _as(HeadCard, _head(_renamed(path))))
    if (folder / BANK_CARD).exists():
        convert_bank(folder)
    for name in EVIDENCE_FOLDERS.values():
        convert_evidence(folder / name)
    training = _as(TrainingData, _training(former["training"], terms))
    write_model_file(folder, former["name"], training, former["created"], evidence_note)


def convert_bank(folder: Path) -> None:
    """Rewrites the bank of a model of the former format. The distance thresholds go: they never decided."""
    card, arrays = _renamed(folder / BANK_CARD), load((folder / BANK_FILE).read_bytes())
    close_match = {disease: distances["similar"] for disease, distances in card["thresholds"].items()}
    in_new_words = {name.replace("kind_", "domain_"): array for name, array in arrays.items()}
    write_bank(folder, in_new_words, _as(BankCard, card | {"svms": card["rules"], "close_match": close_match}))


def convert_evidence(folder: Path) -> None:
    """Rewrites the evidence of a model of the former format under one protocol."""
    for kind, (name, convert) in _EVIDENCE.items():
        if (path := folder / name).exists():
            write_evidence(folder, _as(kind, convert(_renamed(path)) | {"format": FORMAT}))
            if name != kind.FILE:
                path.unlink()
    if (path := folder / "data.json").exists():
        write_json(path, _summary(parse_json(path.read_bytes(), path)))


def _as(kind: type[_T], content: _Content) -> _T:
    """Returns content as a value of this version, without the fields that it no longer has."""
    return TypeAdapter(kind).validate_json(json.dumps(content), extra="ignore")


def _renamed(path: Path) -> _Content:
    """Returns the content of a JSON file with every key in the new words."""

    def renamed(value: Any) -> Any:
        if isinstance(value, list):
            return [renamed(item) for item in value]
        if not isinstance(value, dict):
            return value
        counts = {key: _COUNTS[key] for key in value.keys() & _COUNTS.keys() if isinstance(value[key], int)}
        return {(_KEYS | counts).get(key, key): renamed(item) for key, item in value.items()}

    return renamed(parse_json(path.read_bytes(), path))


def _training(content: _Content, terms: Mapping[str, str]) -> _Content:
    return {
        "protocol": content.get("protocol", GROUP_DISJOINT),
        "groups_sha256": content["groups_sha256"],
        "images_sha256": content.get("images_sha256"),
        "counts": {"groups": content["n_groups"], "slices": content["n_slices"]},
        "cohorts": {cohort: terms.get(cohort, _NO_TERMS) for cohort in content["cohorts"]},
    }


def _encoder(card: _Content, terms: Mapping[str, str]) -> _Content:
    if card["preparation"].get("crop_to_head"):
        raise ModelError("Expected a model of whole slices, got one of slices cut to the head: train it again.")
    settings = card["pretraining"]
    learned = {key: settings.pop(key) for key in ("protocol", "images_sha256") if key in settings}
    architecture = asdict(_ARCHITECTURES[card["architecture"]])
    return card | {"architecture": architecture, "data": _training(card | learned, terms)}


def _head(card: _Content) -> _Content:
    counts = {
        label: {split: {"groups": groups, "slices": slices} for split, (groups, slices) in splits.items()}
        for label, splits in card["counts"].items()
    }
    rules = {"threshold_rule": THRESHOLD_RULE, "set_rule": SET_RULE}  # those of the former format, in other words
    return card | rules | {"counts": counts, "finetuning": {**card["finetuning"], "precision": _PRECISION}}


def _metrics(old: _Content) -> _Content:
    return old | {"diseases": {key: _disease(result) for key, result in old["diseases"].items()}}


def _disease(old: _Content) -> _Content:
    of_types = old["types"]["baselines"] if old["types"] else {}
    return old | {
        "slices": old | {"n_cases": old["n_slices"]},
        "groups": old["groups"] | {"n_cases": old["n_groups"], "n_groups": old["n_groups"]},
        "baselines": {
            name: baseline | {"types_balanced_accuracy": of_types.get(name, {}).get("balanced_accuracy")}
            for name, baseline in old["baselines"].items()
        },
    }


def _controls(old: _Content) -> _Content:
    return old | {"rule": old["rules"]["shortcut"]}


def _efficiency(old: _Content) -> _Content:
    for curves in old["diseases"].values():
        for point in curves["curves"] + curves["differences"]:
            point |= {
                "measure": point["measure"].replace("subject_", "group_"),
                "regime": point["regime"].replace("floor", "baseline"),
                "estimate": dict(point),
            }
    return old


def _gate(old: _Content) -> _Content:
    for row in old["rows"]:
        row |= {"relation": _in_new_words(row["relation"]), "cohort": _in_new_words(row["cohort"])}
    return old | {"rule": _in_new_words(old["rule"])}


def _in_new_words(text: str) -> str:
    """Returns a rule, a relation or the name of a cohort of a gate table in the words of ``sslmri.gate.measure``."""
    for old, new in _PHRASES.items():
        text = text.replace(old, new)
    return _RELATIONS.get(text, text)


def _summary(content: _Content) -> _Content:
    """Returns a summary of data whose limitations name their disease in a field, not by how they begin."""
    keys = {disease.title: key for key, disease in DISEASES.items()}
    notices = [
        {"disease": next((key for title, key in keys.items() if text.startswith(title)), None), "text": text}
        for text in content["faults"]
    ]
    return content | {"faults": notices}


_EVIDENCE: dict[type[Evidence], tuple[str, Callable[[_Content], _Content]]] = {
    Metrics: ("metrics.json", _metrics),
    Controls: ("controls.json", _controls),
    LabelEfficiency: ("label_efficiency.json", _efficiency),
    GateTable: ("applicability.json", _gate),
}
