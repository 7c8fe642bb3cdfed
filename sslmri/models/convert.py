"""Rewrites a model of the former format in the words of this version: no weight and no number changes."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.numpy import load

from sslmri.errors import ModelError
from sslmri.models.architecture import Architecture
from sslmri.models.bank import BankCard, write_bank
from sslmri.models.cards import SET_RULE, THRESHOLD_RULE, EncoderCard, HeadCard, TrainingData
from sslmri.models.folder import (
    BANK_CARD,
    BANK_FILE,
    ENCODER_CARD,
    EVIDENCE,
    FORMER_FORMAT,
    HEADS,
    MODEL_FILE,
    check_format,
    find_model,
    replaced,
    write_card,
    write_model_file,
)
from sslmri.models.integrity import parse_as, read_bounded, read_listed

_Content = dict[str, Any]
_T = TypeVar("_T")
_ARCHITECTURES = {"resnet50-1ch": Architecture(), "resnet50-1ch-os16": Architecture(output_stride=16)}
_NO_TERMS = "origin and terms not recorded"
_PRECISION = "bfloat16"  # of every training of the former format


def convert_model(folder: Path) -> Path:
    """Returns the model folder, after rewriting it in the format of this version, whole or not at all.

    Stored results go: the rules by which they were measured are not those of this version.

    Raises:
        ModelError: there is no model of the former format, or it is damaged.
    """
    folder = find_model(folder)
    former = parse_as(
        _Content, read_bounded(folder, MODEL_FILE, "name a folder with a model"), folder / MODEL_FILE, "a JSON object"
    )
    if former.get("format") != FORMER_FORMAT:
        check_format(former.get("format"), folder)
        raise ModelError(f"Expected a model of format {FORMER_FORMAT} in {folder}: it is converted already.")
    try:
        for name in former["files"]:  # every hash is checked
            read_listed(folder, former["files"], name)
        with replaced(folder) as new:
            _convert(new, former)
    except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ModelError(f"Expected a whole model of format {FORMER_FORMAT} in {folder}: copy it again.") from error
    return folder


def _convert(folder: Path, former: _Content) -> None:
    terms = former["training"]["cohorts"]
    encoder = folder / ENCODER_CARD
    write_card(encoder, _as(EncoderCard, _encoder(_content(encoder), terms)))
    for path in [folder / name for name in former["files"] if name.startswith(HEADS) and name.endswith(".json")]:
        write_card(path, _as(HeadCard, _head(_content(path))))
    if (folder / BANK_CARD).exists():
        convert_bank(folder)
    shutil.rmtree(folder / EVIDENCE, ignore_errors=True)
    write_model_file(folder, former["name"], _as(TrainingData, _training(former["training"], terms)), former["created"])


def convert_bank(folder: Path) -> None:
    """Rewrites the bank of a model of the former format. The distance thresholds go: they never decided."""
    card, arrays = _content(folder / BANK_CARD), load((folder / BANK_FILE).read_bytes())
    close_match = {disease: distances["similar"] for disease, distances in card["thresholds"].items()}
    in_new_words = {name.replace("kind_", "domain_"): array for name, array in arrays.items()}
    write_bank(folder, in_new_words, _as(BankCard, card | {"svms": card["rules"], "close_match": close_match}))


def _as(kind: type[_T], content: _Content) -> _T:
    """Returns content as a value of this version, without the fields that it no longer has."""
    return TypeAdapter(kind).validate_json(json.dumps(content), extra="ignore")


def _content(path: Path) -> _Content:
    content: _Content = json.loads(path.read_bytes())
    return content


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
    settings = card["pretraining"]
    learned = {key: settings.pop(key) for key in ("protocol", "pictures_sha256") if key in settings}
    architecture = asdict(_ARCHITECTURES[card["architecture"]])
    return card | {"architecture": architecture, "data": _training(card | learned, terms)}


def _head(card: _Content) -> _Content:
    counts = {
        label: {split: {"groups": groups, "slices": slices} for split, (groups, slices) in splits.items()}
        for label, splits in card["counts"].items()
    }
    rules = {"threshold_rule": THRESHOLD_RULE, "set_rule": SET_RULE}  # those of the former format, in other words
    rules |= {"threshold_metrics": card["threshold_figures"]}
    return card | rules | {"counts": counts, "finetuning": {**card["finetuning"], "precision": _PRECISION}}
