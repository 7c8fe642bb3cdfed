"""The sequence of a slice, T1, T1 with contrast agent, T2 or FLAIR: a linear head on the textures of the encoder.

Textures of the second stage show how bright each kind of tissue is; the features of the last stage, which SimCLR makes
invariant to brightness and contrast, were less accurate.
"""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sslmri.cohorts.sampling import sample_groups
from sslmri.cohorts.store import Store
from sslmri.learning.encoder import Encoder
from sslmri.learning.features import extract_textures
from sslmri.learning.model import Head
from sslmri.models.cards import MASKED
from sslmri.scans.scan import SEQUENCES
from sslmri.scans.slices import Preparation

_PER_SEQUENCE = 500  # slices: a pass of the encoder over them takes a minute on two cores
_INVERSE_PENALTY = 0.01  # C: half as many textures as slices


def sequence_truth(slices: Store) -> np.ndarray:
    """Returns the index in ``SEQUENCES`` of each slice's sequence, -1 where the manifest names none of them: (N,)."""
    index = {name: number for number, name in enumerate(SEQUENCES)}
    return np.array([index.get(record.contrast, -1) for record in slices.records], dtype=np.int64)


def sample_sequences(slices: Store, per_sequence: int = _PER_SEQUENCE) -> Store:
    """Returns at most ``per_sequence`` slices of each sequence, as equally many of each group as it has."""
    truth, chosen = sequence_truth(slices), []
    for index in range(len(SEQUENCES)):
        rows = np.flatnonzero(truth == index).tolist()
        chosen += [rows[position] for position in sample_groups([slices.records[row] for row in rows], per_sequence)]
    return slices.select(sorted(chosen))


def fit_sequence_head(encoder: Encoder, slices: Store, preparation: Preparation) -> Head | None:
    """Returns a class-balanced logistic regression of the sequence on textures; None with fewer than two sequences.

    Args:
        encoder: as it is used later.
        slices: of the training groups, labelled or not.
        preparation: of the slices.
    """
    chosen = sample_sequences(slices)
    truth = sequence_truth(chosen)
    if len(np.unique(truth)) < 2:
        return None
    features = extract_textures(encoder, chosen, preparation).numpy()
    scaler = StandardScaler().fit(features)
    fitted = LogisticRegression(C=_INVERSE_PENALTY, class_weight="balanced", max_iter=1000)
    fitted.fit(scaler.transform(features), truth)
    coefficients, intercepts = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # scikit-learn keeps one row for two classes
        coefficients, intercepts = np.vstack([-coefficients, coefficients]) / 2, np.array([-1, 1]) * intercepts / 2
    weight, bias = np.zeros((len(SEQUENCES), features.shape[1])), np.full(len(SEQUENCES), MASKED)
    weight[fitted.classes_] = coefficients / scaler.scale_
    bias[fitted.classes_] = intercepts - weight[fitted.classes_] @ scaler.mean_
    return Head(torch.from_numpy(weight).float(), torch.from_numpy(bias).float())
