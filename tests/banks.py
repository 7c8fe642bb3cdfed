"""Synthetic records and features, for tests of what is built on a feature bank."""

from pathlib import Path

import numpy as np

from sslmri.cohorts.manifest import Record
from sslmri.diseases import DISEASES
from sslmri.models.bank import EncoderFeatures
from tests.small_encoder import SMALL_ENCODER

FEATURE_DIM, TEXTURE_DIM = SMALL_ENCODER.feature_dim, SMALL_ENCODER.texture_dim


def record(disease: str, group: str, split: str = "train") -> Record:
    """Returns a record of a healthy slice of a disease, of the cohort named after it."""
    label = DISEASES[disease].classes[0]
    return Record(Path("x"), "x.png", f"cohort-{disease}", disease, label, group, None, split=split)


def seen(rng: np.random.Generator, *points: int, count: int) -> EncoderFeatures:
    """Returns what an encoder sees in ``count`` synthetic slices around each of these points."""
    found = np.concatenate([features(rng, point, count) for point in points])
    return EncoderFeatures(found[:, :TEXTURE_DIM], found)


def features(rng: np.random.Generator, point: int, count: int) -> np.ndarray:
    """Returns features around one of a few points, (count, FEATURE_DIM) float32."""
    middle = np.zeros(FEATURE_DIM)
    middle[point * 40 : point * 40 + 40] = 3
    return np.abs(middle + rng.normal(0, 0.5, (count, FEATURE_DIM))).astype(np.float32)
