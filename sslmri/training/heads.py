"""From trained heads to heads whose answer means something: calibration, thresholds and the scale of their maps."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.splits import class_counts
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.evidence.calibration import THRESHOLD_RULE, fit_temperature, fit_thresholds
from sslmri.files import sha256_of
from sslmri.learning.cards import ENCODER_FILE, HeadCard, write_card
from sslmri.learning.encoder import Encoder, pool
from sslmri.learning.labels import FinetuneSettings, class_indices
from sslmri.learning.model import BATCH, Head, calibrated, feature_maps, head_path
from sslmri.learning.run import created_now
from sslmri.scans.slices import Preparation
from sslmri.screening.saliency import class_maps

SALIENCY_PERCENTILE = 95.0  # of the highest value in each slice's map of its predicted class: the top of the scale


def write_head_cards(
    folder: Path,
    encoder: Encoder,
    heads: Mapping[str, Head],
    validation: Store,
    records: list[Record],
    preparation: Preparation,
    settings: FinetuneSettings,
) -> None:
    """Fits temperature, thresholds and saliency scale of each head on its validation slices and writes its card.

    A head without validation slices keeps temperature 1, thresholds 0.5 and a scale of 1.
    """
    counts = class_counts(records)
    for key, head in heads.items():
        own = validation.select([row for row, record in enumerate(validation.records) if record.disease == key])
        tally = {label: _counts(counts, key, label) for label in DISEASES[key].classes}
        logits, peaks = _look(encoder, head, own, preparation)
        truth = class_indices(own, range(len(own.records)))
        taught = np.isin(truth, [i for i, label in enumerate(DISEASES[key].classes) if tally[label]["train"][1]])
        temperature = fit_temperature(
            logits[taught], truth[taught]
        )  # a silenced class would ask for no sureness at all
        disease_probability = 1 - calibrated(logits, temperature)[:, 0]
        low, high = fit_thresholds(disease_probability, truth > 0)
        card = HeadCard(
            disease=key,
            classes=DISEASES[key].classes,
            encoder_sha256=sha256_of(folder / ENCODER_FILE),
            regime=settings.regime,
            finetuning=asdict(settings),
            calibration_temperature=temperature,
            threshold_low=low,
            threshold_high=high,
            threshold_rule=THRESHOLD_RULE,
            saliency_scale=float(np.percentile(peaks, SALIENCY_PERCENTILE)) if len(peaks) else 1.0,
            counts=tally,
            created=created_now(),
        )
        write_card(head_path(folder, key, ".json"), card)


def _counts(counts: pd.DataFrame, disease: str, label: str) -> dict[str, list[int]]:
    """Returns ``{split: [groups, slices]}`` of one class."""
    rows = counts[(counts["disease"] == disease) & (counts["label"] == label)]
    columns = (rows[name].tolist() for name in ("split", "groups", "slices"))
    return {split: [groups, slices] for split, groups, slices in zip(*columns, strict=True)}


@torch.inference_mode()
def _look(encoder: Encoder, head: Head, store: Store, preparation: Preparation) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits (N, C) and the highest value of each slice's map of its predicted class (N,)."""
    logits, peaks = [np.zeros((0, len(head.bias)))], [np.zeros(0)]
    for start in range(0, len(store.records), BATCH):
        maps = feature_maps(encoder, store.batch(range(len(store.records))[start : start + BATCH]), preparation)
        found = head.logits(pool(maps))
        chosen = class_maps(maps, head)[torch.arange(len(found)), found.argmax(dim=1)]
        logits.append(found.numpy().astype(np.float64))
        peaks.append(chosen.amax(dim=(1, 2)).numpy())
    return np.concatenate(logits), np.concatenate(peaks)
