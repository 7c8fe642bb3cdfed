"""The feature bank: what the training slices looked like to the encoder, so that a scan can be compared with them.

Beside a model as ``bank.safetensors`` and ``bank.json``, both in its list of hashes. No torch here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sslmri.diseases import DISEASES
from sslmri.errors import ModelError
from sslmri.files import sha256_of, write_atomically, write_json
from sslmri.models.architecture import Architecture
from sslmri.models.cards import BANK_CARD, BANK_FILE, ENCODER_FILE, ModelCard, read_model_card
from sslmri.models.gate_rules import PcaProjection, RbfSvm
from sslmri.models.integrity import is_of, parse_json, read_listed

_BRAIN, _KIND = "brain", "kind"  # before the names of a space's or rule's arrays
_NUMBERS = ("bias", "gamma", "threshold")  # of a rule
_ADVICE = "run `python train.py bank` again"


class EncoderFeatures(NamedTuple):
    """What an encoder sees in slices: ``textures`` (S, 1024) of its second stage and ``features`` (S, 2048)."""

    textures: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class BankCase:
    """One training slice of the bank, as the manifest names it.

    Attributes:
        disease, label: keys.
        cohort: its source.
        group: the group's name across all cohorts.
        split: the side it is on: ``train``.
        path: the path as written in the manifest.
        slice: where it stands among the slices of its group, or None where nobody says.
    """

    disease: str
    label: str
    cohort: str
    group: str
    split: str
    path: str
    slice: int | None


@dataclass(frozen=True)
class DistanceThreshold:
    """How far from a head's training slices a slice may lie; fitted on validation groups.

    Attributes:
        distance: highest mean distance to its nearest own training slices.
        similar: highest distance to a training slice that still counts as a close match.
    """

    distance: float
    similar: float


@dataclass(frozen=True)
class FeatureBank:
    """Projected features of training slices, and the rules that were fitted to them.

    Attributes:
        center: (2048,) float32, mean of the training features.
        components: (2048, d) float32, principal axes scaled so that slices of one cohort spread alike along all.
        features: (N, d) float32, projected and of length 1.
        cases: the N training slices.
        brain_space, brain: by textures, tell brain MRI from other pictures.
        kind_space, kinds: by disease and by features, tell slices of its head's kind from those of other heads and
            other pictures.
        thresholds: by disease.
    """

    center: np.ndarray
    components: np.ndarray
    features: np.ndarray
    cases: tuple[BankCase, ...]
    brain_space: PcaProjection
    brain: RbfSvm
    kind_space: PcaProjection
    kinds: Mapping[str, RbfSvm]
    thresholds: Mapping[str, DistanceThreshold]

    @classmethod
    def load(cls, folder: Path) -> "FeatureBank | None":
        """Returns the bank of a model folder, None where the model was made without one.

        Raises:
            ModelError: the folder holds no model that can be trusted, or its bank is damaged or of another encoder.
        """
        return cls.of(read_model_card(folder))

    @classmethod
    def of(cls, model: ModelCard) -> "FeatureBank | None":
        """Returns the bank of a model whose cards were read, None where it was made without one.

        Raises:
            ModelError: its files are no longer those that the model lists, or it is damaged or of another encoder.
        """
        if not {BANK_FILE, BANK_CARD} <= model.files.keys():
            return None
        path, encoder_sha256 = model.folder / BANK_FILE, model.files[ENCODER_FILE]
        data = read_listed(model.folder, model.files, BANK_FILE)
        content = parse_json(read_listed(model.folder, model.files, BANK_CARD), model.folder / BANK_CARD, _ADVICE)
        try:
            bank = _assembled(load(data), content, Architecture.from_name(model.encoder.architecture))
        except (ValueError, TypeError, KeyError, AttributeError, AssertionError, SafetensorError) as error:
            raise ModelError(
                f"Expected a feature bank in {path} and {BANK_CARD} beside it, got a damaged one: {_ADVICE}."
            ) from error
        if content["encoder_sha256"] != encoder_sha256:
            raise ModelError(
                f"Expected a feature bank of the encoder {encoder_sha256[:12]} in {path}, got one of "
                f"{str(content['encoder_sha256'])[:12]}: {_ADVICE}."
            )
        return bank

    def project(self, features: np.ndarray) -> np.ndarray:
        """Returns features (S, 2048) as points of the bank, (S, d) of length 1."""
        return unit((features - self.center) @ self.components)

    def rows_of(self, disease: str) -> np.ndarray:
        """Returns which of the cases are of a disease, bool (N,)."""
        return np.array([case.disease == disease for case in self.cases], dtype=bool)


def save_bank(folder: Path, bank: FeatureBank) -> None:
    """Writes the two files of a bank; ``model.json`` has to be written after it."""
    rules = {_BRAIN: bank.brain, **bank.kinds}
    arrays = {"center": bank.center, "components": bank.components, "features": bank.features.astype(np.float16)}
    for name, space in ((_BRAIN, bank.brain_space), (_KIND, bank.kind_space)):
        arrays |= {f"{name}_center": space.center, f"{name}_axes": space.axes}
    for name, rule in rules.items():
        arrays |= {f"{name}_vectors": rule.vectors, f"{name}_weights": rule.weights}
    # safetensors writes an array as it lies in memory: one that is turned would come back as another
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomically(folder / BANK_FILE, lambda temporary: temporary.write_bytes(save(whole)))
    content = {
        "encoder_sha256": sha256_of(folder / ENCODER_FILE),
        "rules": {name: {key: getattr(rule, key) for key in _NUMBERS} for name, rule in rules.items()},
        "thresholds": {disease: asdict(ground) for disease, ground in bank.thresholds.items()},
        "columns": [field.name for field in fields(BankCase)],
        "cases": [list(astuple(case)) for case in bank.cases],
    }
    write_json(folder / BANK_CARD, content)


def unit(points: np.ndarray) -> np.ndarray:
    """Returns points (N, d) scaled to length 1; the origin stays where it is."""
    return np.asarray(points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _rule(name: str, arrays: Mapping[str, np.ndarray], rules: Mapping[str, Any], space: PcaProjection) -> RbfSvm:
    vectors, weights = arrays[f"{name}_vectors"], arrays[f"{name}_weights"]
    if vectors.shape != (*weights.shape, space.axes.shape[1]):
        raise ValueError("shapes of a rule")
    numbers = [rules[name][key] for key in _NUMBERS]
    if not all(is_of(number, float) for number in numbers) or not rules[name]["gamma"] > 0:
        raise ValueError("numbers of a rule")
    return RbfSvm(vectors, weights, *map(float, numbers))


def _ground(content: Mapping[str, Any]) -> DistanceThreshold:
    ground = DistanceThreshold(**content)
    if not all(is_of(value, float) for value in astuple(ground)):
        raise ValueError("distances")
    return ground


def _space(name: str, arrays: Mapping[str, np.ndarray], length: int) -> PcaProjection:
    space = PcaProjection(arrays[f"{name}_center"], arrays[f"{name}_axes"])
    if space.center.shape != (length,) or space.axes.shape[:1] != (length,):
        raise ValueError("shapes of a space")
    return space


def _case(row: Sequence[Any]) -> BankCase:
    case = BankCase(*row)
    if not all(isinstance(value, str) for value in row[:-1]) or not isinstance(case.slice, int | None):
        raise TypeError("a case")
    return case


def _assembled(arrays: Mapping[str, np.ndarray], content: Mapping[str, Any], architecture: Architecture) -> FeatureBank:
    if content["columns"] != [field.name for field in fields(BankCase)]:
        raise KeyError("columns")
    if not all(values.dtype.kind == "f" and np.isfinite(values).all() for values in arrays.values()):
        raise ValueError("not finite")
    length, width = arrays["components"].shape
    if length != architecture.feature_dim:
        raise ValueError("length")
    brain_space, kind_space = _space(_BRAIN, arrays, architecture.texture_dim), _space(_KIND, arrays, length)
    rules = content["rules"]
    bank = FeatureBank(
        center=arrays["center"],
        components=arrays["components"],
        features=unit(arrays["features"].astype(np.float32)),
        cases=tuple(_case(row) for row in content["cases"]),
        brain_space=brain_space,
        brain=_rule(_BRAIN, arrays, rules, brain_space),
        kind_space=kind_space,
        kinds={name: _rule(name, arrays, rules, kind_space) for name in rules if name != _BRAIN},
        thresholds={disease: _ground(ground) for disease, ground in content["thresholds"].items()},
    )
    if (bank.center.shape, bank.features.shape) != ((length,), (len(bank.cases), width)):
        raise ValueError("shapes")
    if bank.kinds.keys() != bank.thresholds.keys():
        raise KeyError("kinds")
    if not all(case.label in DISEASES[case.disease].classes for case in bank.cases):
        raise ValueError("labels")
    return bank
