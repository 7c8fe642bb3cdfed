"""The single fits of a label-efficiency comparison: which slices are labelled, and what is predicted from them."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import softmax
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.optim.swa_utils import update_bn

from sslmri.cohorts.sampling import rows_by_class
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.evidence.baselines import baseline_probabilities
from sslmri.learning.encoder import Encoder, normalise, pick_device
from sslmri.learning.features import BATCH, extract_features, extract_logits
from sslmri.learning.finetune import finetune
from sslmri.learning.linear_probe import fit_probe
from sslmri.learning.settings import FinetuneSettings
from sslmri.models.architecture import Architecture
from sslmri.scans.slices import Preparation

N_NORM_SLICES = 512  # unlabelled training slices that an untrained encoder's batch norms are estimated on
_VALIDATION_LABELS = 50  # slices per class that choose the epoch of a fine-tuning

Predictions = dict[str, np.ndarray]  # probabilities (N, C) of the test slices, by disease


class Experiment(NamedTuple):
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


class Features(NamedTuple):
    """The features of the labelled slices of each split: (N, 2048) float32."""

    train: Tensor
    validation: Tensor
    test: Tensor


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
    device, pool = pick_device(experiment.device), experiment.pool.evenly(N_NORM_SLICES)
    encoder = Encoder(architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows = np.random.default_rng(seed).permutation(len(pool.records))
    update_bn(
        (
            normalise(torch.from_numpy(pool.batch(batch)).to(device), experiment.preparation)
            for batch in np.array_split(rows, -(-len(rows) // BATCH))
        ),
        encoder,
    )
    return encoder.eval()


def features_of(experiment: Experiment, encoder: Encoder) -> Features:
    """Returns the features of all splits."""
    encoder.to(pick_device(experiment.device))
    stores = (experiment.train, experiment.validation, experiment.test)
    return Features(*(extract_features(encoder, store, experiment.preparation) for store in stores))


def probe(experiment: Experiment, features: Features, labelled: Sequence[int]) -> Predictions:
    """Returns what linear probes predict for the test slices.

    Args:
        experiment: the slices.
        features: of one encoder; standardised by those of the training split, labelled or not.
        labelled: rows of the training split whose labels are used.
    """
    predictions, scaler = {}, StandardScaler().fit(features.train.numpy())
    for key in experiment.diseases:
        rows = [row for row in labelled if experiment.train.records[row].disease == key]
        held_out, tested = (part.indices(disease=key) for part in (experiment.validation, experiment.test))
        truth, expected = experiment.train.select(rows).truth, experiment.validation.select(held_out).truth
        known, queries, n_classes = features.train[rows], features.validation[held_out], len(DISEASES[key].classes)
        head = fit_probe(known, truth, queries, expected, n_classes, scaler)
        predictions[key] = head.logits(features.test[tested]).softmax(dim=1).numpy()
    return predictions


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
        encoder: where to start from; it stays as it is.
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
