"""Whether a scan may be answered: is it brain MRI at all, and is it the kind of scan that a head learned from.

Both levels look at the encoder's features beside those of the feature bank. A softmax cannot tell a stranger; nearest
neighbours in feature space can (Sun et al. 2022, arXiv:2204.06507).
"""

from dataclasses import dataclass

import numpy as np

from sslmri.diseases import get_disease
from sslmri.learning.bank import FeatureBank

NEIGHBOURS = 8  # over whose distances a slice's distance is averaged
NOT_MRI = {
    "CT": "CT", "CR": "radiography", "DX": "radiography", "MG": "mammography", "US": "ultrasound",
    "NM": "nuclear medicine", "PT": "PET", "XA": "angiography", "RF": "fluoroscopy", "IO": "dental radiography",
    "PX": "dental radiography",
    "OP": "eye photography", "OPT": "eye tomography", "ES": "endoscopy", "SM": "microscopy", "GM": "microscopy",
    "XC": "photography", "IVUS": "ultrasound", "ECG": "electrocardiography", "SEG": "a segmentation",
}  # fmt: skip  # DICOM PS3.3 C.7.3.1.1.1


@dataclass(frozen=True)
class Judgement:
    """Whether a scan passed one level, with the numbers that decide it.

    Attributes:
        applies: whether more than half of the slices pass.
        reason: a plain sentence why not, or None.
        passes: by slice, bool (S,).
        distance: the median over slices of what is compared with the threshold; above it a slice does not pass.
        threshold: see there.
    """

    applies: bool
    reason: str | None
    passes: np.ndarray
    distance: float
    threshold: float


def judge_brain(bank: FeatureBank, features: np.ndarray, modality: str | None = None) -> Judgement:
    """Returns whether a scan is brain MRI at all, from the features (S, 2048) of its slices.

    Args:
        bank: of the model.
        features: of the scan's slices.
        modality: the DICOM modality where the file says one; anything else than MR is believed.
    """
    scores = -bank.brain.scores(bank.brain_space.project(features))
    passes = scores <= -bank.brain.threshold
    reason = None
    if modality in NOT_MRI:
        passes = np.zeros_like(passes)
        reason = f"The file says that it is {NOT_MRI[modality]}, not MRI."
    elif not _most(passes):
        reason = "This does not look like an MRI of a brain: no head was asked."
    return Judgement(_most(passes), reason, passes, float(np.median(scores)), -bank.brain.threshold)


def judge(bank: FeatureBank, features: np.ndarray, disease: str) -> Judgement:
    """Returns whether a scan is of the kind that the head of a disease learned from, from features (S, 2048).

    A slice is, when the machine that tells the head's training slices from others says so, and when the nearest of
    these slices are near enough.
    """
    ground = bank.thresholds.get(disease)
    if ground is None:
        nothing = np.zeros(len(features), dtype=bool)
        return Judgement(False, "This head has no training slices to compare with.", nothing, np.inf, 0.0)
    rule = bank.kinds[disease]
    missing = rule.threshold - rule.scores(bank.kind_space.project(features))
    excess = np.maximum(missing, own_distances(bank, bank.project(features), disease) - ground.distance)
    passes = excess <= 0
    reason = None
    if not _most(passes):
        few = f"{int((~passes).sum())} of its {len(passes)} slices are" if len(passes) > 1 else "it is"
        reason = (
            f"This head learned from {get_disease(disease).applies_to}; judged by its training slices, {few} not of "
            "that kind."
        )
    return Judgement(_most(passes), reason, passes, float(np.median(excess)), 0.0)


def own_distances(bank: FeatureBank, points: np.ndarray, disease: str) -> np.ndarray:
    """Returns for each of the points (S, d) its mean cosine distance to the nearest training slices of a disease."""
    own = bank.features[bank.rows_of(disease)]
    count = min(NEIGHBOURS, len(own))
    return np.asarray(np.partition(1 - points @ own.T, count - 1, axis=1)[:, :count].mean(axis=1))


def _most(passes: np.ndarray) -> bool:
    return bool(passes.mean() > 0.5)
