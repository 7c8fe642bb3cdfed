"""Disease or none where the source cannot tell: slices of the same patients and scanners, with and without a lesion."""

import numpy as np
from sklearn.metrics import roc_auc_score

from sslmri.evidence.intervals import estimate, rate_of, shortage
from sslmri.evidence.ranking import aurocs
from sslmri.evidence.sample import Sample, draw_weights
from sslmri.models.metrics import Estimate


def same_source_aurocs(score: np.ndarray, has_lesion: np.ndarray, groups: np.ndarray) -> tuple[Estimate, Estimate, int]:
    """Returns the AUROC over all slices, its mean within the groups that have both kinds, and how many of these.

    Intervals are from a bootstrap over groups.

    Args:
        score: (N,) probability of any disease.
        has_lesion: (N,) bool.
        groups: (N,) names.
    """
    names, member = np.unique(groups, return_inverse=True)
    weights = draw_weights(np.zeros(len(names)))
    kinds, kind = np.unique(2 * member + has_lesion, return_inverse=True)  # the slices of a group without, then with
    order, owner = np.argsort(kind, kind="stable"), kinds // 2
    sample = Sample(score[order, None], np.bincount(kind), kinds % 2, weights[:, owner], order)
    overall = aurocs(sample, sample.labels == 1, score[order])
    both = owner[1:][owner[1:] == owner[:-1]]
    areas = np.array([roc_auc_score(has_lesion[member == group], score[member == group]) for group in both])
    within = rate_of(areas, names[both])
    return estimate(overall, shortage(len(names))), within.rate, within.n_groups


def same_source_message(auroc: Estimate, within: Estimate) -> str:
    """Returns what the two values say of the classifier, in a sentence."""
    text = f"On slices of the same patients and scanners, AUROC of any tumour: {auroc}; within a patient: {within}"
    if auroc.low is None:
        return f"{text}."
    return f"{text}: {'better' if auroc.low > 0.5 else 'no better'} than chance."
