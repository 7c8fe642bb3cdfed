"""The single fits of a label-efficiency comparison: which slices are labelled, and what is predicted from them."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.special import softmax
from torch import nn

from sslmri.cohorts.sampling import rows_by_class
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.evidence.baselines import balanced_logistic, baseline_probabilities
from sslmri.learning.encoder import Encoder, normalise, pick_device
from sslmri.learning.features import BATCH, extract_features, extract_logits
from sslmri.learning.finetune import finetune
from sslmri.learning.labels import macro_auroc
from sslmri.learning.settings import FinetuneSettings
from sslmri.models.architecture import Architecture
from sslmri.scans.slices import Preparation

N_NORM_SLICES = 512  # unlabelled training slices that an untrained encoder's batch norms are estimated on
_VALIDATION_LABELS = 50  # slices per class that choose the epoch of a fine-tuning
_MIN_STD = 1e-4  # added to a feature's standard deviation: a constant one carries no information

Predictions = dict[str, np.ndarray]  # probabilities (N, C) of the test slices, by disease


@dataclass(frozen=True)
class Experiment:
    """What all fits have in common.

    Attributes:
        pool: every slice of the training split, labelled or not.
        train, validation, test: labelled slices of the diseases that are both trained and tested.
        preparation: of all slices.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    pool: Store
    train: Store
    validation: Store
    test: Store
    preparation: Preparation
    device: str

    @property
    def diseases(self) -> list[str]:
        """Keys of the diseases that are compared."""
        return [key for key in DISEASES if len(self.test.indices(disease=key))]


@dataclass(frozen=True)
class Features:
    """Standardised features of the labelled slices of each split: (N, 2048) float32."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def sample_labels(train: Store, per_class: int, seed: int) -> list[int]:
    """Returns the rows of at most ``per_class`` slices of each class, drawn at random from its groups in turn.

    The slices of a smaller budget are among those of a larger one of the same seed.
    """
    generator = np.random.default_rng(seed)
    chosen: list[int] = []
    for groups in rows_by_class(train.records).values():
        shuffled = [generator.permutation(rows).tolist() for _, rows in sorted(groups.items())]
        order = generator.permutation(len(shuffled)).tolist()
        turns = [
            (turn, group, row) for group, rows in zip(order, shuffled, strict=True) for turn, row in enumerate(rows)
        ]
        chosen += [row for _, _, row in sorted(turns)[:per_class]]
    return sorted(chosen)


def untrained_encoder(experiment: Experiment, architecture: Architecture, seed: int) -> Encoder:
    """Returns the encoder as it is before pre-training, its batch norms estimated on unlabelled training slices.

    Their mean and variance are part of what an encoder knows of the data without labels; left at 0 and 1, an untrained
    encoder would be judged by the scale of its weights.
    """
    torch.manual_seed(seed)
    encoder = Encoder(architecture).to(pick_device(experiment.device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    rows = (
        np.linspace(0, len(experiment.pool.records) - 1, min(N_NORM_SLICES, len(experiment.pool.records)))
        .round()
        .astype(int)
    )
    encoder.train()
    with torch.no_grad():
        for batch in np.array_split(np.random.default_rng(seed).permutation(rows), -(-len(rows) // BATCH)):
            slices = torch.from_numpy(experiment.pool.batch(batch)).to(pick_device(experiment.device))
            encoder(normalise(slices, experiment.preparation))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return encoder.eval()


def features_of(experiment: Experiment, encoder: Encoder) -> Features:
    """Returns the features of all splits, standardised by the mean and deviation of the training split."""
    encoder.to(pick_device(experiment.device))
    stores = (experiment.train, experiment.validation, experiment.test)
    train, validation, test = (extract_features(encoder, store, experiment.preparation).numpy() for store in stores)
    mean, scale = train.mean(axis=0), train.std(axis=0) + _MIN_STD
    return Features((train - mean) / scale, (validation - mean) / scale, (test - mean) / scale)


def probe(
    experiment: Experiment, features: Features, labelled: Sequence[int], inverse_penalties: Sequence[float]
) -> tuple[Predictions, dict[str, float]]:
    """Returns what linear probes predict for the test slices, and the inverse penalty that each disease chose.

    Args:
        experiment: the slices.
        features: of one encoder.
        labelled: rows of the training split whose labels are used.
        inverse_penalties: out of which the macro AUROC on the validation split chooses, the strongest if equal.
    """
    predictions, chosen = {}, {}
    for key in experiment.diseases:
        n_classes = len(DISEASES[key].classes)
        rows = [row for row in labelled if experiment.train.records[row].disease == key]
        truth = experiment.train.select(rows).truth
        held_out, tested = experiment.validation.indices(disease=key), experiment.test.indices(disease=key)
        validation = experiment.validation.select(held_out).truth
        best = -1.0
        for inverse_penalty in sorted(inverse_penalties):
            queries = np.concatenate([features.validation[held_out], features.test[tested]])
            predicted = balanced_logistic(features.train[rows], truth, queries, n_classes, inverse_penalty)
            score = _score(predicted[: len(held_out)], validation, truth)
            if score > best:
                best, chosen[key], predictions[key] = score, inverse_penalty, predicted[len(held_out) :]
    return predictions, chosen


def _score(probabilities: np.ndarray, validation: np.ndarray, truth: np.ndarray) -> float:
    """Returns the macro AUROC of the trained classes on the validation split, 0 where it has too few classes."""
    counted = sorted(set(truth.tolist()) & set(validation.tolist()))
    if len(np.unique(validation)) < 2 or not counted:
        return 0.0
    return macro_auroc(probabilities, validation, counted)


def pixels_baseline(experiment: Experiment, labelled: Sequence[int]) -> Predictions:
    """Returns what PCA + logistic regression on the labelled slices' pixels predicts for the test slices."""
    predictions = {}
    for key in experiment.diseases:
        rows = [row for row in labelled if experiment.train.records[row].disease == key]
        truth, n_classes = experiment.train.select(rows).truth, len(DISEASES[key].classes)
        tested = experiment.test.where(disease=key).slices
        predictions[key] = baseline_probabilities(experiment.train.batch(rows), truth, tested, n_classes)[
            "pca_logistic"
        ]
    return predictions


def fine_tune(
    experiment: Experiment, encoder: Encoder, labelled: Sequence[int], folder: Path, settings: FinetuneSettings
) -> Predictions:
    """Returns what encoder and heads, trained together on all diseases, predict for the test slices.

    Args:
        experiment: the slices.
        encoder: where to start from; it is changed.
        labelled: rows of the training split whose labels are used.
        folder: of the checkpoint while it trains; removed afterwards.
        settings: of fine-tuning.
    """
    validation = experiment.validation.evenly_per_class(_VALIDATION_LABELS)
    encoder, heads = finetune(
        encoder, experiment.train.select(labelled), validation, experiment.preparation, folder, settings
    )
    encoder.to(pick_device(experiment.device))
    predictions = {}
    for key in experiment.diseases:
        tested = experiment.test.where(disease=key)
        logits = extract_logits(encoder, {key: heads[key]}, tested, experiment.preparation)[key]
        predictions[key] = softmax(logits.numpy().astype(np.float64), axis=1)
    shutil.rmtree(folder)  # half a gigabyte per fit
    return predictions
