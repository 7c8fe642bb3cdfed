"""The feature bank of a model: what its encoder sees in the training slices, and the gate that was fitted to them.

``bank.safetensors`` and ``bank.json`` next to the weights, both in the model's list of hashes. No torch here.
"""

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sslmri.diseases import DISEASES
from sslmri.errors import ModelError
from sslmri.files import sha256_of, write_atomically
from sslmri.models.architecture import Architecture
from sslmri.models.cards import ModelCard, Positive, Sha256
from sslmri.models.folder import BANK_CARD, BANK_FILE, ENCODER_FILE
from sslmri.models.integrity import read_listed
from sslmri.models.metrics import STRICT

_BRAIN, _DOMAIN = "brain", "domain"  # begin the names of a projection's arrays
_ADVICE = "run `python train.py bank` again"


@plain_dataclass(frozen=True)
class PcaProjection:
    """Principal axes of the square roots of features, (F, q), and the mean of these, (F,), both float32."""

    center: np.ndarray
    axes: np.ndarray

    def project(self, features: np.ndarray) -> np.ndarray:
        """Returns features (S, F) as points (S, q)."""
        return np.asarray((np.sqrt(np.maximum(features, 0)) - self.center) @ self.axes)


@plain_dataclass(frozen=True)
class RbfSvm:
    """A support vector machine with a Gaussian kernel (Cortes and Vapnik 1995).

    NumPy alone, because screening starts without scikit-learn.

    Attributes:
        vectors: (K, q) float32, its support vectors.
        weights: (K,) float32.
        bias: of the decision function.
        gamma: of the kernel.
        threshold: lowest score that passes, chosen on validation groups.
    """

    vectors: np.ndarray
    weights: np.ndarray
    bias: float
    gamma: float
    threshold: float

    def scores(self, points: np.ndarray) -> np.ndarray:
        """Returns the decision function at points (S, q): (S,), higher for in distribution."""
        squares = (points**2).sum(axis=1)[:, None] + (self.vectors**2).sum(axis=1) - 2 * points @ self.vectors.T
        return np.asarray(np.exp(-self.gamma * squares) @ self.weights + self.bias)

    def passes(self, points: np.ndarray) -> np.ndarray:
        """Returns which of the points (S, q) reach the threshold: (S,) bool."""
        return np.asarray(self.scores(points) >= self.threshold)


class EncoderFeatures(NamedTuple):
    """What an encoder sees in slices: ``textures`` (S, T) of its second stage and ``features`` (S, F)."""

    textures: np.ndarray
    features: np.ndarray


class BankCase(NamedTuple):
    """One training slice of the bank, as the manifest names it.

    The group is named across all cohorts; the slice is its number within the group, or None where that is not known.
    """

    disease: str
    label: str
    cohort: str
    group: str
    split: str
    path: str
    slice: int | None


@dataclass(frozen=True, config=STRICT)
class _SvmNumbers:
    """The numbers of an ``RbfSvm``, as stored."""

    bias: float
    gamma: Positive
    threshold: float


@dataclass(frozen=True, config=STRICT)
class BankCard:
    """The content of ``bank.json``: ``svms`` by disease and one for brain, the rest as in ``FeatureBank``."""

    encoder_sha256: Sha256
    svms: dict[str, _SvmNumbers]
    close_match: dict[str, float]
    cases: tuple[BankCase, ...]

    def __post_init__(self) -> None:
        """Refuses labels that no disease has, and diseases with a part of the rules."""
        if not all(case.disease in DISEASES and case.label in DISEASES[case.disease].classes for case in self.cases):
            raise ValueError("labels")
        if self.svms.keys() != {_BRAIN, *self.close_match}:
            raise ValueError("rules")


@plain_dataclass(frozen=True)
class FeatureBank:
    """Projected features of training slices, and the gate that was fitted to them.

    Attributes:
        center: (F,) float32, mean of the training features.
        components: (F, d) float32, principal axes scaled so that cohorts have the same variance along all.
        features: (N, d) float32, projected and of length 1.
        cases: the N training slices.
        brain_projection, brain_svm: of textures; separate brain MRI from other images.
        domain_projection, domain_svms: of features, the latter by disease; separate slices like those that a classifier
            was trained on from slices of other diseases and from other images.
        close_match: by disease, the highest cosine distance to a training slice that counts as a close match.
    """

    center: np.ndarray
    components: np.ndarray
    features: np.ndarray
    cases: tuple[BankCase, ...]
    brain_projection: PcaProjection
    brain_svm: RbfSvm
    domain_projection: PcaProjection
    domain_svms: Mapping[str, RbfSvm]
    close_match: Mapping[str, float]

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
        try:
            card = TypeAdapter(BankCard).validate_json(read_listed(model.folder, model.files, BANK_CARD))
            arrays = load(data)
            _check_arrays(arrays, card, model.encoder.architecture)
        except (ValidationError, ValueError, TypeError, KeyError, AssertionError, SafetensorError) as error:
            raise ModelError(
                f"Expected a feature bank in {path} and {BANK_CARD} next to it, got a damaged one: {_ADVICE}."
            ) from error
        if card.encoder_sha256 != encoder_sha256:
            raise ModelError(
                f"Expected a feature bank of the encoder {encoder_sha256[:12]} in {path}, got one of "
                f"{card.encoder_sha256[:12]}: {_ADVICE}."
            )
        return _assembled(arrays, card)

    def project(self, features: np.ndarray) -> np.ndarray:
        """Returns features (S, F) as points of the bank, (S, d) of length 1."""
        return unit((features - self.center) @ self.components)


def save_bank(folder: Path, bank: FeatureBank) -> None:
    """Writes a bank as ``write_bank`` does."""
    svms = {_BRAIN: bank.brain_svm, **bank.domain_svms}
    arrays = {"center": bank.center, "components": bank.components, "features": bank.features.astype(np.float16)}
    for name, projection in ((_BRAIN, bank.brain_projection), (_DOMAIN, bank.domain_projection)):
        arrays |= {f"{name}_center": projection.center, f"{name}_axes": projection.axes}
    for name, svm in svms.items():
        arrays |= {f"{name}_vectors": svm.vectors, f"{name}_weights": svm.weights}
    numbers = {name: _SvmNumbers(svm.bias, svm.gamma, svm.threshold) for name, svm in svms.items()}
    write_bank(folder, arrays, BankCard(sha256_of(folder / ENCODER_FILE), numbers, dict(bank.close_match), bank.cases))


def unit(points: np.ndarray) -> np.ndarray:
    """Returns points (N, d) scaled to length 1; the origin stays where it is."""
    return np.asarray(points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def write_bank(folder: Path, arrays: Mapping[str, np.ndarray], card: BankCard) -> None:
    """Writes the two files of a bank; ``model.json`` has to be written after it."""
    # safetensors writes an array as it lies in memory: a transposed one would come back as another
    data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    write_atomically(folder / BANK_FILE, lambda temporary: temporary.write_bytes(data))
    content = TypeAdapter(BankCard).dump_json(card)
    write_atomically(folder / BANK_CARD, lambda temporary: temporary.write_bytes(content))


def _check_arrays(arrays: Mapping[str, np.ndarray], card: BankCard, encoder: Architecture) -> None:
    """Raises ValueError unless the arrays are those of a bank, finite, and agree in their sizes."""
    shapes: dict[str, tuple[str, ...]] = {
        "center": ("features",),
        "components": ("features", "bank axes"),
        "features": ("cases", "bank axes"),
    }
    for name, width in ((_BRAIN, "textures"), (_DOMAIN, "features")):
        shapes |= {f"{name}_center": (width,), f"{name}_axes": (width, f"{name} axes")}
    for name in card.svms:
        axes = f"{_BRAIN if name == _BRAIN else _DOMAIN} axes"
        shapes |= {f"{name}_vectors": (f"{name} vectors", axes), f"{name}_weights": (f"{name} vectors",)}
    if arrays.keys() != shapes.keys():
        raise ValueError("names")
    known = {"cases": len(card.cases), "features": encoder.feature_dim, "textures": encoder.texture_dim}
    for name, axes_of in shapes.items():
        array = arrays[name]
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(name)
        if array.shape != tuple(known.setdefault(axis, size) for axis, size in zip(axes_of, array.shape, strict=True)):
            raise ValueError(name)


def _assembled(arrays: Mapping[str, np.ndarray], card: BankCard) -> FeatureBank:
    svms = {
        name: RbfSvm(arrays[f"{name}_vectors"], arrays[f"{name}_weights"], svm.bias, svm.gamma, svm.threshold)
        for name, svm in card.svms.items()
    }
    return FeatureBank(
        center=arrays["center"],
        components=arrays["components"],
        features=unit(arrays["features"].astype(np.float32)),
        cases=card.cases,
        brain_projection=PcaProjection(arrays[f"{_BRAIN}_center"], arrays[f"{_BRAIN}_axes"]),
        brain_svm=svms.pop(_BRAIN),
        domain_projection=PcaProjection(arrays[f"{_DOMAIN}_center"], arrays[f"{_DOMAIN}_axes"]),
        domain_svms=svms,
        close_match=card.close_match,
    )
