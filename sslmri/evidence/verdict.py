"""From calibrated probabilities to a verdict and a prediction set: one rule for screenings and for test data."""

from collections.abc import Mapping
from enum import StrEnum

import numpy as np

from sslmri.errors import ModelError


class Verdict(StrEnum):
    """The answer of one classifier, in the words of pages, reports and exports."""

    FLAGGED = "flagged"
    INCONCLUSIVE = "inconclusive"
    NOT_FLAGGED = "not flagged"
    NOT_ASSESSED = "not assessed"


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

    A class is in the set from its threshold on. Where one class has no threshold, because too few calibration groups
    show it, no class can be excluded: every class is in every set. An empty set means that the case resembles none of
    the classes.

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
    if abstaining(set_thresholds):
        return np.ones(probabilities.shape, dtype=bool)
    sets: np.ndarray = probabilities >= np.array(list(set_thresholds.values()), dtype=float)
    return sets


def prediction_set(probabilities: np.ndarray, set_thresholds: Mapping[str, float | None]) -> tuple[str, ...] | None:
    """Returns the classes in the set of one case (C,), or None where no class can be excluded."""
    (members,) = prediction_sets(probabilities[None], set_thresholds)
    return (
        None if members.all() else tuple(label for label, is_in in zip(set_thresholds, members, strict=True) if is_in)
    )


def abstaining(set_thresholds: Mapping[str, float | None]) -> tuple[str, ...]:
    """Returns the classes without a threshold: too few calibration groups show them."""
    return tuple(label for label, threshold in set_thresholds.items() if threshold is None)
