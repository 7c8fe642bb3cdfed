"""Whether probabilities mean what they say: Brier score, expected calibration error and the bins it is made of."""

import numpy as np

from sslmri.evidence.sample import Sample, ratio
from sslmri.models.metrics import ReliabilityBin

N_BINS = 15
BINS_RULE = f"{N_BINS} bins of equal width on the highest probability (Guo et al. 2017)"
_EDGES = np.linspace(0, 1, N_BINS + 1)


def briers(sample: Sample) -> np.ndarray:
    """Returns the Brier score as it is and in each resample: (1 + B,), 0 at best and 2 at worst.

    The squared distance to the truth summed over the classes, as in Brier 1950: with two classes twice that of one.
    """
    distance = sample.probabilities - np.eye(sample.n_classes)[sample.truth]
    return sample.mean((distance**2).sum(axis=1))


def calibration_errors(sample: Sample) -> np.ndarray:
    """Returns the expected calibration error (ECE) as it is and in each resample: (1 + B,).

    The distance between the highest probability and the accuracy of the cases, in 15 bins of equal
    width, weighted by their cases (Guo et al. 2017, eq. 3, arXiv:1706.04599). In few cases chance alone sets the two
    apart, so the ECE of few groups is too high, and that of their resamples more so.
    """
    gaps = sample.sums(_in_bins(sample, sample.probabilities.max(axis=1) - _is_right(sample)))
    return ratio(np.abs(sample.weights @ gaps).sum(axis=1), sample.weights @ sample.sizes, np.nan)


def reliability_bins(sample: Sample) -> tuple[ReliabilityBin, ...]:
    """Returns the bins of the expected calibration error that hold a case."""
    top = sample.probabilities.max(axis=1)
    counts, probabilities, right = (
        _in_bins(sample, values) for values in (np.ones(len(top)), top, _is_right(sample).astype(float))
    )
    n_groups = np.count_nonzero(sample.sums(counts), axis=0)
    totals = counts.sum(axis=0)
    return tuple(
        ReliabilityBin(
            low=float(_EDGES[index]),
            high=float(_EDGES[index + 1]),
            probability=float(probabilities[:, index].sum() / totals[index]),
            accuracy=float(right[:, index].sum() / totals[index]),
            n_cases=int(totals[index]),
            n_groups=int(n_groups[index]),
        )
        for index in np.flatnonzero(totals)
    )


def _is_right(sample: Sample) -> np.ndarray:
    return sample.probabilities.argmax(axis=1) == sample.truth


def _in_bins(sample: Sample, values: np.ndarray) -> np.ndarray:
    """Returns a value of each case in the column of its bin: (N,) -> (N, 15)."""
    bins = np.digitize(sample.probabilities.max(axis=1), _EDGES[1:-1], right=True)
    return np.where(np.arange(N_BINS) == bins[:, np.newaxis], values[:, np.newaxis], 0.0)
