"""From trained heads to usable ones: calibration, thresholds and the scale of their saliency maps."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.splits import class_counts
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES, Disease
from sslmri.evidence.calibration import (
    fit_bias,
    fit_set_thresholds,
    fit_temperature,
    fit_thresholds,
    threshold_metrics,
)
from sslmri.files import sha256_of
from sslmri.learning.encoder import Encoder, pool
from sslmri.learning.model import BATCH, Head, calibrated, head_path, maps_of
from sslmri.learning.settings import FinetuneSettings
from sslmri.models.cards import SET_RULE, THRESHOLD_RULE, Counts, HeadCard, recorded
from sslmri.models.folder import ENCODER_FILE, write_card
from sslmri.models.history import created_now
from sslmri.scans.slices import Preparation
from sslmri.screening.saliency import class_maps

SALIENCY_PERCENTILE = 95.0  # of the highest value in each slice's map of its predicted class: the top of the scale


@dataclass(frozen=True)
class HeadEvaluation:
    """A head on its N validation slices.

    Attributes:
        head: the head.
        slices: the N slices of its disease.
        scores: (N, C) logits without the bias.
        peaks: (N, C) highest value of each slice's map of each class.
    """

    head: Head
    slices: Store
    scores: np.ndarray
    peaks: np.ndarray

    @property
    def logits(self) -> np.ndarray:
        """The logits (N, C) in float64."""
        return self.scores + self.head.bias.numpy().astype(np.float64)


@torch.inference_mode()
def evaluate_heads(
    encoder: Encoder, heads: Mapping[str, Head], validation: Store, preparation: Preparation
) -> dict[str, HeadEvaluation]:
    """Returns each head on its validation slices, by one pass of the encoder for each slice.

    Where that holds on left-out groups, the class mix of the slices is in the bias of the head that comes back.
    """
    evaluations = {}
    for key, head in heads.items():
        slices = validation.where(disease=key)
        scores, peaks = [np.zeros((0, len(head.bias)))], [np.zeros((0, len(head.bias)))]
        for start in range(0, len(slices.records), BATCH):
            batch = slices.batch(range(len(slices.records))[start : start + BATCH])
            maps = maps_of(encoder, batch, preparation).last
            scores.append((pool(maps) @ head.weight.T).numpy().astype(np.float64))
            peaks.append(class_maps(maps, head).amax(dim=(2, 3)).numpy())
        evaluations[key] = _with_bias(HeadEvaluation(head, slices, np.concatenate(scores), np.concatenate(peaks)))
    return evaluations


def _with_bias(found: HeadEvaluation) -> HeadEvaluation:
    """Returns the evaluation of the head with the class mix of its validation slices in its bias."""
    weight, bias = found.head.weight, found.head.bias
    is_trained = weight.abs().sum(dim=1).numpy()[found.slices.truth] > 0  # the logit of a masked class is not shifted
    fitted = fit_bias(found.logits[is_trained], found.slices.truth[is_trained], found.slices.groups[is_trained])
    return replace(found, head=Head(weight, (bias + torch.from_numpy(fitted).float()).half().float()))


def write_head_cards(
    folder: Path, evaluations: Mapping[str, HeadEvaluation], records: list[Record], settings: FinetuneSettings
) -> None:
    """Writes the card of each head, with its temperature, thresholds and saliency scale of its validation slices.

    A head without validation slices keeps temperature 1, thresholds 0.5 and a scale of 1, and no class can be excluded.
    """
    encoder_sha256, finetuning, counts = sha256_of(folder / ENCODER_FILE), recorded(settings), class_counts(records)
    for key, fitted in evaluations.items():
        rows = counts[counts["disease"] == key]
        by_class: dict[str, dict[str, Counts]] = {label: {} for label in DISEASES[key].classes}
        for label, split, groups, slices in rows[["label", "split", "groups", "slices"]].itertuples(index=False):
            by_class[label][split] = Counts(int(groups), int(slices))
        card = HeadCard(
            disease=key,
            classes=DISEASES[key].classes,
            encoder_sha256=encoder_sha256,
            regime=settings.regime,
            finetuning=finetuning,
            **_decisions(DISEASES[key], fitted, [bool(by_class[label]["train"].slices) for label in by_class]),
            saliency_scale=saliency_scale(fitted.peaks[np.arange(len(fitted.peaks)), fitted.logits.argmax(axis=1)]),
            counts=by_class,
            created=created_now(),
        )
        write_card(head_path(folder, key, ".json"), card)


def saliency_scale(peaks: np.ndarray) -> float:
    """Returns the top of a head's colour scale, above 0, from the peak of each slice's map of its predicted class.

    It is the 95th percentile; where that is 0, because nearly all maps are empty, the highest peak; 1 where all are.
    """
    if not peaks.any():
        return 1.0
    return float(np.percentile(peaks, SALIENCY_PERCENTILE)) or float(peaks.max())


def _decisions(disease: Disease, found: HeadEvaluation, is_trained: list[bool]) -> dict[str, Any]:
    """Returns the fields of a head's card that turn its logits into probabilities, a verdict and a set."""
    logits, truth = found.logits, found.slices.truth
    kept = np.array(is_trained)[truth]  # a masked class would ask for no certainty at all
    temperature = fit_temperature(logits[kept], truth[kept])
    probabilities = calibrated(logits, temperature)
    probability, is_disease = 1 - probabilities[:, 0], truth > 0
    low, high = (min(threshold, 1.0) for threshold in fit_thresholds(probability, is_disease))
    return {
        "calibration_temperature": temperature,
        "threshold_low": low,
        "threshold_high": high,
        "threshold_rule": THRESHOLD_RULE,
        "threshold_metrics": threshold_metrics(probability, is_disease, low, high),
        "set_thresholds": fit_set_thresholds(probabilities, truth, found.slices.groups, disease.classes),
        "set_rule": SET_RULE,
    }
