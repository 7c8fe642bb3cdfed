"""The labelled training cases nearest to a scan in the features of the encoder."""

from typing import NamedTuple

import numpy as np

from sslmri.models.bank import BankCase, FeatureBank


class SimilarCase(NamedTuple):
    """The slice of a training group that is nearest to a scan, and the index of the scan's slice that it is near.

    The cosine distance between the two, 0 to 2, is that in the projected features.
    """

    case: BankCase
    distance: float
    nearest: int


def similar_cases(bank: FeatureBank, features: np.ndarray, disease: str, n_cases: int = 5) -> tuple[SimilarCase, ...]:
    """Returns the nearest labelled training cases of a disease, nearest first, one for each group.

    Of the features (S, D) of the scan's slices, the nearest slice counts.
    """
    rows = np.flatnonzero([case.disease == disease for case in bank.cases])
    if disease not in bank.close_match or not len(rows):
        return ()
    each = 1 - bank.features[rows] @ bank.project(features).T
    distances = each.min(axis=1)
    by_group: dict[str, SimilarCase] = {}
    for index in np.argsort(distances, kind="stable"):
        case, distance = bank.cases[rows[index]], float(distances[index])
        if case.group not in by_group:
            by_group[case.group] = SimilarCase(case, distance, int(each[index].argmin()))
        if len(by_group) == n_cases:
            break
    return tuple(by_group.values())
