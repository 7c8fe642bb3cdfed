"""The linear probe: heads on the features of a frozen encoder (Chen et al. 2020, section 2.3)."""

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.learning.encoder import Encoder, pick_device
from sslmri.learning.features import extract_features
from sslmri.learning.labels import balanced_epoch, validation_scores
from sslmri.learning.model import Head
from sslmri.learning.settings import FinetuneSettings
from sslmri.learning.views import augment_slices
from sslmri.scans.slices import Preparation

STEPS = 300  # full-batch steps, at most
_CHECK_EVERY = 10  # steps between two validations


def fit_linear_probe(
    encoder: Encoder,
    diseases: list[str],
    train: Store,
    validation: Store,
    preparation: Preparation,
    settings: FinetuneSettings,
) -> dict[str, Head]:
    """Returns one head for each disease, fitted on the features of one balanced, augmented pass.

    Each stops at its best validation AUROC; where fewer than two classes of a disease are in the validation slices its
    head is that of the last step. Features are standardised for the fit; the scaling is folded into the heads, which
    take plain features.
    """
    encoder.to(pick_device(settings.device))
    balanced = _augmented(train, settings)
    features, validation_features = (
        extract_features(encoder, store, preparation, settings.precision) for store in (balanced, validation)
    )
    encoder.cpu()
    mean, scale = features.mean(dim=0), features.std(dim=0) + 1e-4
    heads = {}
    for key in diseases:
        rows = balanced.indices(disease=key)
        target = torch.from_numpy(balanced.select(rows).truth)
        fitted = _fit((features[rows] - mean) / scale, target, len(DISEASES[key].classes))
        candidates = [_folded(weight, bias, mean, scale) for weight, bias in fitted]
        scores = [
            validation_scores({key: head.logits(validation_features)}, validation, balanced).get(key, float(step))
            for step, head in enumerate(candidates)
        ]
        heads[key] = candidates[int(np.argmax(scores))]
    return heads


def _augmented(train: Store, settings: FinetuneSettings) -> Store:
    """Returns a balanced epoch in which every slice is augmented, as uint8 again."""
    generator = Generator().manual_seed(settings.seed)
    epoch = train.select(balanced_epoch(train, settings.slices_per_class, settings.slices_per_group, generator))
    return Store(augment_slices(epoch.slices, settings.augmentation, generator), epoch.records, epoch.bad)


def _fit(features: Tensor, target: Tensor, n_classes: int) -> list[tuple[Tensor, Tensor]]:
    """Returns weight and bias of a softmax regression at every validation of its training."""
    layer = nn.Linear(features.shape[1], n_classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3, weight_decay=1e-1)
    fitted = []
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        functional.cross_entropy(layer(features), target).backward()
        optimizer.step()
        if step % _CHECK_EVERY == 0:
            fitted.append((layer.weight.detach().clone(), layer.bias.detach().clone()))
    return fitted


def _folded(weight: Tensor, bias: Tensor, mean: Tensor, scale: Tensor) -> Head:
    """Returns the head on plain features that equals ``weight @ (h - mean) / scale + bias``."""
    plain = weight / scale
    return Head(plain, bias - plain @ mean)
