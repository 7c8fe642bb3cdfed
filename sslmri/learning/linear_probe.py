"""The linear probe: logistic regression on the features of a frozen encoder (Chen et al. 2020, section 2.3)."""

import numpy as np
import torch
from torch import Generator

from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.learning.encoder import Encoder, pick_device
from sslmri.learning.features import extract_features
from sslmri.learning.labels import balanced_epoch, validation_scores
from sslmri.learning.logistic import fit_logistic
from sslmri.learning.model import Head
from sslmri.learning.settings import FinetuneSettings
from sslmri.learning.views import augment_slices
from sslmri.scans.slices import Preparation

_INVERSE_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)  # C


def fit_linear_probe(
    encoder: Encoder,
    diseases: list[str],
    train: Store,
    validation: Store,
    preparation: Preparation,
    settings: FinetuneSettings,
) -> dict[str, Head]:
    """Returns one head for each disease, fitted on the features of one balanced, augmented pass.

    Each has the penalty with the best validation AUROC; where fewer than two classes of a disease are in the validation
    slices, the weakest.
    """
    encoder.to(pick_device(settings.device))
    balanced = _augmented(train, settings)
    features, validation_features = (
        extract_features(encoder, store, preparation, settings.precision) for store in (balanced, validation)
    )
    encoder.cpu()
    heads = {}
    for key in diseases:
        rows, n_classes = balanced.indices(disease=key), len(DISEASES[key].classes)
        truth = balanced.select(rows).truth
        if len(np.unique(truth)) < 2:  # the classes that are not there are masked
            heads[key] = Head(torch.zeros(n_classes, features.shape[1]), torch.zeros(n_classes))
            continue
        fitted = [fit_logistic(features[rows].numpy(), truth, n_classes, penalty) for penalty in _INVERSE_PENALTIES]
        scores = [
            validation_scores({key: head.logits(validation_features)}, validation, balanced).get(key, float(position))
            for position, head in enumerate(fitted)
        ]
        heads[key] = fitted[int(np.argmax(scores))]
    return heads


def _augmented(train: Store, settings: FinetuneSettings) -> Store:
    """Returns a balanced epoch in which every slice is augmented, as uint8 again."""
    generator = Generator().manual_seed(settings.seed)
    epoch = train.select(balanced_epoch(train, settings.slices_per_class, settings.slices_per_group, generator))
    return Store(augment_slices(epoch.slices, settings.augmentation, generator), epoch.records, epoch.bad)
