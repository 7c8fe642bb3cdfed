"""Heads fitted by logistic regression on what an encoder computes: linear probes, and heads of atrophy."""

from dataclasses import replace

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Generator, Tensor

from sslmri.cohorts.sampling import sample_groups
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.learning.encoder import Encoder, halves, pick_device, pool
from sslmri.learning.features import extract_features, stream
from sslmri.learning.labels import macro_auroc
from sslmri.learning.model import Head
from sslmri.learning.settings import AugmentSettings, FinetuneSettings
from sslmri.learning.views import augment_slices
from sslmri.models.cards import MASKED
from sslmri.scans.slices import Preparation

HARMLESS = AugmentSettings(  # changes that no reader would notice
    max_rotation_deg=3.0,
    max_scale=0.06,
    max_shift=0.03,
    flip_probability=0.0,
    brightness=0.1,
    contrast=0.1,
    max_gamma=1.15,
    max_blur=0.8,
)
_SLICES = 1280  # of a disease of atrophy, as equally many of each group as it has
_COPIES = 4  # of each slice under such changes; without them these changes moved one answer in six
_INVERSE_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)  # C of a linear probe
_COMPONENTS, _INVERSE_PENALTY = 100, 0.0001  # of the principal components, and C


def fit_atrophy_head(encoder: Encoder, slices: Store, disease: str, preparation: Preparation) -> Head:
    """Returns a head on the halves of the second stage, whose maps resolve fluid and tissue at their places.

    With few subjects a linear classifier of these is more accurate than the fine-tuned last stage.
    """
    own = slices.where(disease=disease)
    chosen = own.select(sample_groups(own.records, _SLICES))
    generator = Generator().manual_seed(0)
    seen = [chosen.slices, *(augment_slices(chosen.slices, HARMLESS, generator) for _ in range(_COPIES))]
    early = (maps for part in seen for maps in stream(encoder, encoder.early_maps, part, preparation))
    features = np.concatenate([pool(halves(maps)).cpu().numpy() for maps in early])
    truth, n_classes = np.tile(chosen.truth, len(seen)), len(DISEASES[disease].classes)
    fitted = fit_logistic(features, truth, n_classes, _INVERSE_PENALTY, _COMPONENTS)
    return replace(fitted, pooling="halves").rounded()


def fit_logistic(
    features: np.ndarray,
    truth: np.ndarray,
    n_classes: int,
    inverse_penalty: float,
    n_components: int | None = None,
    scaler: StandardScaler | None = None,
) -> Head:
    """Returns a class-balanced logistic regression; classes without a slice are masked.

    Features (N, K) of class indices (N,) are standardised for the fit, by themselves without a scaler, and reduced by a
    PCA where a number of components is given. The inverse penalty is C of scikit-learn.
    """
    weight, bias = np.zeros((n_classes, features.shape[1])), np.full(n_classes, MASKED)
    if len(np.unique(truth)) < 2:
        bias[truth] = 0.0
        return Head(torch.from_numpy(weight).float(), torch.from_numpy(bias).float())
    scaler = scaler or StandardScaler().fit(features)
    regression = LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=1000)
    standardised = scaler.transform(features)
    if n_components is None:
        regression.fit(standardised, truth)
        coefficients, intercepts = regression.coef_, regression.intercept_
    else:
        pca = PCA(min(n_components, *features.shape), svd_solver="full")
        regression.fit(pca.fit_transform(standardised), truth)
        coefficients, intercepts = regression.coef_ @ pca.components_, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn keeps one row for two classes
        coefficients, intercepts = np.vstack([-coefficients, coefficients]) / 2, np.array([-1, 1]) * intercepts / 2
    weight[regression.classes_] = coefficients / scaler.scale_
    bias[regression.classes_] = intercepts - weight[regression.classes_] @ scaler.mean_
    return Head(torch.from_numpy(weight).float(), torch.from_numpy(bias).float())


def fit_probe(
    features: Tensor,
    truth: np.ndarray,
    queries: Tensor,
    expected: np.ndarray,
    n_classes: int,
    scaler: StandardScaler | None = None,
) -> Head:
    """Returns the logistic regression of the penalty with the best macro AUROC on queries, the strongest if equal.

    Labelled slices have features (N, K) and class indices (N,), the queries, of validation, (V, K) and (V,).
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
