"""Heads fitted by logistic regression on what the fine-tuned encoder computes on its way: sequence, and atrophy."""

from dataclasses import replace

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Generator

from sslmri.cohorts.sampling import sample_groups
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.learning.encoder import Encoder, halves, pool
from sslmri.learning.features import stream
from sslmri.learning.model import Head
from sslmri.learning.settings import AugmentSettings
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
_COMPONENTS, _INVERSE_PENALTY = 100, 0.0001  # of the principal components, and C


def fit_atrophy_head(encoder: Encoder, slices: Store, disease: str, preparation: Preparation) -> Head:
    """Returns a head on the halves of the second stage, whose maps resolve fluid and tissue at their places.

    With few subjects a linear classifier of these is more accurate than the fine-tuned last stage.

    Args:
        encoder: as it is used later.
        slices: of the training groups.
        disease: its key.
        preparation: of the slices.
    """
    own = slices.where(disease=disease)
    chosen = own.select(sample_groups(own.records, _SLICES))
    generator = Generator().manual_seed(0)
    seen = [chosen.slices, *(augment_slices(chosen.slices, HARMLESS, generator) for _ in range(_COPIES))]
    features = np.concatenate([_halves_of(encoder, slices_, preparation) for slices_ in seen])
    truth, n_classes = np.tile(chosen.truth, len(seen)), len(DISEASES[disease].classes)
    fitted = fit_logistic(features, truth, n_classes, _INVERSE_PENALTY, _COMPONENTS)
    return replace(fitted, pooling="halves").rounded()


def _halves_of(encoder: Encoder, slices: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Returns the means of the second stage over the halves of prepared slices (N, H, W) uint8: (N, K)."""
    return torch.cat(
        [pool(halves(maps)).cpu() for maps in stream(encoder, encoder.early_maps, slices, preparation)]
    ).numpy()


def fit_logistic(
    features: np.ndarray,
    truth: np.ndarray,
    n_classes: int,
    inverse_penalty: float,
    n_components: int | None = None,
    scaler: StandardScaler | None = None,
) -> Head:
    """Returns a class-balanced logistic regression; classes without a slice are masked.

    Args:
        features: (N, K), standardised for the fit.
        truth: (N,) class indices.
        n_classes: C.
        inverse_penalty: C of scikit-learn.
        n_components: of a PCA before the fit; None leaves it out.
        scaler: that standardises; None: by these features.
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
