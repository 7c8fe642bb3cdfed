"""Fits the gate of a model to its training slices, and collects them in the feature bank."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.covariance import ShrunkCovariance
from sklearn.decomposition import PCA
from sklearn.svm import SVC

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store
from sslmri.errors import ScanError, TrainingError
from sslmri.gate.synthetic import synthetic_images
from sslmri.learning.encoder import pool, textures
from sslmri.learning.features import stream
from sslmri.learning.model import Model
from sslmri.models.bank import BankCase, EncoderFeatures, FeatureBank, PcaProjection, RbfSvm, unit
from sslmri.scans.scan import Scan, ScanInfo
from sslmri.scans.slices import Preparation, to_slices

MAX_CASES = 4000
_MAX_SYNTHETIC = 2400  # images that are not brain MRI, and at most as many as cases
_BANK_WIDTH = _BRAIN_WIDTH = 64  # principal axes; with 128 and 256 other cohorts were separated less well
_DOMAIN_WIDTH = 256  # from 128 to 512 validation groups show no difference
_SHRINKAGE = 0.03  # of the covariance within cohorts towards an isotropic one
_PENALTY = 3.0  # C of the support vector machines
_SMOOTHING = 0.1  # fraction of the mean standard deviation added to that of each feature before it divides
_WEAKEST = 1e-4  # of the standard deviation along the first axis: weaker axes hold rounding errors
_REJECTED, _ACCEPTED = 0.02, 0.05  # fractions of validation slices, in distribution and not, between which to cut
_CLOSE = 0.9  # fraction of validation slices that have a close match among training slices


def build_bank(model: Model, store: Store) -> FeatureBank:
    """Returns the feature bank of a model, from the labelled slices of a store whose records have their splits.

    Training slices are its cases, validation slices set its thresholds. What is brain MRI is also learned from whole
    heads as acquired, as which a scan is seen before its brain is aligned.

    Raises:
        TrainingError: the store has no labelled training slices.
    """
    train = store.labelled.where(split="train").evenly(MAX_CASES)
    validation = store.labelled.where(split="validation")
    if not train.records:
        raise TrainingError("Expected training slices for the feature bank, got none: name the data of the training.")
    n_synthetic = min(_MAX_SYNTHETIC, len(train.records))
    synthetic = prepared_images(train.slices, model.card.encoder.preparation, n_synthetic)
    seen, held_out, others = (encode(model, slices) for slices in (train, validation, synthetic))
    bank = fit_bank(seen, train.records, held_out, validation.records, others)
    heads = store.whole_heads
    if not heads.where(split="train").records:
        return bank
    parts = (heads.where(split="train").evenly(MAX_CASES), heads.where(split="validation"))
    as_acquired = [encode(model, part) for part in parts]
    brain, judged = (joined(pair).textures for pair in zip((seen, held_out), as_acquired, strict=True))
    projection, svm = fit_brain(brain, others.textures, judged)
    return replace(bank, brain_projection=projection, brain_svm=svm)


def prepared_images(slices: np.ndarray, preparation: Preparation, count: int, seed: int = 0) -> np.ndarray:
    """Returns up to ``count`` synthetic images that are not brain MRI, prepared as scans are: (M, H, W) uint8."""
    prepared = []
    for image in synthetic_images(count, slices, seed):
        try:
            prepared.append(to_slices(Scan(ScanInfo("image", "", "", 1), image[None]), preparation)[0])
        except ScanError:  # an image without contrast never reaches the encoder
            continue
    return np.stack(prepared)


def encode(model: Model, slices: Store | np.ndarray) -> EncoderFeatures:
    """Returns what the model's encoder sees in prepared slices (N, H, W) uint8; a store is read batch by batch."""
    lengths = model.encoder.architecture.texture_dim, model.encoder.architecture.feature_dim
    parts = [EncoderFeatures(*(np.zeros((0, length), np.float32) for length in lengths))]
    for maps in stream(model.encoder, model.encoder.maps, slices, model.card.encoder.preparation):
        parts.append(EncoderFeatures(textures(maps.early).numpy(), pool(maps.last).numpy()))
    return joined(parts)


def joined(parts: Sequence[EncoderFeatures]) -> EncoderFeatures:
    """Returns what an encoder sees in the slices of all parts, in their order."""
    return EncoderFeatures(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def fit_bank(
    train: EncoderFeatures,
    cases: Sequence[Record],
    validation: EncoderFeatures,
    validation_records: Sequence[Record],
    synthetic: EncoderFeatures,
) -> FeatureBank:
    """Returns the bank of N training slices, with thresholds of V validation slices."""
    center = train.features.mean(axis=0)
    components = whitened_axes(train.features - center, np.array([record.cohort for record in cases]))
    brain_projection, brain_svm = fit_brain(train.textures, synthetic.textures, validation.textures)
    domain_projection = fit_projection(train.features, _DOMAIN_WIDTH)
    points = domain_projection.project(np.concatenate([train.features, synthetic.features]))
    validation_points = domain_projection.project(validation.features)
    bank_points, neighbours = (unit((part.features - center) @ components) for part in (validation, train))
    svms, close_match = {}, {}
    for disease in sorted({str(record.disease) for record in cases}):
        is_case, is_validation = (
            np.array([record.disease == disease for record in records], dtype=bool)
            for records in (cases, validation_records)
        )
        svm = fit_svm(points, np.concatenate([is_case, np.zeros(len(synthetic.features), dtype=bool)]))
        scores = svm.scores(validation_points)
        svms[disease] = replace(svm, threshold=threshold_between(scores[is_validation], scores[~is_validation]))
        close_match[disease] = close_distance(bank_points[is_validation], neighbours[is_case])
    return FeatureBank(
        center=center,
        components=components,
        features=neighbours,
        cases=bank_cases(cases),
        brain_projection=brain_projection,
        brain_svm=brain_svm,
        domain_projection=domain_projection,
        domain_svms=svms,
        close_match=close_match,
    )


def extend_bank(model: Model, bank: FeatureBank, store: Store) -> FeatureBank:
    """Returns the bank of a model with the slices of one more disease, or others of one that it has.

    What it holds of the other diseases stays. Their features are not kept; the support vectors on their side stand for
    them where the new disease is separated from them. The store has the labelled slices of the disease, with their
    splits.
    """
    train, validation = store.where(split="train").evenly(MAX_CASES), store.where(split="validation")
    disease = str(train.records[0].disease)
    synthetic = prepared_images(train.slices, model.card.encoder.preparation, min(_MAX_SYNTHETIC, len(train.records)))
    inside, held_out, outside = (encode(model, slices).features for slices in (train, validation, synthetic))
    others = {key: svm for key, svm in bank.domain_svms.items() if key != disease}
    project = bank.domain_projection.project
    vectors = [svm.vectors[svm.weights > 0] for svm in others.values()]
    points = np.concatenate([project(inside), project(outside), *vectors])
    svm = fit_svm(points, np.arange(len(points)) < len(inside))
    svm = replace(svm, threshold=threshold_between(svm.scores(project(held_out)), np.zeros(0)))
    neighbours, kept = bank.project(inside), [case.disease != disease for case in bank.cases]
    return replace(
        bank,
        features=np.concatenate([bank.features[kept], neighbours]),
        cases=(*(case for case in bank.cases if case.disease != disease), *bank_cases(train.records)),
        domain_svms=others | {disease: svm},
        close_match={**bank.close_match, disease: close_distance(bank.project(held_out), neighbours)},
    )


def bank_cases(records: Sequence[Record]) -> tuple[BankCase, ...]:
    """Returns what a bank records of training slices."""
    return tuple(
        BankCase(str(r.disease), str(r.label), r.cohort, r.group_key, str(r.split), r.name, r.slice_number)
        for r in records
    )


def close_distance(validation: np.ndarray, training: np.ndarray) -> float:
    """Returns how far 90 % of validation points (V, d) have a training point (N, d) at most; 0 without any."""
    nearest = (1 - validation @ training.T).min(axis=1)
    return float(np.quantile(nearest, _CLOSE)) if len(nearest) else 0.0


def whitened_axes(centred: np.ndarray, cohorts: np.ndarray) -> np.ndarray:
    """Returns principal axes of features (N, F), rotated and scaled so that cohorts have equal variance: (F, d).

    Distances between such points are Mahalanobis distances under the covariance within cohorts.
    """
    axes = PCA(min(_BANK_WIDTH, *centred.shape), svd_solver="covariance_eigh").fit(centred).components_.T
    within = centred @ axes
    for cohort in np.unique(cohorts):
        within[cohorts == cohort] -= within[cohorts == cohort].mean(axis=0)
    covariance = ShrunkCovariance(shrinkage=_SHRINKAGE, assume_centered=True).fit(within).covariance_
    variances, rotation = np.linalg.eigh(covariance)
    return np.asarray(axes @ rotation / np.sqrt(np.maximum(variances, 1e-12)), dtype=np.float32)


def fit_brain(train: np.ndarray, synthetic: np.ndarray, validation: np.ndarray) -> tuple[PcaProjection, RbfSvm]:
    """Returns what separates brain slices from synthetic images, from the textures (., T) of both.

    At least 98 % of the validation slices reach its threshold.
    """
    both = np.concatenate([train, synthetic])
    projection = fit_projection(both, _BRAIN_WIDTH)
    svm = fit_svm(projection.project(both), np.arange(len(both)) < len(train))
    if not len(validation):
        return projection, svm
    lowest = float(np.quantile(svm.scores(projection.project(validation)), _REJECTED))
    return projection, replace(svm, threshold=min(lowest, 0.0))


def fit_projection(features: np.ndarray, width: int) -> PcaProjection:
    """Returns the principal axes of the square roots of features (N, F), each divided by its standard deviation.

    Standard deviations along the axes become their square roots, halfway between unchanged and whitened. There are
    ``width`` axes, fewer where the features have fewer.
    """
    roots = np.sqrt(np.maximum(features, 0))
    center, deviations = roots.mean(axis=0), roots.std(axis=0)
    scale = deviations + _SMOOTHING * deviations.mean()
    pca = PCA(min(width, *roots.shape), svd_solver="full").fit((roots - center) / scale)
    strengths = np.sqrt(pca.explained_variance_)
    is_kept = strengths > _WEAKEST * strengths[0]
    axes = (pca.components_ / np.sqrt(strengths * strengths[0])[:, None])[is_kept].T / scale[:, None]
    return PcaProjection(center.astype(np.float32), axes.astype(np.float32))


def fit_svm(points: np.ndarray, is_in: np.ndarray) -> RbfSvm:
    """Returns a support vector machine that separates points (N, q) by ``is_in`` (N,) bool; its threshold is 0."""
    gamma = 0.5 / float(points.var() * points.shape[1])
    svm = SVC(C=_PENALTY, gamma=gamma, class_weight="balanced").fit(points, is_in)
    return RbfSvm(
        vectors=svm.support_vectors_.astype(np.float32),
        weights=svm.dual_coef_[0].astype(np.float32),
        bias=float(svm.intercept_[0]),
        gamma=gamma,
        threshold=0.0,
    )


def threshold_between(inside: np.ndarray, outside: np.ndarray) -> float:
    """Returns the score halfway between rejecting 2 % of the scores inside and accepting 5 % of those outside.

    Without scores of one kind it is the bound of the other; without any it is 0, where the machine itself decides.
    """
    bounds = [float(np.quantile(inside, _REJECTED))] if len(inside) else []
    bounds += [float(np.quantile(outside, 1 - _ACCEPTED))] if len(outside) else []
    return float(np.mean(bounds)) if bounds else 0.0
