"""The one logistic regression of this project: class-balanced, L2-penalised."""

import numpy as np
from sklearn.linear_model import LogisticRegression

_MAX_STEPS = 2000


def balanced_logistic(
    train: np.ndarray, truth: np.ndarray, test: np.ndarray, n_classes: int, inverse_penalty: float = 1.0
) -> np.ndarray:
    """Returns the probabilities of the test rows: (M, C); classes without training rows get 0.

    Args:
        train: (N, D) features.
        truth: (N,) class indices.
        test: (M, D) features.
        n_classes: C.
        inverse_penalty: C of scikit-learn's ``LogisticRegression``.
    """
    probabilities = np.zeros((len(test), n_classes))
    present = np.unique(truth)
    if len(present) == 1:
        probabilities[:, present] = 1.0
        return probabilities
    if train.shape[0] < train.shape[1]:  # the penalty does not see rotations: as many axes as rows are enough
        axes = np.linalg.qr(train.T)[0]
        train, test = train @ axes, test @ axes
    model = LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=_MAX_STEPS)
    probabilities[:, present] = model.fit(train, truth).predict_proba(test)
    return probabilities
