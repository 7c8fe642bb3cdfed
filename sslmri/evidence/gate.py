"""What the out-of-distribution gate rejects: slices in distribution, slices of other cohorts, and synthetic ones."""

import numpy as np

from sslmri.evidence.false_alarms import rate_of
from sslmri.models.metrics import GateRates, Rate

IN_DISTRIBUTION, SAME_DISEASE, SAME_SEQUENCES = "in distribution", "same disease", "same sequences"
UNRELATED, NOT_BRAIN = "unrelated", "not brain"


def rejection_rates(passes: np.ndarray, relations: np.ndarray, cohorts: np.ndarray, groups: np.ndarray) -> GateRates:
    """Returns which fraction of slices is rejected for one classifier.

    Cohorts of the same disease or the same sequences may rightly pass: ``unrelated`` leaves them out,
    ``other_cohorts`` has them.

    Args:
        passes: (N,) bool, whether the gate lets each slice pass.
        relations: (N,) what each slice's cohort is to the classifier.
        cohorts: (N,) names.
        groups: (N,) names.
    """

    def rejected(*kinds: str) -> Rate | None:
        chosen = np.isin(relations, kinds)
        return rate_of(~passes[chosen], cohorts[chosen], groups[chosen]) if chosen.any() else None

    return GateRates(
        in_distribution=rejected(IN_DISTRIBUTION),
        unrelated=rejected(UNRELATED),
        other_cohorts=rejected(SAME_DISEASE, SAME_SEQUENCES, UNRELATED),
        synthetic=rejected(NOT_BRAIN),
    )
