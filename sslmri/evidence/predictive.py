"""What a verdict is worth where a disease is as frequent as the reader says."""

from dataclasses import dataclass

from sslmri.models.metrics import Thresholds


@dataclass(frozen=True)
class PredictiveValues:
    """The fraction of right answers among the positive and among the negative ones.

    Attributes:
        positive: PPV, or None where nobody would be positive.
        negative: NPV, or None where nobody would be negative.
    """

    positive: float | None
    negative: float | None


def verdict_values(thresholds: Thresholds, prevalence: float, *, is_volume: bool) -> PredictiveValues | None:
    """Returns the PPV of *flagged* and the NPV of *not flagged* on unseen people, None where these are too few.

    Args:
        thresholds: measured on test groups.
        prevalence: fraction of people with any disease of the classifier, in [0, 1].
        is_volume: whether a person was screened, by the mean over slices; otherwise a single slice.
    """
    found = []
    for point in (thresholds.high, thresholds.low):
        rates = point.groups if is_volume else point.slices
        if rates.sensitivity.value is None or rates.specificity.value is None:
            return None
        found.append(predictive_values(rates.sensitivity.value, rates.specificity.value, prevalence))
    return PredictiveValues(found[0].positive, found[1].negative)


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> PredictiveValues:
    """Returns PPV and NPV by Bayes' theorem; all three fractions are in [0, 1]."""
    true_positive, false_negative = sensitivity * prevalence, (1 - sensitivity) * prevalence
    true_negative, false_positive = specificity * (1 - prevalence), (1 - specificity) * (1 - prevalence)
    return PredictiveValues(_fraction(true_positive, false_positive), _fraction(true_negative, false_negative))


def _fraction(right: float, wrong: float) -> float | None:
    return right / (right + wrong) if right + wrong > 0 else None
