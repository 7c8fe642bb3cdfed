"""From calibrated probabilities to a verdict and a prediction set: one rule for screenings and for test data."""

from collections.abc import Collection, Mapping
from enum import StrEnum

import numpy as np
from scipy.special import logsumexp

from sslmri.models.cards import Decisions, HeadCard, Pooling
from sslmri.models.metrics import OperatingPoint


class Verdict(StrEnum):
    """The answer of one classifier, in the words of pages, reports and exports."""

    FLAGGED = "flagged"
    INCONCLUSIVE = "inconclusive"
    NOT_FLAGGED = "not flagged"
    NOT_ASSESSED = "not assessed"


_DECIDED = frozenset({Verdict.FLAGGED, Verdict.NOT_FLAGGED})


def finds_disease(verdict: str) -> bool | None:
    """Returns whether the model finds the disease on a scan; None where the verdict leaves it open."""
    return {str(Verdict.FLAGGED): True, str(Verdict.NOT_FLAGGED): False}.get(verdict)


def decisions_for(card: HeadCard, n_slices: int) -> Decisions:
    """Returns the decisions of a classifier for a scan of that many slices."""
    if n_slices > 1 and card.volume:
        return card.volume
    bias, limits = (0.0,) * len(card.classes), (card.threshold_low, card.threshold_high)
    return Decisions(bias, card.calibration_temperature, *limits, card.set_thresholds)


def pool_slices(logits: np.ndarray, pooling: Pooling) -> np.ndarray:
    """Returns the logits of a case from those of its slices: (S, C) -> (C,).

    They are pooled as the locations of a slice are, so that a small lesion in few slices counts.
    """
    if pooling == "log-mean-exp":
        return np.asarray(logsumexp(logits, axis=0) - np.log(len(logits)))
    return np.asarray(logits.mean(axis=0))


def verdicts(probabilities: np.ndarray, decisions: Decisions) -> list[Verdict]:
    """Returns the verdict of each case (N, C), whose first class is the reference; none is ``not assessed``.

    Flagged from the upper threshold on; not flagged only below the lower one and with the reference class as the most
    probable; all else is inconclusive.
    """
    any_disease = 1 - probabilities[:, 0]
    is_clear = (any_disease < decisions.threshold_low) & (probabilities.argmax(axis=1) == 0)
    return [
        Verdict.FLAGGED if value >= decisions.threshold_high else Verdict.NOT_FLAGGED if clear else Verdict.INCONCLUSIVE
        for value, clear in zip(any_disease, is_clear, strict=True)
    ]


def reconciled(verdict: Verdict, members: Collection[str] | None, reference: str) -> Verdict:
    """Returns the verdict, or inconclusive where the prediction set contradicts it.

    A set contradicts *flagged* where the reference class is all that it holds, and *not flagged* where it holds classes
    and the reference is none of them; None stands for a set that excludes no class.
    """
    excludes_disease = members is not None and set(members) == {reference}
    excludes_reference = bool(members) and reference not in (members or ())
    is_contradicted = excludes_disease if verdict is Verdict.FLAGGED else excludes_reference
    return Verdict.INCONCLUSIVE if is_contradicted and verdict in _DECIDED else verdict


def prediction_sets(probabilities: np.ndarray, set_thresholds: Mapping[str, float | None]) -> np.ndarray:
    """Returns which classes are in the 90 % prediction set of each case: (N, C) bool.

    A class is in the set from its threshold on; without one, because too few calibration groups show it, it cannot be
    excluded and is in every set. An empty set means that the case resembles none of the classes. Probabilities (N, C)
    are calibrated, thresholds as from ``fit_set_thresholds``, in the order of the classes.
    """
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


def predictive_values(point: OperatingPoint, prevalence: float) -> tuple[float | None, float | None]:
    """Returns PPV and NPV by Bayes' theorem; None where not estimable, or where no case would be on that side."""
    sensitivity, specificity = point.sensitivity.value, point.specificity.value
    if sensitivity is None or specificity is None:
        return None, None
    hits, cleared = sensitivity * prevalence, specificity * (1 - prevalence)
    flagged, passed = hits + (1 - specificity) * (1 - prevalence), cleared + (1 - sensitivity) * prevalence
    return hits / flagged if flagged > 0 else None, cleared / passed if passed > 0 else None
