"""Disease or none where the source cannot tell: slices of the same patients and scanners, with and without a lesion."""

import numpy as np

from sslmri.evidence.intervals import estimate, shortage
from sslmri.evidence.sample import draw_weights, ratio
from sslmri.models.history import created_now
from sslmri.models.metrics import Estimate, SameSource


def same_source_aurocs(score: np.ndarray, has_lesion: np.ndarray, groups: np.ndarray) -> tuple[Estimate, Estimate, int]:
    """Returns the AUROC over all slices, its mean within the groups that have both kinds, and how many of these.

    Intervals are from a bootstrap over groups.

    Args:
        score: (N,) probability of any disease.
        has_lesion: (N,) bool.
        groups: (N,) names.
    """
    names, member = np.unique(groups, return_inverse=True)
    n_with, n_without = (np.bincount(member[kept], minlength=len(names)) for kept in (has_lesion, ~has_lesion))
    wins = _wins(score, has_lesion, member, len(names))
    weights = draw_weights(np.zeros(len(names)))
    overall = np.einsum("bn,bn->b", weights @ wins, weights)
    both = (n_with > 0) & (n_without > 0)
    within = np.diag(wins)[both] / (n_with * n_without)[both]
    n_both = int(both.sum())
    return (
        estimate(ratio(overall, (weights @ n_with) * (weights @ n_without), np.nan), shortage(len(names))),
        estimate(ratio(weights[:, both] @ within, weights[:, both].sum(axis=1), np.nan), shortage(n_both)),
        n_both,
    )


def same_source(disease: str, cohort: str, score: np.ndarray, has_lesion: np.ndarray, groups: np.ndarray) -> SameSource:
    """Returns disease or none on N slices of one cohort, with its message.

    Args:
        disease: key.
        cohort: where the slices come from.
        score: (N,) probability of any disease.
        has_lesion: (N,) bool.
        groups: (N,) names.
    """
    auroc, within, n_both = same_source_aurocs(score, has_lesion, groups)
    return SameSource(
        disease=disease,
        created=created_now(),
        data=f"{cohort}, T1 with contrast: slices with a tumour against slices without, of the same patients",
        n_with=int(has_lesion.sum()),
        n_without=int((~has_lesion).sum()),
        n_groups=len(set(groups.tolist())),
        n_groups_with_both=n_both,
        auroc=auroc,
        auroc_within_group=within,
        message=same_source_message(auroc, within),
    )


def same_source_message(auroc: Estimate, within: Estimate) -> str:
    """Returns what the two values say of the classifier, in a sentence."""
    text = f"On slices of the same patients and scanners, AUROC of any tumour: {auroc}; within a patient: {within}"
    if auroc.low is None:
        return f"{text}."
    return f"{text}: {'better' if auroc.low > 0.5 else 'no better'} than chance."


def _wins(score: np.ndarray, has_lesion: np.ndarray, member: np.ndarray, n_groups: int) -> np.ndarray:
    """Returns how many pairs of slices are in order, ties half, by the groups with and without: (G, G)."""
    wins = np.zeros((n_groups, n_groups))
    without, owner = score[~has_lesion], member[~has_lesion]
    for group in range(n_groups):
        lesions = np.sort(score[has_lesion & (member == group)])
        below = (np.searchsorted(lesions, without, "left") + np.searchsorted(lesions, without, "right")) / 2
        wins[group] = np.bincount(owner, weights=len(lesions) - below, minlength=n_groups)
    return wins
