"""From trained heads to heads whose answer means something: calibration, thresholds and the scale of their maps."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.splits import class_counts
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES, Disease
from sslmri.evidence.calibration import (
    SET_RULE,
    THRESHOLD_RULE,
    fit_bias,
    fit_set_thresholds,
    fit_temperature,
    fit_thresholds,
    threshold_figures,
)
from sslmri.files import sha256_of
from sslmri.learning.encoder import Encoder, pool
from sslmri.learning.model import BATCH, Head, calibrated, head_path, maps_of
from sslmri.learning.settings import FinetuneSettings
from sslmri.models.cards import ENCODER_FILE, HeadCard, write_card
from sslmri.models.history import created_now
from sslmri.scans.slices import Preparation
from sslmri.screening.saliency import class_maps

SALIENCY_PERCENTILE = 95.0  # of the highest value in each slice's map of its predicted class: the top of the scale


@dataclass(frozen=True)
class Look:
    """What a head says of its validation slices, before its bias.

    Attributes:
        slices: the N slices of the head's disease.
        scores: (N, C) logits without the bias.
        peaks: (N, C) highest value of each slice's map of each class.
    """

    slices: Store
    scores: np.ndarray
    peaks: np.ndarray


def look(encoder: Encoder, heads: Mapping[str, Head], validation: Store, preparation: Preparation) -> dict[str, Look]:
    """Returns what each head says of its validation slices: one pass of the encoder for each slice."""
    return {key: _look(encoder, head, validation.where(disease=key), preparation) for key, head in heads.items()}


def with_biases(heads: Mapping[str, Head], looks: Mapping[str, Look]) -> dict[str, Head]:
    """Returns the heads with the class mix of their validation slices in their biases, where that holds."""
    shifted = {}
    for key, head in heads.items():
        own = looks[key].slices
        truth = own.truth
        logits = _logits(looks[key], head)
        taught = head.weight.abs().sum(dim=1).numpy()[truth] > 0  # a silenced class has no logit to shift
        groups = own.groups
        bias = torch.from_numpy(fit_bias(logits[taught], truth[taught], groups[taught])).float()
        shifted[key] = Head(head.weight, (head.bias + bias).half().float())
    return shifted


def _logits(own: Look, head: Head) -> np.ndarray:
    return own.scores + head.bias.numpy().astype(np.float64)


def write_head_cards(
    folder: Path,
    heads: Mapping[str, Head],
    looks: Mapping[str, Look],
    records: list[Record],
    settings: FinetuneSettings,
) -> None:
    """Fits each head's temperature, thresholds, set thresholds and saliency scale on its validation slices.

    Writes its card. A head without validation slices keeps temperature 1, thresholds 0.5 and a scale of 1, and all
    its classes abstain.
    """
    counts, encoder_sha256 = class_counts(records), sha256_of(folder / ENCODER_FILE)
    for key, head in heads.items():
        tally = {label: _counts(counts, key, label) for label in DISEASES[key].classes}
        logits = _logits(looks[key], head)
        peaks = looks[key].peaks[np.arange(len(logits)), logits.argmax(axis=1)]
        card = HeadCard(
            disease=key,
            classes=DISEASES[key].classes,
            encoder_sha256=encoder_sha256,
            regime=settings.regime,
            finetuning=asdict(settings),
            **_decisions(DISEASES[key], logits, looks[key].slices, tally),
            saliency_scale=float(np.percentile(peaks, SALIENCY_PERCENTILE)) if len(peaks) else 1.0,
            counts=tally,
            created=created_now(),
        )
        write_card(head_path(folder, key, ".json"), card)


def _decisions(
    disease: Disease, logits: np.ndarray, validation: Store, tally: Mapping[str, Mapping[str, list[int]]]
) -> dict[str, Any]:
    """Returns the fields of a head's card that turn its logits into probabilities, a status and a set."""
    truth = validation.truth
    taught = np.isin(truth, [i for i, label in enumerate(disease.classes) if tally[label]["train"][1]])
    # a silenced class would ask for no sureness at all
    temperature = fit_temperature(logits[taught], truth[taught])
    probabilities = calibrated(logits, temperature)
    probability, is_disease = 1 - probabilities[:, 0], truth > 0
    low, high = fit_thresholds(probability, is_disease)
    groups = validation.groups
    return {
        "calibration_temperature": temperature,
        "threshold_low": low,
        "threshold_high": high,
        "threshold_rule": THRESHOLD_RULE,
        "threshold_figures": threshold_figures(probability, is_disease, low, high),
        "set_thresholds": fit_set_thresholds(probabilities, truth, groups, disease.classes),
        "set_rule": SET_RULE,
    }


def _counts(counts: pd.DataFrame, disease: str, label: str) -> dict[str, list[int]]:
    """Returns ``{split: [groups, slices]}`` of one class."""
    rows = counts[(counts["disease"] == disease) & (counts["label"] == label)]
    columns = (rows[name].tolist() for name in ("split", "groups", "slices"))
    return {split: [groups, slices] for split, groups, slices in zip(*columns, strict=True)}


@torch.inference_mode()
def _look(encoder: Encoder, head: Head, own: Store, preparation: Preparation) -> Look:
    scores, peaks = [np.zeros((0, len(head.bias)))], [np.zeros((0, len(head.bias)))]
    for start in range(0, len(own.records), BATCH):
        maps = maps_of(encoder, own.batch(range(len(own.records))[start : start + BATCH]), preparation).last
        scores.append((pool(maps) @ head.weight.T).numpy().astype(np.float64))
        peaks.append(class_maps(maps, head).amax(dim=(2, 3)).numpy())
    return Look(own, np.concatenate(scores), np.concatenate(peaks))
