"""Adds to a model the head that reads the sequence of a slice, with its results on groups that it left out."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import confusion_matrix

from sslmri.cohorts.protocols import EVIDENCE_FOLDERS, Protocol
from sslmri.cohorts.store import Store
from sslmri.errors import TrainingError
from sslmri.evidence.intervals import rate_of
from sslmri.files import sha256_of
from sslmri.learning.encoder import Encoder
from sslmri.learning.model import encoder_of_model, save_sequence
from sslmri.learning.sequence import SequenceFit, fit_sequence, sequence_truth
from sslmri.models.evidence import SequenceMetrics, write_evidence
from sslmri.models.folder import ENCODER_FILE, read_model_card, replaced, write_model_file
from sslmri.models.history import created_now
from sslmri.models.metrics import Rate
from sslmri.scans.scan import SEQUENCES
from sslmri.scans.slices import Preparation
from sslmri.training.data import open_folds
from sslmri.training.options import RunOptions


def run_sequence(options: RunOptions) -> SequenceMetrics:
    """Fits the head of the sequence of the run's model again and writes it with its results, which are returned.

    Raises:
        SslmriError: the data or the model is at fault, or the data name fewer than two sequences.
    """
    card = read_model_card(options.run)
    encoder, preparation = encoder_of_model(card), card.encoder.preparation
    _, store = open_folds(replace(options, preparation=preparation))
    with replaced(card.folder) as new:
        metrics = add_sequence(new, encoder, store, preparation, card.training.protocol)
        if metrics is None:
            raise TrainingError(
                "Expected slices of two sequences and two groups or more, got fewer: fill in the column contrast."
            )
        write_model_file(new, card.name, card.training, card.created, card.evidence_note)
    return metrics


def add_sequence(
    folder: Path, encoder: Encoder, slices: Store, preparation: Preparation, protocol: Protocol
) -> SequenceMetrics | None:
    """Fits the head of the sequence on a model's encoder and writes it with its results into the folder of the model.

    Returns the results, None where the slices are of fewer than two sequences; ``model.json`` is to be written after.
    """
    found = fit_sequence(encoder, slices, preparation)
    if found is None:
        return None
    save_sequence(folder, found.head)
    metrics = measure_sequences(found, sha256_of(folder / ENCODER_FILE))
    write_evidence(folder / EVIDENCE_FOLDERS[protocol], metrics)
    return metrics


def measure_sequences(found: SequenceFit, encoder_sha256: str) -> SequenceMetrics:
    """Returns how often the sequence of a slice is predicted correctly by a head that was fitted without its group."""
    truth, predicted = sequence_truth(found.slices), found.probabilities.argmax(axis=1)
    several = defaultdict(set)
    for record in found.slices.records:
        several[record.cohort].add(record.contrast)
    same = np.array([len(several[record.cohort]) > 1 for record in found.slices.records])
    return SequenceMetrics(
        created=created_now(),
        encoder_sha256=encoder_sha256,
        names=SEQUENCES,
        accuracy=_rate(truth == predicted, found.slices),
        same_source=_rate((truth == predicted)[same], found.slices.select(np.flatnonzero(same).tolist()))
        if same.any()
        else None,
        confusion=tuple(map(tuple, confusion_matrix(truth, predicted, labels=range(len(SEQUENCES))).tolist())),
    )


def _rate(is_right: np.ndarray, slices: Store) -> Rate:
    return rate_of(is_right, slices.groups, np.array([record.cohort for record in slices.records]))
