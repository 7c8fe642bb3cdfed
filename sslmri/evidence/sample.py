"""Test slices by group, and a bootstrap that draws whole groups."""

from dataclasses import dataclass, replace

import numpy as np

from sslmri.errors import ManifestError, ModelError

N_RESAMPLES = 1000


@dataclass(frozen=True)
class Sample:
    """Slices sorted by group, with how often each resample draws each group.

    Attributes:
        probabilities: (N, C).
        sizes: (G,) slices of each group; the rows of group g follow those of group g - 1.
        labels: (G,) class of each group.
        weights: (1 + B, G); the first row is 1 throughout, the others say how often a resample draws each group.
        order: (N,) row of each slice among those that the sample was drawn from.
        by_groups: (G, C) probabilities of each group as one case; None: the mean of its slices.
    """

    probabilities: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    order: np.ndarray
    by_groups: np.ndarray | None = None

    @property
    def n_classes(self) -> int:
        """C."""
        return int(self.probabilities.shape[1])

    @property
    def starts(self) -> np.ndarray:
        """First row of each group: (G,)."""
        return np.asarray(np.cumsum(self.sizes) - self.sizes)

    @property
    def owner(self) -> np.ndarray:
        """Group of each slice: (N,)."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @property
    def truth(self) -> np.ndarray:
        """Class of each slice: (N,)."""
        return np.repeat(self.labels, self.sizes)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Returns the sum of a value of each slice over each group: (N, ...) -> (G, ...) float64."""
        summed = np.zeros((len(self.sizes), *values.shape[1:]))
        np.add.at(summed, self.owner, values)
        return summed

    def mean(self, values: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
        """Returns the mean of a value over the slices, as it is and in each resample: (N,) -> (1 + B,).

        Groups that are not ``counted``, (G,) bool, are left out; NaN comes back where no group counts.
        """
        kept = np.ones(len(self.sizes), dtype=bool) if counted is None else counted
        weights = self.weights[:, kept]
        return ratio(weights @ self.sums(values)[kept], weights @ self.sizes[kept], np.nan)

    def only(self, kept: np.ndarray) -> "Sample":
        """Returns the sample without the other groups: kept (G,) bool."""
        rows = np.repeat(kept, self.sizes)
        return Sample(
            self.probabilities[rows],
            self.sizes[kept],
            self.labels[kept],
            self.weights[:, kept],
            self.order[rows],
            None if self.by_groups is None else self.by_groups[kept],
        )

    def by_group(self) -> "Sample":
        """Returns the sample with each group as one case."""
        means = self.by_groups
        if means is None:
            means = self.sums(self.probabilities) / self.sizes[:, np.newaxis]
        # rounded: means of equal values must tie, whatever the group's size
        sizes, order = np.ones_like(self.sizes), np.arange(len(self.sizes))
        return replace(self, probabilities=means.round(12), sizes=sizes, order=order, by_groups=None)


def draw_sample(
    truth: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Sample:
    """Returns the slices by group with B resamples, which draw whole groups with replacement, class by class.

    So every resample has as many groups of each class as there are. Class indices, which the slices of a group share,
    and names of groups are (N,), probabilities (N, C).

    Raises:
        ManifestError: a group with two classes.
        ModelError: probabilities that are not finite.
    """
    if not np.isfinite(probabilities).all():
        raise ModelError("Expected finite probabilities, got some that are no numbers: the training has failed.")
    names, first, member = np.unique(groups, return_index=True, return_inverse=True)
    labels = truth[first].astype(np.int64)
    mixed = np.unique(member[truth != labels[member]])
    if len(mixed):
        raise ManifestError(
            f"Expected slices of one class in each group, got several in {len(mixed)} groups, first {names[mixed[0]]}: "
            "split the group or correct a label."
        )
    order = np.argsort(member, kind="stable")
    sizes = np.bincount(member, minlength=len(names))
    weights = draw_weights(labels, n_resamples, seed)
    return Sample(probabilities[order].astype(np.float64), sizes, labels, weights, order)


def draw_weights(strata: np.ndarray, n_resamples: int = N_RESAMPLES, seed: int = 0) -> np.ndarray:
    """Returns how often each group is drawn: (1 + B, G), first once each, then with replacement within its stratum."""
    generator = np.random.default_rng(seed)
    weights = np.ones((1 + n_resamples, len(strata)), dtype=np.int64)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        n = len(members)
        weights[1:, members] = generator.multinomial(n, np.full(n, 1 / n), size=n_resamples)
    return weights


def ratio(part: np.ndarray, whole: np.ndarray, otherwise: float) -> np.ndarray:
    """Returns part / whole, and ``otherwise`` where whole is 0."""
    empty = np.asarray(whole) == 0
    return np.where(empty, otherwise, part / np.where(empty, 1, whole))
