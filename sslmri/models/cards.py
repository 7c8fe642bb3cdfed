"""What is saved beside the weights: everything that is needed to use them rightly. No torch here."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from sslmri.diseases import DISEASES
from sslmri.errors import ModelError
from sslmri.files import sha256_of, write_json
from sslmri.models.integrity import check_list, is_of, parse_json, read_bounded, read_listed
from sslmri.scans.slices import Preparation

FORMAT = "sslmri-2"
INTENDED_USE = "Research use only. Not a medical device, not for diagnosis or treatment decisions."
MODEL_FILE, ENCODER_FILE, ENCODER_CARD, HEADS = "model.json", "encoder.safetensors", "encoder.json", "heads"
BANK_FILE, BANK_CARD = "bank.safetensors", "bank.json"

_Card = TypeVar("_Card", "EncoderCard", "HeadCard")
_SIDES = (16, 1024)  # of a prepared slice, in pixels: what fits the memory of any machine


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
        files: the hash of each of its files, by name.
    """

    folder: Path
    name: str
    sha256: str
    encoder: EncoderCard
    heads: dict[str, HeadCard]
    training: dict[str, Any]
    created: str
    files: dict[str, str]


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
        ModelError: no model there, another format, a file that is changed, missing or not listed, a card that does
            not say what it must, or a head of another encoder.
    """
    advice = "run `python train.py all` or name a folder with a finished model"
    content = _read_json(folder / MODEL_FILE, advice)
    if content.get("format") != FORMAT:
        raise ModelError(
            f"Expected a model of format {FORMAT} in {folder}, got {content.get('format')!r:.40}: train it anew."
        )
    for key, kind in {"name": str, "created": str, "training": dict}.items():
        if not isinstance(content.get(key), kind):
            raise ModelError(f"Expected the {key} of a model in {folder / MODEL_FILE}, got none: copy it again.")
    hashes = check_list(content.get("files"), folder, {ENCODER_FILE, ENCODER_CARD})
    _check_heads_listed(folder, hashes)
    found = {}
    for name in sorted(hashes):  # all are read, one at a time; only cards are kept
        data = read_listed(folder, hashes, name)
        if name == ENCODER_CARD:
            encoder = _encoder_card(parse_json(data, folder / name), folder / name)
        elif name.startswith(f"{HEADS}/") and name.endswith(".json"):
            head = _head_card(parse_json(data, folder / name), folder / name, hashes[ENCODER_FILE])
            found[head.disease] = head
    digest = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    return ModelCard(folder, content["name"], digest, encoder, found, content["training"], content["created"], hashes)


def read_encoder_card(path: Path) -> EncoderCard:
    """Returns an encoder's card.

    Raises:
        ModelError: the file is missing, damaged or of another version.
    """
    return _encoder_card(_read_json(path, "copy the model again"), path)


def _check_heads_listed(folder: Path, hashes: Mapping[str, str]) -> None:
    """Refuses a file that lies among the heads and in no list; hidden ones are those of writers that were stopped."""
    found = {f"{HEADS}/{path.name}" for path in folder.glob(f"{HEADS}/*") if not path.name.startswith(".")}
    for name in sorted(found - hashes.keys()):
        raise ModelError(f"Expected every head of the model {folder} in its list, got {name} beside it: remove it.")


def _encoder_card(content: dict[str, Any], path: Path) -> EncoderCard:
    prepared = content.get("preparation")
    if not isinstance(prepared, dict):
        raise ModelError(f"Expected an encoder card in {path}, got one without its preparation: train the model anew.")
    known = {field.name for field in fields(Preparation)}
    preparation = Preparation(**{key: _tuple(value) for key, value in prepared.items() if key in known})
    if prepared.keys() - known or not _is_sound(preparation):
        raise ModelError(f"Expected a preparation of this version in {path}, got another: train the model anew.")
    return _card(EncoderCard, content | {"preparation": preparation}, path)


def _is_sound(preparation: Preparation) -> bool:
    hints = get_type_hints(Preparation)
    return (
        all(is_of(getattr(preparation, name), hint) for name, hint in hints.items())
        and all(_SIDES[0] <= side <= _SIDES[1] for side in preparation.image_size)
        and 0 < preparation.slice_fraction <= 1
        and 0 <= preparation.intensity_percentiles[0] < preparation.intensity_percentiles[1] <= 100
        and preparation.std > 0
        and 0 <= preparation.margin_fraction <= 1
        and preparation.slice_spacing_mm > 0
    )


def _head_card(content: dict[str, Any], path: Path, encoder_sha256: str) -> HeadCard:
    head = _card(HeadCard, content, path)
    if head.disease not in DISEASES or head.classes != DISEASES[head.disease].classes:
        raise ModelError(
            f"Expected a head of a known disease with its classes in order, got {head.disease:.40} with "
            f"{', '.join(head.classes):.200} in {path}: train the head anew."
        )
    if path.stem != head.disease:
        raise ModelError(f"Expected the card of a head named {path.stem} in {path}, got {head.disease}: copy it again.")
    if head.encoder_sha256 != encoder_sha256:
        raise ModelError(
            f"Expected a {head.disease} head of the encoder {encoder_sha256[:12]}, "
            f"got one of {head.encoder_sha256[:12]} in {path}: fine-tune the head on this encoder."
        )
    is_sound = (
        head.set_thresholds.keys() == head.counts.keys() == set(head.classes)
        and 0 <= head.threshold_low <= head.threshold_high <= 1
        and head.calibration_temperature > 0
        and head.saliency_scale > 0
        and all(len(own) == 2 for counts in head.counts.values() for own in counts.values())
        and all("train" in counts for counts in head.counts.values())
    )
    if not is_sound:
        raise ModelError(
            f"Expected thresholds, scales and counts that can be used in {path}, got others: copy it again."
        )
    return head


def _card(kind: type[_Card], content: dict[str, Any], path: Path) -> _Card:
    hints = get_type_hints(kind)
    odd = sorted(hints.keys() ^ content.keys())
    values = {key: _tuple(value) for key, value in content.items()}
    odd = odd or [name for name, hint in hints.items() if not _is_field(values[name], hint)]
    if odd:
        raise ModelError(
            f"Expected a card of this version in {path}, got fields that are missing, unknown or of another type: "
            f"{', '.join(odd):.200}; train the model anew."
        )
    return kind(**values)


def _is_field(value: Any, hint: Any) -> bool:
    return isinstance(value, Preparation) if hint is Preparation else is_of(value, hint)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _read_json(path: Path, advice: str) -> dict[str, Any]:
    return parse_json(read_bounded(path.parent, path.name, advice), path, advice)
