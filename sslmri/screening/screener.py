"""Screening: a scan in, one careful finding for each disease out. The app, the command line and notebooks call this."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslmri.errors import ModelError
from sslmri.gate.decide import is_brain_mri, judge
from sslmri.learning.encoder import pool, textures
from sslmri.learning.model import BATCH, Head, Model, calibrated
from sslmri.models.bank import EncoderFeatures, FeatureBank
from sslmri.models.cards import HeadCard, ModelCard
from sslmri.models.history import created_now
from sslmri.scans.scan import Scan
from sslmri.scans.slices import head_mask, numbered_slices
from sslmri.screening.messages import left_out, one_sided, unlearned
from sslmri.screening.saliency import Explainer, class_maps, head_coverage

UNGATED = "Whether this is a brain MRI of the kind each head learned from is not checked yet: judge that yourself."


@dataclass(frozen=True)
class Finding:
    """The answer of one disease head to one scan.

    Attributes:
        disease: key of the disease.
        applicable: whether the head may speak about this scan.
        reason: why not, where it may not; its status is then ``indeterminate``.
        predicted: the class with the highest probability.
        prediction_set: the classes that cannot be ruled out, in clinical order: those whose probability reaches the
            head's set threshold and those without one; all of them together mean that there is not enough to say.
        probabilities: calibrated, by class in clinical order, averaged over the slices.
        status: ``flagged``, ``not flagged`` or ``indeterminate``, from the probability of any disease class.
        threshold_low, threshold_high: the two thresholds of the status.
        key_slice: the slice with the highest probability of the predicted class.
        saliency: Grad-CAM of every slice and class, in logits: (S, C, h, w) float32.
        saliency_scale: the value painted as the top of the scale.
        coverage: share of the head's area where the predicted class's map of the key slice is above half the scale.
        slice_probabilities: (S, C).
    """

    disease: str
    applicable: bool
    reason: str | None
    predicted: str
    prediction_set: tuple[str, ...]
    probabilities: dict[str, float]
    status: str
    threshold_low: float
    threshold_high: float
    key_slice: int
    saliency: np.ndarray
    saliency_scale: float
    coverage: float
    slice_probabilities: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """Returns what the command line prints of a finding; a head that does not apply gives no answer."""
        answer = {
            "predicted": self.predicted,
            "prediction_set": list(self.prediction_set),
            "probabilities": {label: round(value, 6) for label, value in self.probabilities.items()},
            "status": self.status,
            "coverage": round(self.coverage, 4),
        }
        return {
            "disease": self.disease,
            "applicable": self.applicable,
            **(answer if self.applicable else dict.fromkeys(answer)),
            "reason": self.reason,
            "threshold_low": self.threshold_low,
            "threshold_high": self.threshold_high,
        }


@dataclass(frozen=True)
class Screening:
    """The findings of one scan, with what they were made from.

    Attributes:
        name: the file's name.
        sha256: hash of the file.
        model_sha256: hash of the model.
        created: when, UTC, ISO 8601.
        slices: what the encoder saw, (S, H, W) uint8.
        slice_numbers: the number of each of them in the file, from 1 on.
        n_file_slices: how many slices the file has.
        spacing_mm, orientation, modality, source: as in the scan.
        not_brain_reason: why it is no brain MRI, where it does not look so: then no head applies.
        features: of every slice, (S, 2048) float32; for similar cases, never exported.
        findings: one for each head of the model.
        warnings: plain sentences.
    """

    name: str
    sha256: str
    model_sha256: str
    created: str
    slices: np.ndarray
    slice_numbers: tuple[int, ...]
    n_file_slices: int
    spacing_mm: tuple[float, float, float] | None
    orientation: str | None
    modality: str | None
    source: str
    not_brain_reason: str | None
    features: np.ndarray
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]

    @property
    def is_brain(self) -> bool:
        """Whether it looks like brain MRI; True as well where the model has nothing to judge that by."""
        return self.not_brain_reason is None


class Screener:
    """A loaded model that screens scans; safe to share between threads."""

    def __init__(self, model: Model, bank: FeatureBank | None = None) -> None:
        """Takes a loaded model and its feature bank; ``Screener.load`` is the usual way."""
        self._model = model
        self._bank = bank

    @classmethod
    def load(cls, folder: Path) -> "Screener":
        """Returns a screener with the model of a folder.

        Raises:
            ModelError: the folder holds no model that can be trusted.
        """
        model = Model.load(Path(folder))
        return cls(model, FeatureBank.of(model.card))

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self._model.card

    @property
    def bank(self) -> FeatureBank | None:
        """The model's feature bank; without one every head speaks about every scan, and a warning says so."""
        return self._bank

    def screen(self, scan: Scan) -> Screening:
        """Returns the findings of one scan.

        Raises:
            ScanError: the scan shows nothing.
        """
        return self.screen_slices([(scan, *numbered_slices(scan, self.card.encoder.preparation))])[0]

    @torch.inference_mode()
    def screen_slices(self, prepared: Sequence[tuple[Scan, np.ndarray, tuple[int, ...]]]) -> list[Screening]:
        """Returns the screening of each scan with its prepared slices (S, H, W) and their numbers.

        All slices go through the encoder in one pass.
        """
        slices = np.concatenate([own for _, own, _ in prepared])
        early, features, maps = self._forward(slices)
        screenings, start = [], 0
        for scan, own, numbers in prepared:
            rows = slice(start, start + len(own))
            start += len(own)
            head_of = cache(partial(_head_of, own))  # every disease asks for the same head
            not_brain, reasons = self._judge(EncoderFeatures(early[rows].numpy(), features[rows].numpy()))
            findings = tuple(
                _find(card, self._model.heads[key], head_of, features[rows], maps[key][rows], reasons[key])
                for key, card in self.card.heads.items()
            )
            ungated = () if self._bank else (UNGATED,)
            never = unlearned(self.card) if not_brain is None else ()
            screenings.append(
                Screening(
                    name=scan.name,
                    sha256=scan.sha256,
                    model_sha256=self.card.sha256,
                    created=created_now(),
                    slices=own,
                    slice_numbers=numbers,
                    n_file_slices=len(scan.voxels),
                    spacing_mm=scan.spacing_mm,
                    orientation=scan.orientation,
                    modality=scan.modality,
                    source=scan.source,
                    not_brain_reason=not_brain,
                    features=features[rows].numpy(),
                    findings=findings,
                    warnings=(*scan.warnings, *ungated, *left_out(numbers, len(scan.voxels)), *never),
                )
            )
        return screenings

    def _judge(self, seen: EncoderFeatures) -> tuple[str | None, dict[str, str | None]]:
        """Returns why the scan is no brain MRI and why each head does not apply; None where there is no reason."""
        reasons = {key: one_sided(card) for key, card in self.card.heads.items()}
        if self._bank is None:
            return None, reasons
        not_brain = is_brain_mri(self._bank, seen.textures).reason
        if not_brain:
            return not_brain, dict.fromkeys(reasons, not_brain)
        return None, {key: found or judge(self._bank, seen.features, key).reason for key, found in reasons.items()}

    def explain(self, slice_: np.ndarray, disease: str, label: str, method: str) -> np.ndarray:
        """Returns another method's map of a class for a prepared slice (H, W): (H, W) float32 in [0, 1].

        Raises:
            ModelError: no such head, class or method.
        """
        if disease not in self.card.heads or label not in self.card.heads[disease].classes:
            raise ModelError(f"Expected a head and class of this model, got {disease} and {label}.")
        return self._explainer.explain(slice_, disease, self.card.heads[disease].classes.index(label), method)

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self._model)

    def _forward(self, slices: np.ndarray) -> tuple[Tensor, Tensor, dict[str, np.ndarray]]:
        """Returns textures (N, 1024), features (N, 2048), each head's maps (N, C, h, w): one pass of the encoder."""
        early: list[Tensor] = []
        features: list[Tensor] = []
        maps: dict[str, list[Tensor]] = {key: [] for key in self._model.heads}
        for start in range(0, len(slices), BATCH):
            found = self._model.maps(slices[start : start + BATCH])
            early.append(textures(found.early))
            features.append(pool(found.last))
            for key, head in self._model.heads.items():
                maps[key].append(class_maps(found.last, head))
        return torch.cat(early), torch.cat(features), {key: torch.cat(own).numpy() for key, own in maps.items()}


def _head_of(slices: np.ndarray, index: int) -> np.ndarray:
    return head_mask(slices[index])


def _find(
    card: HeadCard,
    head: Head,
    head_of: Callable[[int], np.ndarray],
    features: Tensor,
    maps: np.ndarray,
    reason: str | None,
) -> Finding:
    by_slice = calibrated(head.logits(features).numpy().astype(np.float64), card.calibration_temperature)
    mean = by_slice.mean(axis=0)
    best = int(mean.argmax())
    key_slice = int(by_slice[:, best].argmax())
    return Finding(
        disease=card.disease,
        applicable=reason is None,
        reason=reason,
        predicted=card.classes[best],
        prediction_set=_prediction_set(mean, card),
        probabilities={label: float(value) for label, value in zip(card.classes, mean, strict=True)},
        status="indeterminate" if reason else _status(1 - float(mean[0]), card),
        threshold_low=card.threshold_low,
        threshold_high=card.threshold_high,
        key_slice=key_slice,
        saliency=maps,
        saliency_scale=card.saliency_scale,
        coverage=head_coverage(head_of(key_slice), maps[key_slice, best], card.saliency_scale),
        slice_probabilities=by_slice,
    )


def _prediction_set(probabilities: np.ndarray, card: HeadCard) -> tuple[str, ...]:
    """Returns the classes of the head's 90 % set for probabilities (C,); the most probable one where none reaches."""
    limits = [card.set_thresholds[label] for label in card.classes]
    pairs = zip(card.classes, probabilities, limits, strict=True)
    reached = tuple(label for label, value, limit in pairs if limit is None or value >= limit)
    return reached or (card.classes[int(probabilities.argmax())],)


def _status(probability: float, card: HeadCard) -> str:
    """Returns the status for the probability of any disease class; the reference class stands first."""
    if probability >= card.threshold_high:
        return "flagged"
    return "not flagged" if probability < card.threshold_low else "indeterminate"
