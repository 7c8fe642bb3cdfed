"""Rewrites a model of the former format: cards and evidence change, no weight does."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from sslmri.diseases import DISEASES
from sslmri.errors import ModelError
from sslmri.files import write_json
from sslmri.models.architecture import Architecture
from sslmri.models.bank import convert_bank
from sslmri.models.cards import SET_RULE, THRESHOLD_RULE, EncoderCard, HeadCard, TrainingData
from sslmri.models.convert_evidence import convert_evidence
from sslmri.models.folder import (
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
from sslmri.models.integrity import check_list, parse_as, parse_json, read_bounded, read_listed
from sslmri.scans.slices import Preparation

_Content = Mapping[str, Any]
_NO_TERMS = "origin and terms not recorded"
_PRECISION = "bfloat16"  # of every training of the former format


def convert_model(folder: Path, evidence_note: str | None = None) -> Path:
    """Returns the model folder, after rewriting it in the format of this version, whole or not at all.

    Args:
        folder: a model folder of the former format, or a run folder with one.
        evidence_note: what a reader of its stored results must know.

    Raises:
        ModelError: there is no model of the former format, or it is damaged.
    """
    folder = find_model(folder)
    path = folder / MODEL_FILE
    listed = parse_json(read_bounded(folder, MODEL_FILE, "name a folder with a model"), path)
    if listed.get("format") != FORMER_FORMAT:
        check_format(listed.get("format"), folder)
        raise ModelError(f"Expected a model of format {FORMER_FORMAT} in {folder}: it is converted already.")
    try:
        files, training = listed["files"], listed["training"]
        check_list(files, folder, {ENCODER_CARD})
        read = {name: read_listed(folder, files, name) for name in files}  # every hash is checked
        cards = {name: parse_json(data, folder / name) for name, data in read.items() if name.endswith(".json")}
        data = parse_as(TrainingData, _bytes(_training(training, training["cohorts"])), path)
        encoder = parse_as(
            EncoderCard, _bytes(_encoder(cards[ENCODER_CARD], training["cohorts"])), folder / ENCODER_CARD
        )
        names = [name for name in cards if name.startswith(f"{HEADS}/")]
        heads = {name: parse_as(HeadCard, _bytes(_head(cards[name])), folder / name) for name in names}
        with replaced(folder) as new:
            write_card(new / ENCODER_CARD, encoder)
            for name, head in heads.items():
                write_card(new / name, head)
            convert_bank(new)
            convert_evidence(new)
            for summary in new.glob("evidence/**/data.json"):
                write_json(summary, _summary(parse_json(summary.read_bytes(), summary)))
            write_model_file(new, listed["name"], data, listed["created"], evidence_note)
    except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ModelError(f"Expected a whole model of format {FORMER_FORMAT} in {folder}: copy it again.") from error
    return folder


def _training(content: _Content, terms: Mapping[str, str]) -> _Content:
    return {
        "protocol": content.get("protocol", "group-disjoint"),
        "groups_sha256": content["groups_sha256"],
        "images_sha256": content.get("pictures_sha256"),
        "counts": {"groups": content["n_groups"], "slices": content["n_slices"]},
        "cohorts": {cohort: terms.get(cohort, _NO_TERMS) for cohort in content["cohorts"]},
    }


def _encoder(card: _Content, terms: Mapping[str, str]) -> _Content:
    if card["preparation"].get("crop_to_head"):
        raise ModelError("Expected a model of whole slices, got one of slices cut to the head: train it again.")
    known = {field.name for field in fields(Preparation)}
    settings = dict(card["pretraining"])
    learned = {key: settings.pop(key) for key in ("protocol", "pictures_sha256") if key in settings}
    return {
        "architecture": asdict(Architecture.from_name(card["architecture"])),
        "preparation": {name: value for name, value in card["preparation"].items() if name in known},
        "pretraining": settings,
        "data": _training({**card, **learned}, terms),
        **{name: card[name] for name in ("knn", "versions", "created")},
    }


def _head(card: _Content) -> _Content:
    settings = {"localisation_weight" if key == "location_weight" else key: v for key, v in card["finetuning"].items()}
    counts = {
        label: {split: {"groups": groups, "slices": slices} for split, (groups, slices) in splits.items()}
        for label, splits in card["counts"].items()
    }
    changed = {"threshold_metrics": card["threshold_figures"], "finetuning": {**settings, "precision": _PRECISION}}
    rules = {"threshold_rule": THRESHOLD_RULE, "set_rule": SET_RULE}  # those of the former format, in other words
    kept = {name: value for name, value in card.items() if name != "threshold_figures"}
    return kept | changed | rules | {"counts": counts}


def _summary(content: _Content) -> _Content:
    """Returns a summary of data whose limitations name their disease in a field, not by how they begin."""
    keys = {disease.title: key for key, disease in DISEASES.items()}
    notices = [
        {"disease": next((key for title, key in keys.items() if text.startswith(title)), None), "text": text}
        for text in content["faults"]
    ]
    return {**content, "faults": notices}


def _bytes(content: _Content) -> bytes:
    return json.dumps(content).encode()
