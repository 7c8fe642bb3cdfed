"""The feature bank: what the training slices looked like to the encoder, so that a scan can be compared with them.

Beside a model as ``bank.safetensors`` and ``bank.json``, both in its list of hashes. No torch here.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sslmri.errors import ModelError
from sslmri.files import sha256_of, write_atomically, write_json
from sslmri.learning.cards import BANK_CARD, BANK_FILE, ENCODER_FILE, listed_files

_ARRAYS, _NUMBERS = ("center", "axes", "vectors", "weights"), ("bias", "gamma", "threshold")  # of the brain rule
_ADVICE = "run `python train.py bank` again"


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
class Ground:
    """From where on a slice is not of the kind that a head learned from; fitted on validation groups.

    Attributes:
        kind: highest margin: how much further its nearest own training slices are than the nearest others.
        distance: highest mean distance to its nearest own training slices.
        similar: highest distance to a training slice that still counts as a close match.
    """

    kind: float
    distance: float
    similar: float


@dataclass(frozen=True)
class BrainRule:
    """A support vector machine with a Gaussian kernel that tells brain slices from made-up pictures.

    Attributes:
        center: (2048,) float32, mean of the roots of the features that it learned from.
        axes: (2048, q) float32, to its space.
        vectors: (K, q) float32, its support vectors there.
        weights: (K,) float32.
        bias: of the decision.
        gamma: of the kernel.
        threshold: lowest score of brain MRI, chosen on validation groups.
    """

    center: np.ndarray
    axes: np.ndarray
    vectors: np.ndarray
    weights: np.ndarray
    bias: float
    gamma: float
    threshold: float

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Returns how much each slice looks like brain MRI: features (S, 2048) -> (S,), higher for more."""
        points = (np.sqrt(np.maximum(features, 0)) - self.center) @ self.axes
        squares = (points**2).sum(axis=1)[:, None] + (self.vectors**2).sum(axis=1) - 2 * points @ self.vectors.T
        return np.asarray(np.exp(-self.gamma * squares) @ self.weights + self.bias)


@dataclass(frozen=True)
class FeatureBank:
    """Projected features of training slices, and the rules that were fitted to them.

    Attributes:
        center: (2048,) float32, mean of the training features.
        components: (2048, d) float32, principal axes scaled so that slices of one cohort spread alike along all.
        features: (N, d) float32, projected and of length 1.
        cases: the N training slices.
        others: (M, d) float32, the same of made-up pictures that are no brain MRI.
        brain: from where on a slice is no brain MRI.
        thresholds: by disease.
        encoder_sha256: hash of the encoder whose features these are.
    """

    center: np.ndarray
    components: np.ndarray
    features: np.ndarray
    cases: tuple[BankCase, ...]
    others: np.ndarray
    brain: "BrainRule"
    thresholds: Mapping[str, Ground]
    encoder_sha256: str

    @classmethod
    def load(cls, folder: Path) -> "FeatureBank | None":
        """Returns the bank of a model folder, None where the model was made without one.

        Raises:
            ModelError: it is damaged, or of another encoder.
        """
        hashes = listed_files(folder)
        if not {BANK_FILE, BANK_CARD} <= hashes.keys():
            return None
        try:
            arrays = load_file(folder / BANK_FILE)
            content = json.loads((folder / BANK_CARD).read_text(encoding="utf-8"))
            bank = _assembled(arrays, content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, SafetensorError) as error:
            raise ModelError(f"Expected a feature bank in {folder}, got a damaged one: {_ADVICE}.") from error
        if bank.encoder_sha256 != hashes[ENCODER_FILE]:
            raise ModelError(
                f"Expected a feature bank of the encoder {hashes[ENCODER_FILE][:12]} in {folder}, got one of "
                f"{bank.encoder_sha256[:12]}: {_ADVICE}."
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
    arrays = {
        "center": bank.center.astype(np.float32),
        "components": bank.components.astype(np.float32),
        "features": bank.features.astype(np.float16),
        "others": bank.others.astype(np.float16),
        **{f"brain_{name}": getattr(bank.brain, name).astype(np.float32) for name in _ARRAYS},
    }
    # safetensors writes an array as it lies in memory: one that is turned would come back as another
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomically(folder / BANK_FILE, lambda temporary: save_file(whole, temporary))
    content = {
        "encoder_sha256": sha256_of(folder / ENCODER_FILE),
        "brain": {name: getattr(bank.brain, name) for name in _NUMBERS},
        "thresholds": {disease: asdict(ground) for disease, ground in bank.thresholds.items()},
        "columns": [field.name for field in fields(BankCase)],
        "cases": [list(astuple(case)) for case in bank.cases],
    }
    write_json(folder / BANK_CARD, content)


def unit(points: np.ndarray) -> np.ndarray:
    """Returns points (N, d) scaled to length 1; the origin stays where it is."""
    return np.asarray(points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _brain_rule(arrays: Mapping[str, np.ndarray], numbers: Mapping[str, Any]) -> BrainRule:
    center, axes, vectors, weights = (arrays[f"brain_{name}"] for name in _ARRAYS)
    bias, gamma, threshold = (float(numbers[name]) for name in _NUMBERS)
    return BrainRule(center, axes, vectors, weights, bias, gamma, threshold)


def _assembled(arrays: Mapping[str, np.ndarray], content: Mapping[str, Any]) -> FeatureBank:
    if content["columns"] != [field.name for field in fields(BankCase)]:
        raise KeyError("columns")
    bank = FeatureBank(
        center=arrays["center"],
        components=arrays["components"],
        features=unit(arrays["features"].astype(np.float32)),
        others=unit(arrays["others"].astype(np.float32)),
        cases=tuple(BankCase(*row) for row in content["cases"]),
        brain=_brain_rule(arrays, content["brain"]),
        thresholds={disease: Ground(**ground) for disease, ground in content["thresholds"].items()},
        encoder_sha256=str(content["encoder_sha256"]),
    )
    (length, width), (_, own_width) = bank.components.shape, bank.brain.axes.shape
    shapes = (bank.center.shape, bank.features.shape, bank.others.shape[1:], bank.brain.axes.shape)
    if shapes != ((length,), (len(bank.cases), width), (width,), (length, own_width)):
        raise ValueError("shapes")
    if bank.brain.vectors.shape != (*bank.brain.weights.shape, own_width) or bank.brain.center.shape != (length,):
        raise ValueError("shapes of the brain rule")
    if not all(np.isfinite(values).all() for values in arrays.values()):
        raise ValueError("not finite")
    return bank
