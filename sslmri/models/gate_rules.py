"""What the rules of the out-of-distribution gate are made of: a projection, and a support vector machine in it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PcaProjection:
    """Principal axes of the square roots of features.

    Attributes:
        center: (F,) float32, mean of the square roots.
        axes: (F, q) float32.
    """

    center: np.ndarray
    axes: np.ndarray

    def project(self, features: np.ndarray) -> np.ndarray:
        """Returns features (S, F) as points (S, q)."""
        return np.asarray((np.sqrt(np.maximum(features, 0)) - self.center) @ self.axes)


@dataclass(frozen=True)
class RbfSvm:
    """A support vector machine with a Gaussian kernel (Cortes and Vapnik 1995).

    NumPy alone, because screening starts without scikit-learn.

    Attributes:
        vectors: (K, q) float32, its support vectors.
        weights: (K,) float32.
        bias: of the decision function.
        gamma: of the kernel.
        threshold: lowest score that passes, chosen on validation groups.
    """

    vectors: np.ndarray
    weights: np.ndarray
    bias: float
    gamma: float
    threshold: float

    def scores(self, points: np.ndarray) -> np.ndarray:
        """Returns the decision function at points (S, q): (S,), higher for in distribution."""
        squares = (points**2).sum(axis=1)[:, None] + (self.vectors**2).sum(axis=1) - 2 * points @ self.vectors.T
        return np.asarray(np.exp(-self.gamma * squares) @ self.weights + self.bias)

    def passes(self, points: np.ndarray) -> np.ndarray:
        """Returns which of the points (S, q) reach the threshold: (S,) bool."""
        return np.asarray(self.scores(points) >= self.threshold)
