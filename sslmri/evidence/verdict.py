"""From calibrated probabilities to a verdict and a prediction set: one rule for screenings and for test data."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import logsumexp, softmax

from sslmri.errors import ModelError
from sslmri.models.cards import HeadCard, Pooling


class Verdict(StrEnum):
    """The answer of one classifier, in the words of pages, reports and exports."""

    FLAGGED = "flagged"
    INCONCLUSIVE = "inconclusive"
    NOT_FLAGGED = "not flagged"
    NOT_ASSESSED = "not assessed"


@dataclass(frozen=True)
class Decisions:
    """How the logits of a head become probabilities, a verdict and a prediction set.

    Attributes:
        bias: (C,) added to the logits, for the class frequencies met.
        temperature: the logits are then divided by it, before the softmax.
        low: below this probability of any disease class a case is not flagged.
        high: from this one on it is.
        set_thresholds: from these probabilities on a class is in the prediction set, by class; None: in every set.
    """

    bias: np.ndarray
    temperature: float
    low: float
    high: float
    set_thresholds: dict[str, float | None]

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Returns the calibrated probabilities of logits: (N, C) -> (N, C)."""
        return np.asarray(softmax((logits + self.bias) / self.temperature, axis=1))


def decisions_for(card: HeadCard, n_slices: int) -> Decisions:
    """Returns the decisions of a classifier for a scan of that many slices."""
    if n_slices > 1 and (volume := card.volume):
        bias = np.array(volume.bias)
        limits = volume.threshold_low, volume.threshold_high
        return Decisions(bias, volume.temperature, *limits, volume.set_thresholds)
    bias = np.zeros(len(card.classes))
    return Decisions(bias, card.calibration_temperature, card.threshold_low, card.threshold_high, card.set_thresholds)


def pool_slices(logits: np.ndarray, pooling: Pooling) -> np.ndarray:
    """Returns the logits of a case from those of its slices: (S, C) -> (C,).

    They are pooled as the locations of a slice are, so that a small lesion in few slices counts.
    """
    if pooling == "log-mean-exp":
        return np.asarray(logsumexp(logits, axis=0) - np.log(len(logits)))
    return np.asarray(logits.mean(axis=0))


def verdicts(probabilities: np.ndarray, flagged_from: float, not_flagged_below: float) -> list[Verdict]:
    """Returns the verdict of each case (N, C), whose first class is the reference; none is ``not assessed``.

    Flagged from the upper threshold on; not flagged only below the lower one and with the reference class as the most
    probable; all else is inconclusive.
    """
    any_disease = 1 - probabilities[:, 0]
    is_clear = (any_disease < not_flagged_below) & (probabilities.argmax(axis=1) == 0)
    return [
        Verdict.FLAGGED if value >= flagged_from else Verdict.NOT_FLAGGED if clear else Verdict.INCONCLUSIVE
        for value, clear in zip(any_disease, is_clear, strict=True)
    ]


def prediction_sets(probabilities: np.ndarray, set_thresholds: Mapping[str, float | None]) -> np.ndarray:
    """Returns which classes are in the 90 % prediction set of each case: (N, C) bool.

    A class is in the set from its threshold on; without one, because too few calibration groups show it, it cannot be
    excluded and is in every set. An empty set means that the case resembles none of the classes.

    Args:
        probabilities: (N, C), calibrated.
        set_thresholds: as from ``fit_set_thresholds``, in the order of the classes.

    Raises:
        ModelError: another number of classes.
    """
    if probabilities.shape[1:] != (len(set_thresholds),):
        raise ModelError(
            f"Expected probabilities of {len(set_thresholds)} classes, got an array of shape {probabilities.shape}: "
            "use the thresholds of the head that predicted."
        )
    limits = [0.0 if threshold is None else threshold for threshold in set_thresholds.values()]
    return np.asarray(probabilities >= np.array(limits))


def prediction_set(probabilities: np.ndarray, set_thresholds: Mapping[str, float | None]) -> tuple[str, ...] | None:
    """Returns the classes in the set of one case (C,), or None where no class is excluded."""
    (members,) = prediction_sets(probabilities[None], set_thresholds)
    return (
        None if members.all() else tuple(label for label, is_in in zip(set_thresholds, members, strict=True) if is_in)
    )


def abstaining(set_thresholds: Mapping[str, float | None]) -> tuple[str, ...]:
    """Returns the classes that are in every set: too few calibration groups show them."""
    return tuple(label for label, threshold in set_thresholds.items() if threshold is None)
