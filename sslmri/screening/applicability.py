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
    scores = -bank.brain.scores(features)
    passes = scores <= -bank.brain.threshold
    reason = None
    if modality in NOT_MRI:
        passes = np.zeros_like(passes)
        reason = f"The file says that it is {NOT_MRI[modality]}, not MRI."
    elif not _most(passes):
        reason = "This does not look like an MRI of a brain."
    return Judgement(_most(passes), reason, passes, float(np.median(scores)), -bank.brain.threshold)


def judge(bank: FeatureBank, features: np.ndarray, disease: str) -> Judgement:
    """Returns whether a scan is of the kind that the head of a disease learned from, from features (S, 2048).

    A slice is, when its nearest training slices of that head are near enough, and not much further away than the
    nearest ones of other heads and of pictures that are no brain.
    """
    ground = bank.thresholds.get(disease)
    if ground is None:
        nothing = np.zeros(len(features), dtype=bool)
        return Judgement(False, "This head has no training slices to compare with.", nothing, np.inf, 0.0)
    own, margin = margins(bank, bank.project(features), disease)
    passes = (margin <= ground.kind) & (own <= ground.distance)
    # as one number: how far the worse of the two lies above its threshold
    excess = np.maximum(margin - ground.kind, own - ground.distance)
    reason = None
    if not _most(passes):
        few = "its slices are" if len(passes) == 1 else f"{int((~passes).sum())} of its {len(passes)} slices are"
        few = "it is" if len(passes) == 1 else few
        reason = (
            f"This head learned from {get_disease(disease).applies_to}; judged by the training slices nearest to it, "
            f"{few} not of that kind."
        )
    return Judgement(_most(passes), reason, passes, float(np.median(excess)), 0.0)


def margins(bank: FeatureBank, points: np.ndarray, disease: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns for points (S, d) the distance to the nearest own slices, and how much further these are than others."""
    is_own = bank.rows_of(disease)
    own = _near(points, bank.features[is_own])
    other = _near(points, np.concatenate([bank.features[~is_own], bank.others]))
    return own, own - other


def _near(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the mean cosine distance of each point (S, d) to its nearest of others (N, d); 2 where there are none."""
    count = min(NEIGHBOURS, len(others))
    if count == 0:
        return np.full(len(points), 2.0, dtype=np.float32)
    distances = 1 - points @ others.T
    return np.asarray(np.partition(distances, count - 1, axis=1)[:, :count].mean(axis=1))


def _most(passes: np.ndarray) -> bool:
    return bool(passes.mean() > 0.5)
