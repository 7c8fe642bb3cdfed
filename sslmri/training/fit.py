"""Fine-tunes a pre-trained encoder and writes the model: for a split, for a fold, and on all groups."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.gate.fit import build_bank
from sslmri.learning.encoder import Encoder
from sslmri.learning.finetune import finetune
from sslmri.learning.logistic import fit_atrophy_head
from sslmri.learning.model import Model, as_saved, load_encoder, save_weights
from sslmri.learning.precision import with_precision
from sslmri.learning.sequence import fit_sequence_head
from sslmri.learning.settings import FinetuneSettings
from sslmri.models.bank import save_bank
from sslmri.models.cards import EncoderCard
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
from sslmri.training.data import record_training_groups, training_data
from sslmri.training.heads import HeldOut, evaluate_heads, with_bias, write_head_cards
from sslmri.training.options import RunOptions


class Pretrained(NamedTuple):
    """A pre-trained encoder with its card."""

    encoder: Encoder
    card: EncoderCard


def load_pretrained(folder: Path) -> Pretrained:
    """Returns the pre-trained encoder of a folder with its card."""
    return Pretrained(load_encoder(folder / ENCODER_FILE), read_encoder_card(folder / ENCODER_CARD))


def fit_model(
    options: RunOptions,
    start: Pretrained,
    store: Store,
    settings: FinetuneSettings,
    held_out: Mapping[str, HeldOut] | None = None,
    gate: Store | None = None,
    evidence_note: str | None = None,
) -> None:
    """Fine-tunes a pre-trained encoder on the training split of a store and writes the model of the run.

    Args:
        options: of the run.
        start: the pre-trained encoder.
        store: prepared slices with their splits.
        settings: of fine-tuning.
        held_out: out-of-fold predictions of models of the same recipe; without them the heads are calibrated on the
            validation split.
        gate: the slices that the gate is fitted on, with their splits; without them the model has no gate.
        evidence_note: what a reader of the model's results must know.
    """
    folder, settings = options.run / "finetune", with_precision(settings)
    train, validation = store.labelled.where(split="train"), store.labelled.where(split="validation")
    record_training_groups(folder, train, options.protocol)
    encoder, heads = as_saved(*finetune(start.encoder, train, validation, options.preparation, folder, settings))
    if settings.refits_atrophy:
        several = [key for key in heads if len(np.unique(train.where(disease=key).truth)) > 1]
        atrophy = [key for key in several if DISEASES[key].is_atrophy]
        heads |= {key: fit_atrophy_head(encoder, train, key, options.preparation) for key in atrophy}
    held_out = held_out or evaluate_heads(encoder, heads, validation, options.preparation)
    decisions = {key: held_out[key].decisions(key) for key in heads}
    heads = {key: with_bias(head, decisions[key]) for key, head in heads.items()}
    sequence = fit_sequence_head(encoder, store.where(split="train"), options.preparation)
    card = replace(start.card, architecture=encoder.architecture, preparation=options.preparation)
    named = options.run.name, training_data(train.records, options.protocol), created_now(), evidence_note
    with replaced(options.run / MODEL, is_kept=False) as new:
        save_weights(new, encoder, heads, sequence)
        write_card(new / ENCODER_CARD, card)
        write_head_cards(new, heads, held_out, decisions, store.records, settings)
        write_model_file(new, *named)
        if gate is not None:
            save_bank(new, build_bank(Model.load(new), gate))
            write_model_file(new, *named)
