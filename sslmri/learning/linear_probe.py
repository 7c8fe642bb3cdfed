"""The linear probe: logistic regression on the features of a frozen encoder (Chen et al. 2020, section 2.3)."""

import numpy as np
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.learning.encoder import Encoder, pick_device
from sslmri.learning.features import extract_features
from sslmri.learning.labels import macro_auroc
from sslmri.learning.logistic import fit_logistic
from sslmri.learning.model import Head
from sslmri.learning.settings import FinetuneSettings
from sslmri.scans.slices import Preparation

_INVERSE_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)  # C


def fit_probe(
    features: Tensor,
    truth: np.ndarray,
    queries: Tensor,
    expected: np.ndarray,
    n_classes: int,
    scaler: StandardScaler | None = None,
) -> Head:
    """Returns the logistic regression of the penalty with the best macro AUROC on queries, the strongest if equal.

    Args:
        features: (N, K) of labelled slices.
        truth: (N,) their class indices.
        queries: (V, K) of validation slices.
        expected: (V,) their class indices.
        n_classes: C.
        scaler: as of ``fit_logistic``.
    """
    fitted = [
        fit_logistic(features.numpy(), truth, n_classes, penalty, scaler=scaler) for penalty in _INVERSE_PENALTIES
    ]
    scores = [macro_auroc(head.logits(queries).softmax(dim=1).numpy(), expected, truth) or 0.0 for head in fitted]
    return fitted[int(np.argmax(scores))]


def fit_linear_probe(
    encoder: Encoder,
    diseases: list[str],
    train: Store,
    validation: Store,
    preparation: Preparation,
    settings: FinetuneSettings,
) -> dict[str, Head]:
    """Returns one head for each disease, with the penalty chosen on the validation slices."""
    encoder.to(pick_device(settings.device))
    features, queries = (extract_features(encoder, s, preparation, settings.precision) for s in (train, validation))
    encoder.cpu()
    heads = {}
    for key in diseases:
        rows, held_out = train.indices(disease=key), validation.indices(disease=key)
        truth, expected = train.select(rows).truth, validation.select(held_out).truth
        heads[key] = fit_probe(features[rows], truth, queries[held_out], expected, len(DISEASES[key].classes))
    return heads
