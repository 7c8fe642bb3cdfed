"""Predictive values of a verdict at a given prevalence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PredictiveValues:
    """The fraction of correct results among the positive and among the negative ones.

    Attributes:
        positive: PPV, or None where no case would be positive.
        negative: NPV, or None where no case would be negative.
    """

    positive: float | None
    negative: float | None


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> PredictiveValues:
    """Returns PPV and NPV by Bayes' theorem; all three fractions are in [0, 1]."""
    true_positive, false_negative = sensitivity * prevalence, (1 - sensitivity) * prevalence
    true_negative, false_positive = specificity * (1 - prevalence), (1 - specificity) * (1 - prevalence)
    return PredictiveValues(_fraction(true_positive, false_positive), _fraction(true_negative, false_negative))


def _fraction(right: float, wrong: float) -> float | None:
    return right / (right + wrong) if right + wrong > 0 else None
