"""Fine-tunes a pre-trained encoder and writes the model: for a split, for a fold, and on all groups.

Trained heads become usable ones by what they predict for slices that they were not trained on: calibration, thresholds
and the scale of their saliency maps.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.splits import class_counts
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES, is_own
from sslmri.evidence.calibration import fit_decisions, fit_volume_decisions, group_logits
from sslmri.files import sha256_of
from sslmri.gate.fit import build_bank
from sslmri.learning.encoder import Encoder
from sslmri.learning.features import stream
from sslmri.learning.finetune import finetune
from sslmri.learning.logistic import fit_atrophy_head
from sslmri.learning.model import Head, Model, head_path, load_encoder, save_weights
from sslmri.learning.precision import with_precision
from sslmri.learning.settings import FinetuneSettings
from sslmri.models.bank import save_bank
from sslmri.models.cards import SET_RULE, THRESHOLD_RULE, Counts, Decisions, EncoderCard, HeadCard, recorded
from sslmri.models.folder import (
    ENCODER_CARD,
    ENCODER_FILE,
    MODEL,
    read_encoder_card,
    replaced,
    write_card,
    write_model_file,
)
from sslmri.models.history import created_now
from sslmri.scans.slices import Preparation
from sslmri.screening.saliency import class_maps
from sslmri.training.data import training_data
from sslmri.training.options import RunOptions
from sslmri.training.sequence import add_sequence

SALIENCY_PERCENTILE = 95.0  # of the highest value in each slice's map of its predicted class: the top of the scale


class Pretrained(NamedTuple):
    """A pre-trained encoder with its card."""

    encoder: Encoder
    card: EncoderCard


class HeldOut(NamedTuple):
    """The predictions of a head for the N slices of its disease, which it was not trained on.

    Logits are (N, C) float64, peaks (N, C) the highest value of each slice's map of each class.
    """

    slices: Store
    logits: np.ndarray
    peaks: np.ndarray

    def decisions(self, disease: str) -> Decisions:
        """Returns how the logits of a slice become answers, fitted on these slices."""
        return fit_decisions(self.logits, self.slices.truth, self.slices.groups, DISEASES[disease].classes)

    def volume_decisions(self, disease: str, bias: Sequence[float]) -> Decisions | None:
        """Returns how the logits of a volume become answers, fitted on the groups of these slices, or None.

        The bias (C,) is what the head adds to its logits.
        """
        if not len(self.logits):
            return None
        cases = group_logits(self.logits + np.array(bias), self.slices.truth, self.slices.groups, "mean")
        return fit_volume_decisions(cases, DISEASES[disease])


class OutOfSample(NamedTuple):
    """The same of several heads for N labelled slices: logits and peaks (N, C) by head."""

    slices: Store
    logits: dict[str, np.ndarray]
    peaks: dict[str, np.ndarray]

    @property
    def folds(self) -> np.ndarray:
        """The fold of each slice: (N,)."""
        return np.array([record.fold for record in self.slices.records])

    def held_out(self, key: str) -> HeldOut:
        """Returns the predictions for the slices of one disease."""
        rows = self.slices.indices(disease=key)
        return HeldOut(self.slices.select(rows), self.logits[key][rows].astype(np.float64), self.peaks[key][rows])


class Fitted(NamedTuple):
    """An encoder and heads as they are saved, with what was decided on slices that they were not trained on."""

    encoder: Encoder
    heads: dict[str, Head]
    held_out: dict[str, HeldOut]
    decisions: dict[str, Decisions]


def load_pretrained(folder: Path) -> Pretrained:
    """Returns the pre-trained encoder of a folder with its card."""
    return Pretrained(load_encoder(folder / ENCODER_FILE), read_encoder_card(folder / ENCODER_CARD))


def fit_model(
    options: RunOptions,
    start: Pretrained,
    store: Store,
    settings: FinetuneSettings,
    predictions: OutOfSample | None = None,
    gate: Store | None = None,
    evidence_note: str | None = None,
) -> None:
    """Fine-tunes a pre-trained encoder on the training split of a store and writes the model of the run.

    Without predictions out of fold, of models of the same recipe, the heads are calibrated on the validation split, and
    the model has no head for sequences, which takes longer to fit than a first model. The gate is fitted on slices of
    its own, with their splits; without them the model has none.
    """
    settings = with_precision(settings)
    fitted = fit_heads(options, start.encoder, store, settings, predictions)
    card = replace(start.card, architecture=fitted.encoder.architecture, preparation=options.preparation)
    trained = training_data(store.labelled.where(split="train"), options.protocol)
    named = options.run.name, trained, created_now(), evidence_note
    with replaced(options.run / MODEL, is_kept=False) as new:
        save_weights(new, fitted.encoder, fitted.heads)
        write_card(new / ENCODER_CARD, card)
        write_head_cards(new, fitted, store.records, settings)
        write_model_file(new, *named)
        if predictions is not None:
            add_sequence(new, fitted.encoder, store.where(split="train"), options.preparation, options.protocol)
        if gate is not None:
            save_bank(new, build_bank(Model.load(new), gate))
            write_model_file(new, *named)


def fit_heads(
    options: RunOptions,
    encoder: Encoder,
    store: Store,
    settings: FinetuneSettings,
    predictions: OutOfSample | None = None,
) -> Fitted:
    """Returns an encoder fine-tuned on the training split of a store, with heads calibrated as in ``fit_model``."""
    train, validation = store.labelled.where(split="train"), store.labelled.where(split="validation")
    tuned, heads = finetune(encoder, train, validation, options.preparation, options.run / "finetune", settings)
    encoder = deepcopy(tuned).half().float().eval()  # as it is once saved, and so are the heads
    heads = {key: head.rounded() for key, head in heads.items()}
    if settings.refits_atrophy:
        atrophy = [key for key in heads if DISEASES[key].is_atrophy]
        heads |= {key: fit_atrophy_head(encoder, train, key, options.preparation) for key in atrophy}
    predictions = predictions or predict(encoder, heads, validation, options.preparation)
    held_out = {key: predictions.held_out(key) for key in heads}
    decisions = {key: held_out[key].decisions(key) for key in heads}
    heads = {
        key: replace(head, bias=head.bias + torch.tensor(decisions[key].bias)).rounded() for key, head in heads.items()
    }
    return Fitted(encoder, heads, held_out, decisions)


@torch.inference_mode()
def predict(encoder: Encoder, heads: Mapping[str, Head], slices: Store, preparation: Preparation) -> OutOfSample:
    """Returns what heads predict for slices that they were not trained on."""
    logits, peaks = ({key: [np.zeros((0, len(h.bias)), np.float32)] for key, h in heads.items()} for _ in range(2))
    for stages in stream(encoder, encoder.maps, slices, preparation):
        for key, head in heads.items():
            local = head.local_logits(stages)
            logits[key].append(head.slice_logits(local).numpy())
            peaks[key].append(class_maps(local, head).amax(dim=(2, 3)).numpy())
    joined = ({key: np.concatenate(parts) for key, parts in found.items()} for found in (logits, peaks))
    return OutOfSample(slices, *joined)


def write_head_cards(folder: Path, fitted: Fitted, records: list[Record], settings: FinetuneSettings) -> None:
    """Writes the card of each head, with what was decided on slices that it was not trained on.

    A head without such slices keeps temperature 1, thresholds 0.5 and a scale of 1, and no class can be excluded.
    """
    encoder_sha256, finetuning, counts = sha256_of(folder / ENCODER_FILE), recorded(settings), class_counts(records)
    for key, decided in fitted.decisions.items():
        found = fitted.held_out[key]
        card = HeadCard(
            disease=key,
            classes=DISEASES[key].classes,
            encoder_sha256=encoder_sha256,
            regime=settings.regime,
            finetuning=finetuning,
            calibration_temperature=decided.temperature,
            threshold_low=decided.threshold_low,
            threshold_high=decided.threshold_high,
            threshold_rule=THRESHOLD_RULE,
            threshold_metrics={},
            set_thresholds=decided.set_thresholds,
            set_rule=SET_RULE,
            saliency_scale=saliency_scale(found.peaks[np.arange(len(found.peaks)), found.logits.argmax(axis=1)]),
            counts=_by_class(counts[counts["disease"] == key]),
            created=created_now(),
            pooling=fitted.heads[key].pooling,
            volume=found.volume_decisions(key, decided.bias),
            definition=DISEASES[key] if is_own(key) else None,
        )
        write_card(head_path(folder, key, ".json"), card)


def _by_class(counts: pd.DataFrame) -> dict[str, dict[str, Counts]]:
    """Returns the rows of one disease in ``class_counts`` by class and split."""
    by_class: dict[str, dict[str, Counts]] = {}
    for label, split, groups, slices in counts[["label", "split", "groups", "slices"]].itertuples(index=False):
        by_class.setdefault(label, {})[split] = Counts(int(groups), int(slices))
    return by_class


def saliency_scale(peaks: np.ndarray) -> float:
    """Returns the top of a head's colour scale, above 0, from the peak of each slice's map of its predicted class.

    It is the 95th percentile; where that is 0, because nearly all maps are empty, the highest peak; 1 where all are.
    """
    if not peaks.any():
        return 1.0
    return float(np.percentile(peaks, SALIENCY_PERCENTILE)) or float(peaks.max())
