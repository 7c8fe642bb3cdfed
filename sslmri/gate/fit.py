"""Builds the feature bank of a model and fits on validation groups from where on a head does not apply."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store
from sslmri.errors import ScanError, TrainingError
from sslmri.gate.decide import mean_neighbour_distances
from sslmri.gate.fit_rules import fit_rule, halfway, root_space
from sslmri.gate.synthetic_ood import make_pictures
from sslmri.learning.encoder import pool, textures
from sslmri.learning.model import BATCH, Model
from sslmri.models.bank import BankCase, DistanceThreshold, EncoderFeatures, FeatureBank, unit
from sslmri.models.gate_rules import PcaProjection, RbfSvm
from sslmri.scans.scan import Scan
from sslmri.scans.slices import Preparation, to_slices

MAX_CASES = 4000
_N_PICTURES = 2400  # made-up ones that are no brain MRI, at most; and at most as many as cases
_WIDTH = 64  # principal axes; with 128 and 256 the other cohorts' slices were told apart less well
_PICTURE_SHARE = 0.3  # of the pictures in the axes
_SHRINKAGE = 0.03  # of the covariance within cohorts towards an even one
_KIND_WIDTH = 256  # from 128 to 512 validation groups show no difference
_REFUSED = 0.01  # share of validation slices that the brain rule refuses at most
_FAR = 2.0  # of the distance that 99 % of a head's validation slices keep: beyond it a slice is of no known kind
_CLOSE = 0.9  # share of validation slices that have a close match among training slices


def build_bank(model: Model, store: Store) -> FeatureBank:
    """Returns the feature bank of a model, from the labelled slices of a store whose records have their splits.

    Training slices are its cases, validation slices set its thresholds.

    Raises:
        TrainingError: the store has no labelled training slices.
    """
    train = store.labelled.where(split="train").evenly(MAX_CASES)
    validation = store.labelled.where(split="validation")
    if not train.records:
        raise TrainingError("Expected training slices for the feature bank, got none: name the data of the training.")
    pictures = prepared_pictures(train.slices, model.card.encoder.preparation, min(_N_PICTURES, len(train.records)))
    return fit_bank(
        encode(model, train.slices),
        train.records,
        encode(model, validation.slices),
        validation.records,
        encode(model, pictures),
    )


def prepared_pictures(slices: np.ndarray, preparation: Preparation, count: int, seed: int = 0) -> np.ndarray:
    """Returns up to ``count`` made-up pictures that are no brain MRI, prepared as scans are: (M, H, W) uint8."""
    found = []
    for picture in make_pictures(count, slices, seed):
        try:
            found.append(to_slices(Scan(picture[None], None, None, None, "", "picture", ""), preparation)[0])
        except ScanError:  # a picture without a grey value inside its outline never reaches the encoder
            continue
    return np.stack(found)


def encode(model: Model, slices: np.ndarray) -> EncoderFeatures:
    """Returns what the model's encoder sees in prepared slices (N, H, W) uint8."""
    lengths = model.encoder.architecture.texture_dim, model.encoder.architecture.feature_dim
    found = [EncoderFeatures(*(np.zeros((0, length), np.float32) for length in lengths))]
    for start in range(0, len(slices), BATCH):
        maps = model.maps(slices[start : start + BATCH])
        found.append(EncoderFeatures(textures(maps.early).numpy(), pool(maps.last).numpy()))
    return joined(found)


def joined(parts: Sequence[EncoderFeatures]) -> EncoderFeatures:
    """Returns what an encoder saw in the slices of all parts, in their order."""
    return EncoderFeatures(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def fit_bank(
    train: EncoderFeatures,
    cases: Sequence[Record],
    validation: EncoderFeatures,
    judged: Sequence[Record],
    pictures: EncoderFeatures,
) -> FeatureBank:
    """Returns the bank of training slices, with thresholds of validation slices.

    Args:
        train: what the encoder sees in the cases.
        cases: N training records.
        validation: what it sees in the judged.
        judged: V validation records.
        pictures: what it sees in M pictures that are no brain MRI.
    """
    features, center = train.features, train.features.mean(axis=0)
    cohorts = np.array([record.cohort for record in cases])
    components = whitened_axes(features - center, cohorts, pictures.features - center)
    brain_space, brain = fit_brain(train.textures, pictures.textures, validation.textures)
    kind_space = root_space(features, _KIND_WIDTH)
    bank = FeatureBank(
        center=center,
        components=components,
        features=unit((features - center) @ components),
        cases=tuple(_case(record) for record in cases),
        brain_space=brain_space,
        brain=brain,
        kind_space=kind_space,
        kinds=fit_kinds(kind_space, features, cases, validation.features, judged, pictures.features),
        thresholds={},
    )
    points = bank.project(validation.features)
    grounds = {
        key: fit_distance_threshold(bank, points, judged, key)
        for key in sorted({str(record.disease) for record in cases})
    }
    return replace(bank, thresholds=grounds)


def whitened_axes(centred: np.ndarray, cohorts: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Returns principal axes of features (N, 2048), turned and scaled so that cohorts spread alike: (2048, d).

    The axes are those of brain slices and pictures (M, 2048) together, so that both have room.

    Distances between such points are Mahalanobis distances under the covariance that cohorts have in common.
    """
    scatter = centred.T @ centred / len(centred) + _PICTURE_SHARE * pictures.T @ pictures / max(len(pictures), 1)
    axes = np.linalg.eigh(scatter)[1][:, ::-1][:, :_WIDTH]
    points = centred @ axes
    within = points.copy()
    for cohort in np.unique(cohorts):
        within[cohorts == cohort] -= points[cohorts == cohort].mean(axis=0)
    covariance = within.T @ within / len(within)
    width = len(covariance)
    even = np.trace(covariance) / width * np.eye(width)
    scales, turn = np.linalg.eigh((1 - _SHRINKAGE) * covariance + _SHRINKAGE * even)
    return np.asarray(axes @ turn / np.sqrt(np.maximum(scales, 1e-12)), dtype=np.float32)


def fit_brain(train: np.ndarray, pictures: np.ndarray, validation: np.ndarray) -> tuple[PcaProjection, RbfSvm]:
    """Returns what tells brain slices from pictures, from the textures (., 1024) of both.

    All but 1 % of the validation slices reach its threshold.
    """
    taught = np.concatenate([train, pictures])
    space = root_space(taught, _WIDTH)
    rule = fit_rule(space.project(taught), np.arange(len(taught)) < len(train))
    if not len(validation):
        return space, rule
    lowest = float(np.quantile(rule.scores(space.project(validation)), _REFUSED))
    return space, replace(rule, threshold=min(lowest, 0.0))


def fit_kinds(
    space: PcaProjection,
    train: np.ndarray,
    cases: Sequence[Record],
    validation: np.ndarray,
    judged: Sequence[Record],
    pictures: np.ndarray,
) -> dict[str, RbfSvm]:
    """Returns for each disease what tells its slices from others and from pictures, arguments as for ``fit_bank``."""
    points = space.project(np.concatenate([train, pictures]))
    unseen = space.project(validation)
    rules = {}
    for disease in sorted({str(record.disease) for record in cases}):
        rule = fit_rule(points, np.array([record.disease == disease for record in cases] + [False] * len(pictures)))
        is_own = np.array([record.disease == disease for record in judged], dtype=bool)
        scores = rule.scores(unseen)
        rules[disease] = replace(rule, threshold=halfway(scores[is_own], scores[~is_own]))
    return rules


def fit_distance_threshold(
    bank: FeatureBank, points: np.ndarray, judged: Sequence[Record], disease: str
) -> DistanceThreshold:
    """Returns how far from the head's slices a slice may lie, from validation points (V, d) of all heads.

    Without validation slices of its own nothing is too far, and nothing is close.
    """
    points = points[np.array([record.disease == disease for record in judged], dtype=bool)]
    if not len(points):
        return DistanceThreshold(2.0, 0.0)
    nearest = (1 - points @ bank.features[bank.rows_of(disease)].T).min(axis=1)
    return DistanceThreshold(
        distance=_FAR * float(np.quantile(mean_neighbour_distances(bank, points, disease), 0.99)),
        similar=float(np.quantile(nearest, _CLOSE)),
    )


def _case(record: Record) -> BankCase:
    return BankCase(
        str(record.disease),
        str(record.label),
        record.cohort,
        record.group_key,
        str(record.split),
        record.name,
        record.slice_number,
    )
