"""Whether a scan may be answered: is it brain MRI at all, and is it the kind of scan that a head learned from.

Both levels compare with what the encoder saw in the slices of the feature bank. A softmax cannot tell a stranger;
nearest neighbours in feature space can (Sun et al. 2022, arXiv:2204.06507). What a picture is made of is told better by
statistics of an early stage than by late features, which learned to overlook it (Sastry and Oore 2020,
arXiv:1912.12510).
"""

from dataclasses import dataclass

import numpy as np

from sslmri.diseases import get_disease
from sslmri.models.bank import FeatureBank

NEIGHBOURS = 8  # over whose distances a slice's distance is averaged


@dataclass(frozen=True)
class GateDecision:
    """Whether a scan passed one level: where more than half of its slices do.

    Attributes:
        reason: a plain sentence why not, or None.
        passes: by slice, bool (S,).
    """

    reason: str | None
    passes: np.ndarray


def is_brain_mri(bank: FeatureBank, textures: np.ndarray) -> GateDecision:
    """Returns whether a scan is brain MRI at all, from the textures (S, 1024) of its slices.

    What a DICOM file says it is instead was refused when it was read.
    """
    passes = bank.brain.scores(bank.brain_space.project(textures)) >= bank.brain.threshold
    return GateDecision(
        None if _most(passes) else "This does not look like an MRI of a brain: no head was asked.", passes
    )


def judge(bank: FeatureBank, features: np.ndarray, disease: str) -> GateDecision:
    """Returns whether a scan is of the kind that the head of a disease learned from, from features (S, 2048).

    A slice is, when the machine that tells the head's training slices from others says so, and when the nearest of
    these slices are near enough.
    """
    ground = bank.thresholds.get(disease)
    if ground is None:
        return GateDecision("This head has no training slices to compare with.", np.zeros(len(features), dtype=bool))
    rule = bank.kinds[disease]
    is_kind = rule.scores(bank.kind_space.project(features)) >= rule.threshold
    passes = is_kind & (mean_neighbour_distances(bank, bank.project(features), disease) <= ground.distance)
    if _most(passes):
        return GateDecision(None, passes)
    few = f"{int((~passes).sum())} of its {len(passes)} slices are" if len(passes) > 1 else "it is"
    learned = f"This head learned from {get_disease(disease).sequences}"
    return GateDecision(f"{learned}; judged by its training slices, {few} not of that kind.", passes)


def mean_neighbour_distances(bank: FeatureBank, points: np.ndarray, disease: str) -> np.ndarray:
    """Returns for each of the points (S, d) its mean cosine distance to the nearest training slices of a disease."""
    own = bank.features[bank.rows_of(disease)]
    count = min(NEIGHBOURS, len(own))
    return np.asarray(np.partition(1 - points @ own.T, count - 1, axis=1)[:, :count].mean(axis=1))


def _most(passes: np.ndarray) -> bool:
    return bool(passes.mean() > 0.5)
