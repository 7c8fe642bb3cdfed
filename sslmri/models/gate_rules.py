"""What decides whether a scan may be answered: a space, and a machine with a threshold in it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PcaProjection:
    """A linear space of the roots of features, in which a few axes say most of what tells slices apart.

    Attributes:
        center: (F,) float32, mean of the roots of the features that made it.
        axes: (F, q) float32.
    """

    center: np.ndarray
    axes: np.ndarray

    def project(self, features: np.ndarray) -> np.ndarray:
        """Returns features (S, F) as points of the space, (S, q)."""
        return np.asarray((np.sqrt(np.maximum(features, 0)) - self.center) @ self.axes)


@dataclass(frozen=True)
class RbfSvm:
    """A support vector machine with a Gaussian kernel (Cortes and Vapnik 1995), and from which score on it says yes.

    Attributes:
        vectors: (K, q) float32, its support vectors in its space.
        weights: (K,) float32.
        bias: of the decision.
        gamma: of the kernel.
        threshold: lowest score that passes, chosen on validation groups.
    """

    vectors: np.ndarray
    weights: np.ndarray
    bias: float
    gamma: float
    threshold: float

    def scores(self, points: np.ndarray) -> np.ndarray:
        """Returns the decision of each of the points (S, q) of its space: (S,), higher for more alike."""
        squares = (points**2).sum(axis=1)[:, None] + (self.vectors**2).sum(axis=1) - 2 * points @ self.vectors.T
        return np.asarray(np.exp(-self.gamma * squares) @ self.weights + self.bias)
