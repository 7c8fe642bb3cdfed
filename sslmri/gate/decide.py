"""Whether a scan may be classified: is it brain MRI at all, and does it resemble what a classifier was trained on.

A softmax cannot tell; the features of the encoder can (Sun et al. 2022, arXiv:2204.06507). For brain MRI or not,
statistics of an early stage work better than late features, which are trained to ignore it (Sastry and Oore 2020,
arXiv:1912.12510).
"""

from dataclasses import dataclass

import numpy as np

from sslmri.diseases import get_disease
from sslmri.models.bank import FeatureBank


@dataclass(frozen=True)
class GateDecision:
    """Whether a scan passes: more than half of its slices, bool (S,), do. If not, a plain sentence says why."""

    reason: str | None
    passes: np.ndarray


def decide_brain_mri(bank: FeatureBank, textures: np.ndarray) -> GateDecision:
    """Returns whether a scan is brain MRI at all, from the textures (S, T) of its slices.

    A DICOM file that says it is something else was refused when it was read.
    """
    passes = bank.brain_svm.passes(bank.brain_projection.project(textures))
    return GateDecision(None if _most(passes) else "Not recognised as brain MRI. No classifier was run.", passes)


def decide_in_distribution(bank: FeatureBank, features: np.ndarray, disease: str) -> GateDecision:
    """Returns whether a scan resembles the training slices of a disease's classifier, from features (S, F)."""
    svm = bank.domain_svms.get(disease)
    if svm is None:
        reason = "No training slices of this disease to compare with."
        return GateDecision(reason, np.zeros(len(features), dtype=bool))
    passes = svm.passes(bank.domain_projection.project(features))
    if _most(passes):
        return GateDecision(None, passes)
    return GateDecision(f"Trained on {get_disease(disease).sequences}. {_count(passes)}", passes)


def _count(passes: np.ndarray) -> str:
    if len(passes) == 1:
        return "This image does not resemble those."
    if not passes.any():
        return f"None of the {len(passes)} slices of this scan resembles those."
    return f"{int((~passes).sum())} of the {len(passes)} slices of this scan do not resemble those."


def _most(passes: np.ndarray) -> bool:
    return bool(passes.mean() > 0.5)
