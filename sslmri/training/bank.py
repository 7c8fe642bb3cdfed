"""Builds the feature bank of a model and fits on validation groups from where on a head does not apply."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.svm import SVC

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store
from sslmri.errors import ScanError, TrainingError
from sslmri.files import sha256_of
from sslmri.learning.bank import BankCase, BrainRule, FeatureBank, Ground, save_bank, unit
from sslmri.learning.cards import BANK_CARD, BANK_FILE, ENCODER_FILE, MODEL_FILE, write_model_file
from sslmri.learning.encoder import pool
from sslmri.learning.model import BATCH, Model
from sslmri.scans.scan import Scan
from sslmri.scans.slices import Preparation, to_slices
from sslmri.screening.applicability import margins
from sslmri.training.data import RunOptions, open_cohort, side
from sslmri.training.notbrain import make_pictures

MAX_CASES = 4000
_N_PICTURES = 2400  # made-up ones that are no brain MRI, at most; and at most as many as cases
_WIDTH = 64  # principal axes; with 128 and 256 the other cohorts' slices were told apart less well
_PICTURE_SHARE = 0.3  # of the pictures in the axes
_SHRINKAGE = 0.03  # of the covariance within cohorts towards an even one
_PER_COHORT = 400  # slices of a cohort that teach what a brain is
_SOFTNESS = 3.0  # inverse strength of the penalty of the brain rule
_EVENING = 0.1  # share of the mean spread added to the spread of each root feature before it divides
_REFUSED = 0.01  # share of validation slices that the brain rule refuses at most
_FAR = 1.6  # of the distance that 99 % of a head's validation slices keep: beyond it a slice is of no known kind
_STRAYED = 0.01  # share of a head's own validation slices whose kind is refused at most
_LET_IN = 0.02  # share of the other heads' validation slices let in where the own leave room
_CLOSE = 0.9  # share of validation slices that have a close match among training slices


def build_bank(options: RunOptions) -> None:
    """Builds the bank of the run's model, puts it beside the weights and writes ``model.json`` anew.

    Raises:
        SslmriError: the data or the model is at fault.
    """
    model = Model.load(options.run)
    _, store = open_cohort(options)
    labelled = store.select([row for row, record in enumerate(store.records) if record.disease])
    train = side(labelled, "train")
    train = train.select(spread_by_group(train.records, MAX_CASES))
    if not train.records:
        raise TrainingError("Expected training slices for the feature bank, got none: name the data of the training.")
    validation = side(labelled, "validation")
    pictures = prepared_pictures(train.slices, model.card.encoder.preparation, min(_N_PICTURES, len(train.records)))
    bank = fit_bank(
        features_of(model, train),
        train.records,
        features_of(model, validation),
        validation.records,
        features_of(model, Store(pictures, [], []), len(pictures)),
    )
    bank = replace(bank, encoder_sha256=sha256_of(options.run / ENCODER_FILE))
    (options.run / MODEL_FILE).unlink()  # from here to the end the folder is no model
    save_bank(options.run, bank)
    write_model_file(options.run, model.card.name, model.card.training, model.card.created)


def drop_bank(options: RunOptions) -> None:
    """Removes the bank of an earlier model of the run."""
    for name in (BANK_FILE, BANK_CARD):
        (options.run / name).unlink(missing_ok=True)


def spread_by_group(records: Sequence[Record], count: int) -> list[int]:
    """Returns rows of at most ``count`` records: the same share of each group as far as it has it, evenly in each."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, record in enumerate(records):
        groups[record.group_key].append(row)
    chosen: list[int] = []
    for n_left, own in zip(range(len(groups), 0, -1), sorted(groups.values(), key=len), strict=True):
        share = min(len(own), (count - len(chosen)) // n_left)
        chosen += [own[place] for place in np.linspace(0, len(own) - 1, share).round().astype(int)]
    return sorted(chosen)


def prepared_pictures(slices: np.ndarray, preparation: Preparation, count: int, seed: int = 0) -> np.ndarray:
    """Returns up to ``count`` made-up pictures that are no brain MRI, prepared as scans are: (M, H, W) uint8."""
    found = []
    for picture in make_pictures(count, slices, seed):
        try:
            found.append(to_slices(Scan(picture[None], None, None, None, "", "picture", ""), preparation)[0])
        except ScanError:  # a picture without a grey value inside its outline never reaches the encoder
            continue
    return np.stack(found)


def features_of(model: Model, store: Store, count: int | None = None) -> np.ndarray:
    """Returns the features of the store's slices: (N, 2048) float32."""
    rows = range(len(store.records) if count is None else count)
    batches = (store.batch(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH))
    found = [pool(model.feature_maps(batch)).numpy() for batch in batches]
    return np.concatenate(found) if found else np.zeros((0, model.card.encoder.feature_dim), np.float32)


def fit_bank(
    train: np.ndarray, cases: Sequence[Record], validation: np.ndarray, judged: Sequence[Record], pictures: np.ndarray
) -> FeatureBank:
    """Returns the bank of training features (N, 2048), with thresholds of validation features (V, 2048).

    Args:
        train: features of the cases.
        cases: N training records.
        validation: features of the judged.
        judged: V validation records.
        pictures: (M, 2048), features of what is no brain MRI.
    """
    center = train.mean(axis=0)
    cohorts = np.array([record.cohort for record in cases])
    components = whitened_axes(train - center, cohorts, pictures - center)
    bank = FeatureBank(
        center=center,
        components=components,
        features=unit((train - center) @ components),
        cases=tuple(_case(record) for record in cases),
        others=unit((pictures - center) @ components),
        brain=fit_brain_rule(train, cohorts, pictures, validation),
        thresholds={},
        encoder_sha256="",
    )
    points = bank.project(validation)
    grounds = {key: fit_ground(bank, points, judged, key) for key in sorted({str(record.disease) for record in cases})}
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


def fit_brain_rule(train: np.ndarray, cohorts: np.ndarray, pictures: np.ndarray, validation: np.ndarray) -> BrainRule:
    """Returns the rule that tells brain slices from pictures; its threshold is one that validation slices reach."""
    rows = [np.flatnonzero(cohorts == cohort) for cohort in np.unique(cohorts)]
    chosen = np.concatenate([own[:: -(-len(own) // _PER_COHORT)] for own in rows])
    roots = np.sqrt(np.maximum(np.concatenate([train[chosen], pictures]), 0))
    center, spread = roots.mean(axis=0), roots.std(axis=0)
    scale = spread + _EVENING * spread.mean()
    _, strengths, turn = np.linalg.svd((roots - center) / scale, full_matrices=False)
    strengths, turn = strengths[:_WIDTH] / np.sqrt(len(roots)), turn[:_WIDTH]
    axes = (turn / np.sqrt(np.maximum(strengths * strengths[0], 1e-12))[:, None]).T / scale[:, None]
    points = (roots - center) @ axes
    gamma = 0.5 / float(points.var() * points.shape[1])
    machine = SVC(C=_SOFTNESS, gamma=gamma, class_weight="balanced")
    machine.fit(points, np.arange(len(points)) < len(chosen))
    rule = BrainRule(
        center=center.astype(np.float32),
        axes=axes.astype(np.float32),
        vectors=machine.support_vectors_.astype(np.float32),
        weights=machine.dual_coef_[0].astype(np.float32),
        bias=float(machine.intercept_[0]),
        gamma=gamma,
        threshold=0.0,
    )
    if not len(validation):
        return rule
    return replace(rule, threshold=min(float(np.quantile(rule.scores(validation), _REFUSED)), 0.0))


def fit_ground(bank: FeatureBank, points: np.ndarray, judged: Sequence[Record], disease: str) -> Ground:
    """Returns from where on a slice is not of the head's kind, from validation points (V, d) of all heads.

    Without validation slices of its own a head applies to nothing but what is nearer to its slices than to others.
    """
    own, margin = margins(bank, points, disease)
    is_own = np.array([record.disease == disease for record in judged], dtype=bool)
    if not is_own.any():
        return Ground(0.0, 2.0, 0.0)
    strict = float(np.quantile(margin[is_own], 1 - _STRAYED))
    lenient = float(np.quantile(margin[~is_own], _LET_IN)) if not is_own.all() else strict
    nearest = (1 - points[is_own] @ bank.features[bank.rows_of(disease)].T).min(axis=1)
    return Ground(
        kind=max(strict, lenient),
        distance=_FAR * float(np.quantile(own[is_own], 0.99)),
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
