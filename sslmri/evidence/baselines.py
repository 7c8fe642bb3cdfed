"""What is reached without learning features: the baselines that every metric is compared with."""

import numpy as np
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances_argmin
from sklearn.preprocessing import StandardScaler

from sslmri.errors import TrainingError
from sslmri.scans.slices import head_mask

_SIDE = 48  # pixels: small enough to lose detail, large enough to recognise a person
_MAX_COMPONENTS = 50
_DARK = 0.5  # of the median intensity of the head
_SEED = 0
_MAX_STEPS = 2000


def baseline_probabilities(
    train_slices: np.ndarray, train_truth: np.ndarray, test_slices: np.ndarray, n_classes: int
) -> dict[str, np.ndarray]:
    """Returns the probabilities (M, C) that each baseline gives the test slices.

    ``majority`` gives every slice the proportions of the training classes, ``nearest_neighbour`` all probability to
    the class of the training slice with the nearest 48 x 48 pixels, ``pca_logistic`` is a class-balanced logistic
    regression on up to 50 principal components of the same pixels. A class without training slices gets 0. Slices
    (N, H, W) and (M, H, W) are uint8, prepared in the same way.

    Raises:
        TrainingError: there are no training slices.
    """
    if len(train_slices) == 0:
        raise TrainingError("Expected training slices for the baselines, got none: check the split of the manifest.")
    proportions = np.bincount(train_truth, minlength=n_classes) / len(train_truth)
    majority = np.tile(proportions, (len(test_slices), 1))
    train, test = (small_pixels(part, _SIDE).astype(np.float32) / 255.0 for part in (train_slices, test_slices))
    nearest = train_truth[pairwise_distances_argmin(test, train)]
    # not whitened: the last components of a small set are noise, and a weak baseline flatters what exceeds it
    pca = PCA(min(_MAX_COMPONENTS, *train.shape), svd_solver="randomized", random_state=_SEED).fit(train)
    return {
        "majority": majority,
        "nearest_neighbour": np.eye(n_classes)[nearest],
        "pca_logistic": balanced_logistic(pca.transform(train), train_truth, pca.transform(test), n_classes),
    }


def balanced_logistic(
    train: np.ndarray, truth: np.ndarray, test: np.ndarray, n_classes: int, inverse_penalty: float = 1.0
) -> np.ndarray:
    """Returns the probabilities of the test rows by class-balanced, L2-penalised logistic regression: (M, C).

    Features are (N, D) and (M, D); classes without training rows get 0. The inverse penalty is C of scikit-learn.
    """
    probabilities = np.zeros((len(test), n_classes))
    present = np.unique(truth)
    if len(present) == 1:
        probabilities[:, present] = 1.0
        return probabilities
    model = LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=_MAX_STEPS)
    probabilities[:, present] = model.fit(train, truth).predict_proba(test)
    return probabilities


def trait_probabilities(
    train: np.ndarray, truth: np.ndarray, test: np.ndarray, n_classes: int, inverse_penalty: float = 1.0
) -> np.ndarray:
    """Returns what ``balanced_logistic`` predicts from standardised traits, of which NaN counts as the mean: (M, C)."""
    scaler = StandardScaler().fit(train)
    rows = [np.nan_to_num(scaler.transform(values)) for values in (train, test)]
    return balanced_logistic(rows[0], truth, rows[1], n_classes, inverse_penalty)


def dark_fraction(slices: np.ndarray) -> np.ndarray:
    """Returns the fraction of each head that is much darker than its median: (N, H, W) uint8 -> (N,).

    On T1 that is mostly cerebrospinal fluid, so in a slab around the ventricles it grows as they do.
    """
    fractions = []
    for one in slices:
        head = one[head_mask(one)]
        fractions.append(float(np.mean(head < _DARK * np.median(head))) if len(head) else 0.0)
    return np.array(fractions)


def small_pixels(slices: np.ndarray, side: int) -> np.ndarray:
    """Returns slices (N, H, W) uint8 averaged down to rows of side x side intensities: (N, side * side) uint8."""
    small = [Image.fromarray(one).resize((side, side), Image.Resampling.BOX) for one in slices]
    return np.array([np.asarray(one).ravel() for one in small], dtype=np.uint8).reshape(len(slices), side**2)
