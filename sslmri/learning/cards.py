"""What is saved beside the weights: everything that is needed to use them rightly. No torch here."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from sslmri.errors import ModelError
from sslmri.files import sha256_of, write_json
from sslmri.scans.slices import Preparation

FORMAT = "sslmri-2"
INTENDED_USE = "Research use only. Not a medical device, not for diagnosis or treatment decisions."
MODEL_FILE, ENCODER_FILE, ENCODER_CARD, HEADS = "model.json", "encoder.safetensors", "encoder.json", "heads"
BANK_FILE, BANK_CARD = "bank.safetensors", "bank.json"

_Card = TypeVar("_Card", "EncoderCard", "HeadCard")


@dataclass(frozen=True)
class EncoderCard:
    """What an encoder is and where it comes from.

    Attributes:
        architecture: ``resnet50-1ch``, or ``resnet50-1ch-os16`` with output stride 16.
        feature_dim: length of the features h.
        preparation: how slices are prepared for it.
        pretraining: settings of the SimCLR run with the preparation it saw, or None where there was none.
        knn: last kNN probe, balanced accuracy by disease on validation groups.
        cohorts: cohorts it learned from.
        groups_sha256: hash of the sorted names of all training groups.
        n_groups, n_slices: how many groups and slices it was pre-trained on.
        versions: of the packages that made it.
        created: when, UTC, ISO 8601.
    """

    architecture: str
    feature_dim: int
    preparation: Preparation
    pretraining: dict[str, Any] | None
    knn: dict[str, float] | None
    cohorts: tuple[str, ...]
    groups_sha256: str
    n_groups: int
    n_slices: int
    versions: dict[str, str]
    created: str


@dataclass(frozen=True)
class HeadCard:
    """What a disease head is and how its logits become an answer.

    Attributes:
        disease: key of the disease.
        classes: class keys in the order of the logits.
        encoder_sha256: hash of the encoder file that the head belongs to.
        regime: ``fine-tune`` or ``linear-probe``.
        finetuning: settings of the fine-tuning run.
        calibration_temperature: logits are divided by it before the softmax.
        threshold_low: below this probability of any disease class the scan is not flagged.
        threshold_high: from this probability on the scan is flagged; in between it is indeterminate.
        threshold_rule: how both were chosen.
        threshold_figures: sensitivity and specificity of any disease that each reached on validation slices, by
            ``low`` and ``high``; empty where these were of one side only.
        set_thresholds: from this probability on a class is in the 90 % prediction set; None where it abstains and is
            always in it.
        set_rule: how these were chosen.
        saliency_scale: value of the saliency map, in logits, that is painted as the top of the scale.
        counts: slices and groups by class and split, ``{class: {split: [groups, slices]}}``.
        created: when, UTC, ISO 8601.
    """

    disease: str
    classes: tuple[str, ...]
    encoder_sha256: str
    regime: str
    finetuning: dict[str, Any]
    calibration_temperature: float
    threshold_low: float
    threshold_high: float
    threshold_rule: str
    threshold_figures: dict[str, dict[str, float]]
    set_thresholds: dict[str, float | None]
    set_rule: str
    saliency_scale: float
    counts: dict[str, dict[str, list[int]]]
    created: str

    @property
    def unlearned(self) -> tuple[str, ...]:
        """Classes without a single training slice: the head cannot predict them."""
        return tuple(label for label in self.classes if self.counts[label]["train"][1] == 0)


@dataclass(frozen=True)
class ModelCard:
    """A model folder that was checked: its cards and its hash, without the weights.

    Attributes:
        folder: where the model is.
        name: the model's name.
        sha256: hash of the list of hashes of all its weights and cards.
        encoder: see there.
        heads: by disease key.
        training: what it was trained on, by which split, with the terms of each cohort.
        created: when, UTC, ISO 8601.
    """

    folder: Path
    name: str
    sha256: str
    encoder: EncoderCard
    heads: dict[str, HeadCard]
    training: dict[str, Any]
    created: str


def write_card(path: Path, card: EncoderCard | HeadCard) -> None:
    """Writes a card as JSON."""
    write_json(path, asdict(card))


def write_model_file(folder: Path, name: str, training: Mapping[str, Any], created: str) -> None:
    """Writes ``model.json``, the list of hashes that makes a folder a model; written last, so never half a model."""
    paths = [folder / ENCODER_FILE, folder / ENCODER_CARD, *sorted((folder / HEADS).iterdir())]
    paths += [folder / name for name in (BANK_FILE, BANK_CARD) if (folder / name).exists()]
    hashes = {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}
    content = {"format": FORMAT, "name": name, "intended_use": INTENDED_USE, "created": created}
    write_json(folder / MODEL_FILE, {**content, "training": dict(training), "files": hashes})


def read_model_card(folder: Path) -> ModelCard:
    """Returns the cards of a model folder after checking the hash of every file.

    Raises:
        ModelError: no model there, another format, a changed or missing file, or a head of another encoder.
    """
    content = _read_model_file(folder)
    if content.get("format") != FORMAT:
        raise ModelError(
            f"Expected a model of format {FORMAT} in {folder}, got {content.get('format')!r}: train it anew."
        )
    for key, kind in {"name": str, "created": str, "training": dict}.items():
        if not isinstance(content.get(key), kind):
            raise ModelError(f"Expected the {key} of a model in {folder / MODEL_FILE}, got none: copy it again.")
    hashes = _files_of(content, folder)
    _check_hashes(folder, hashes)
    encoder = read_encoder_card(folder / ENCODER_CARD)
    found = [
        _read(folder / name, HeadCard) for name in sorted(hashes) if name.startswith(HEADS) and name.endswith("json")
    ]
    for head in found:
        _check_encoder_of(head, hashes[ENCODER_FILE])
    digest = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    return ModelCard(
        folder, content["name"], digest, encoder, {h.disease: h for h in found}, content["training"], content["created"]
    )


def listed_files(folder: Path) -> dict[str, str]:
    """Returns the hash of each file that a model folder lists, by its name; no hash is checked.

    Raises:
        ModelError: there is no model.
    """
    return _files_of(_read_model_file(folder), folder)


def _read_model_file(folder: Path) -> dict[str, Any]:
    return _read_json(folder / MODEL_FILE, "run `python train.py all` or name a folder with a finished model")


def _files_of(content: Mapping[str, Any], folder: Path) -> dict[str, str]:
    hashes = content.get("files")
    if not isinstance(hashes, dict) or not {ENCODER_FILE, ENCODER_CARD} <= hashes.keys():
        raise ModelError(f"Expected the list of a model's files in {folder / MODEL_FILE}, got none: copy it again.")
    return hashes


def _check_hashes(folder: Path, hashes: dict[str, str]) -> None:
    for name, expected in hashes.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise ModelError(f"Expected the file {name} in the model {folder}, got none: copy the model again.")
        got = sha256_of(path)
        if got != expected:
            raise ModelError(
                f"Expected {name} of the model {folder} to have the hash {expected[:12]}, got {got[:12]}: "
                "the file was changed, copy the model again."
            )


def _check_encoder_of(head: HeadCard, encoder_sha256: str) -> None:
    if head.encoder_sha256 != encoder_sha256:
        raise ModelError(
            f"Expected a {head.disease} head of the encoder {encoder_sha256[:12]}, "
            f"got one of {head.encoder_sha256[:12]}: fine-tune the head on this encoder."
        )


def read_encoder_card(path: Path) -> EncoderCard:
    """Returns an encoder's card.

    Raises:
        ModelError: the file is missing, damaged or of another version.
    """
    content = _read_json(path, "copy the model again")
    try:
        preparation = {key: _tuple(value) for key, value in content["preparation"].items()}
        return _card(EncoderCard, content | {"preparation": Preparation(**preparation)})
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"Expected an encoder card in {path}, got {error}: train the model anew.") from error


def _read(path: Path, kind: type[_Card]) -> _Card:
    try:
        return _card(kind, _read_json(path, "copy the model again"))
    except TypeError as error:
        raise ModelError(f"Expected a card of this version in {path}, got {error}: train the model anew.") from error


def _card(kind: type[_Card], content: dict[str, Any]) -> _Card:
    names = {field.name for field in fields(kind)}
    if names != content.keys():
        raise TypeError(f"fields {sorted(names ^ content.keys())} that are missing or unknown")
    return kind(**{key: _tuple(value) for key, value in content.items()})


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _read_json(path: Path, advice: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"Expected {path}, got no such file: {advice}.") from error
    except ValueError as error:
        raise ModelError(f"Expected JSON in {path}, got something else: {advice}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"Expected a JSON object in {path}, got a {type(content).__name__}: {advice}.")
    return content
