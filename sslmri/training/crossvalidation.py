"""Five-fold cross-validation by group: linear probes on the run's encoder as it is, with baselines in the same folds.

For each fold in turn a probe of each disease is trained on the other folds but one, which chooses when to stop and the
calibration temperature; metrics are pooled over the test folds. The encoder is not trained again: which folds it has
seen before, and whether with labels, is reported with every result.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Generator, Tensor

from sslmri.cohorts.protocols import AS_PUBLISHED, GROUP_DISJOINT
from sslmri.cohorts.splits import group_folds
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES, Disease, class_title
from sslmri.errors import ModelError, TrainingError
from sslmri.evidence.baselines import BASELINES, baseline_probabilities
from sslmri.evidence.calibration import fit_temperature
from sslmri.evidence.evaluate import evaluate_disease
from sslmri.evidence.predictions import predictions_frame
from sslmri.evidence.sample import draw_sample
from sslmri.evidence.subsets import baseline_metrics
from sslmri.files import sha256_of
from sslmri.learning.encoder import Encoder, pick_device
from sslmri.learning.features import extract_features
from sslmri.learning.labels import balanced_epoch, mask_absent_classes
from sslmri.learning.linear_probe import fit_heads
from sslmri.learning.model import Head, Model, calibrated, load_encoder
from sslmri.learning.settings import FinetuneSettings
from sslmri.models.cards import recorded
from sslmri.models.evidence import CrossvalidatedMetrics, CrossValidation, FoldMetrics, write_evidence
from sslmri.models.folder import evidence_folder
from sslmri.models.history import created_now
from sslmri.training.data import check_protocol, open_cohort
from sslmri.training.options import RunOptions
from sslmri.training.training_overlap import TrainingOverlap, find_training_overlap, fold_summary

_MIN_FOLDS = 3  # one to test, one to validate, one to train
_SEED = 0


@dataclass(frozen=True)
class _Experiment:
    """What all folds have in common: labelled slices, their features (N, 2048), their folds and diseases (N,)."""

    store: Store
    features: Tensor
    folds: np.ndarray
    diseases: np.ndarray

    def rows(self, folds: Sequence[int], disease: str | None = None) -> list[int]:
        """Returns the rows of the slices in these folds, of one disease where it is given."""
        kept = np.isin(self.folds, folds) & ((disease is None) | (self.diseases == disease))
        rows: list[int] = np.flatnonzero(kept).tolist()
        return rows

    def slices(self, folds: Sequence[int], disease: str | None = None) -> Store:
        """Returns these slices."""
        return self.store.select(self.rows(folds, disease))


@dataclass(frozen=True)
class _Tested:
    """One disease in one test fold.

    Attributes:
        fold: the test fold.
        probabilities: (M, C) of its slices.
        baselines: (M, C) of each baseline.
    """

    fold: int
    probabilities: np.ndarray
    baselines: dict[str, np.ndarray]


def run_crossvalidation(options: RunOptions) -> CrossValidation:
    """Cross-validates probes on the run's encoder and writes ``evidence/crossvalidation.json``.

    The encoder is the pre-trained one where the run still holds it, otherwise that of the model. Features are
    extracted once. Where the manifest has no folds five are assigned from the split seed.

    Raises:
        SslmriError: the data or the run is at fault, or there are too few groups.
    """
    if options.protocol != GROUP_DISJOINT:
        raise TrainingError(
            f"Expected folds by group, got the protocol {AS_PUBLISHED}: leave --protocol or --cross-validate out."
        )
    _, store = open_cohort(options, is_measured=True)
    exposure = find_training_overlap(options.run, store.records)
    check_protocol(f"an encoder in {options.run} that was trained", exposure.training.protocol, options.protocol)
    experiment = _open_experiment(store, _encoder(exposure, options), options)
    names = sorted(set(experiment.folds.tolist()))
    folds = tuple(fold_summary(fold, experiment.slices([fold]).records, exposure) for fold in names)
    diseases, notes = _diseases(experiment, names, is_seen=any(fold.n_seen != 0 for fold in folds))
    evidence = CrossValidation(
        protocol=options.protocol,
        created=created_now(),
        encoder_sha256=sha256_of(exposure.path),
        encoder=exposure.says,
        preparation=recorded(options.preparation),
        folds=folds,
        notes=tuple(notes),
        diseases=diseases,
    )
    write_evidence(evidence_folder(options.run), evidence)
    return evidence


def _open_experiment(store: Store, encoder: Encoder, options: RunOptions) -> _Experiment:
    """Returns the labelled slices with their features and folds.

    Raises:
        TrainingError: the groups are in too few folds.
    """
    labelled = store.labelled
    by_group = group_folds(labelled.records, options.split_seed)
    n_folds = len(set(by_group.values()))
    if n_folds < _MIN_FOLDS:
        raise TrainingError(
            f"Expected labelled groups in {_MIN_FOLDS} folds or more, got groups in {n_folds} ({len(by_group)} in "
            "all): collect more groups, or give them folds."
        )
    return _Experiment(
        labelled,
        extract_features(encoder.to(pick_device("auto")), labelled, options.preparation),
        folds=np.array([by_group[record.group_key] for record in labelled.records]),
        diseases=np.array([record.disease for record in labelled.records]),
    )


def _encoder(exposure: TrainingOverlap, options: RunOptions) -> Encoder:
    """Returns the pre-trained encoder, or the model's."""
    if not exposure.has_labels:
        return load_encoder(exposure.path)
    if exposure.card.preparation != options.preparation:
        raise ModelError(f"Expected the preparation of the model, {exposure.card.preparation}: give its flags.")
    return Model.load(options.run).encoder


def _diseases(
    experiment: _Experiment, names: list[int], is_seen: bool
) -> tuple[dict[str, CrossvalidatedMetrics], list[str]]:
    """Returns the results by disease, and a sentence on all that cannot be measured."""
    present = [key for key in DISEASES if experiment.rows(names, key)]
    n_folds = {key: len(np.unique(experiment.folds[experiment.rows(names, key)])) for key in present}
    notes = [
        f"{DISEASES[key].title}: not measured, its groups are in {n_folds[key]} of the folds, {_MIN_FOLDS} are needed."
        for key in present
        if n_folds[key] < _MIN_FOLDS
    ]
    tested: dict[str, list[_Tested]] = {key: [] for key in present if n_folds[key] >= _MIN_FOLDS}
    for number, fold in enumerate(names):
        after = names[(number + 1) % len(names)]
        trained = [name for name in names if name not in (fold, after)]
        able = []
        for key in tested:
            faults = _faults(experiment, key, fold, after, trained)
            notes += [f"{DISEASES[key].title}, fold {fold}: {fault}." for fault in faults]
            if _can_be_tested(experiment, key, fold, trained):
                able.append(key)
        for key, predictions in _test_fold(experiment, able, fold, after, trained).items():
            tested[key].append(predictions)
    results = {key: _pooled(experiment, key, folds, is_seen) for key, folds in tested.items() if folds}
    if not results:
        raise TrainingError(f"Expected a disease that can be trained and tested in folds, got none. {' '.join(notes)}")
    return results, notes


def _can_be_tested(experiment: _Experiment, key: str, fold: int, trained: list[int]) -> bool:
    return bool(experiment.rows([fold], key)) and len(_labels(experiment.slices(trained, key))) > 1


def _faults(experiment: _Experiment, key: str, fold: int, after: int, trained: list[int]) -> list[str]:
    """Returns what one disease lacks in a fold, each as a part of a sentence."""
    test, validation, train = (_labels(experiment.slices(own, key)) for own in ([fold], [after], trained))
    if not test:
        return ["not measured, it holds no slices of this disease"]
    if len(train) < 2:
        return [f"not measured, the folds that would train it show {_listed(train)} only"]
    faults = [
        f"{what} without {_listed(lacking)}"
        for what, have in (("tested", test), ("trained", train))
        if (lacking := [label for label in DISEASES[key].classes if label not in have])
    ]
    if len(validation) < 2:
        shown = _listed(validation) or "no class"
        faults.append(f"fold {after}, which validates it, shows {shown} only: no early stop, not calibrated")
    return faults


def _labels(store: Store) -> list[str]:
    return sorted({str(record.label) for record in store.records})


def _listed(labels: list[str]) -> str:
    return ", ".join(map(class_title, labels))


def _test_fold(
    experiment: _Experiment, diseases: list[str], fold: int, after: int, trained: list[int]
) -> dict[str, _Tested]:
    """Returns what probes and baselines, trained on other folds, predict for the test fold, by disease."""
    if not diseases:
        return {}
    train, validation = experiment.slices(trained), experiment.slices([after])
    drawn = balanced_epoch(train, FinetuneSettings().labels_per_class, Generator().manual_seed(_SEED))
    features = experiment.features[experiment.rows(trained)][drawn]
    held_out = experiment.features[experiment.rows([after])]
    heads = mask_absent_classes(fit_heads(diseases, features, train.select(drawn), held_out, validation), train)
    tested = {}
    for key in diseases:
        learned, rows = experiment.slices(trained, key), experiment.rows([fold], key)
        truth = learned.truth
        temperature = _temperature(experiment, key, heads[key], after, np.unique(truth))
        logits = heads[key].logits(experiment.features[rows]).numpy().astype(np.float64)
        slices = experiment.store.select(rows).slices
        baselines = baseline_probabilities(learned.slices, truth, slices, len(DISEASES[key].classes))
        tested[key] = _Tested(fold, calibrated(logits, temperature), baselines)
    return tested


def _temperature(experiment: _Experiment, key: str, head: Head, after: int, trained: np.ndarray) -> float:
    """Returns the calibration temperature from the validation slices of the classes (K,) that were trained."""
    rows = experiment.rows([after], key)
    truth = experiment.store.select(rows).truth
    kept = np.isin(truth, trained)
    logits = head.logits(experiment.features[rows]).numpy().astype(np.float64)
    return fit_temperature(logits[kept], truth[kept])


def _pooled(experiment: _Experiment, key: str, tested: list[_Tested], is_seen: bool) -> CrossvalidatedMetrics:
    """Returns the metrics over all test folds, and those of each fold."""
    disease = DISEASES[key]
    slices = experiment.store.select([row for part in tested for row in experiment.rows([part.fold], key)])
    frame = predictions_frame(slices.records, np.concatenate([part.probabilities for part in tested]), disease)
    baselines = {name: np.concatenate([part.baselines[name] for part in tested]) for name in BASELINES}
    result = evaluate_disease(disease, frame, baselines, is_shared=is_seen)
    folds = tuple(_fold_metrics(disease, experiment.slices([part.fold], key), part) for part in tested)
    return CrossvalidatedMetrics(result, folds)


def _fold_metrics(disease: Disease, slices: Store, tested: _Tested) -> FoldMetrics:
    """Returns the metrics of one fold without intervals."""
    sample = draw_sample(slices.truth, tested.probabilities, slices.groups, n_resamples=0)
    raw = baseline_metrics(disease, sample)
    return FoldMetrics(
        fold=tested.fold,
        n_groups=len(sample.labels),
        n_slices=len(slices.records),
        accuracy=raw.accuracy,
        balanced_accuracy=raw.balanced_accuracy,
        auroc=raw.auroc,
        group_auroc=raw.group_auroc,
    )
