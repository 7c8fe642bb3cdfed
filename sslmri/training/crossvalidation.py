"""Cross-validation of the whole recipe, and the final model: trained the same way on everything.

For each fold a model is trained without it, for a fixed number of epochs and without early stopping, and predicts its
slices. The final model learns from all groups; its calibration, thresholds and results come from these out-of-fold
predictions.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sslmri.cohorts.splits import leave_out
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES, class_title
from sslmri.errors import TrainingError
from sslmri.files import write_json
from sslmri.learning.model import Model
from sslmri.learning.precision import with_precision
from sslmri.learning.settings import FinetuneSettings, PretrainSettings
from sslmri.models.cards import recorded
from sslmri.models.folder import ENCODER_CARD
from sslmri.training.data import (
    open_folds,
    read_arrays,
    require_empty_run,
    require_group_disjoint,
    write_arrays,
)
from sslmri.training.fit import OutOfSample, Pretrained, fit_model, load_pretrained, predict
from sslmri.training.measure import Results, answer_folds, measure
from sslmri.training.options import RunOptions
from sslmri.training.start import adopt
from sslmri.training.steps import run_all, run_pretrain

START, FOLDS, PREDICTIONS = "start", "folds", "out_of_fold.npz"
_SETTINGS = "settings.json"  # of all folds
_MIN_FOLDS, _MIN_GROUPS = 3, 20  # fewer labelled groups are split once


def folds_of(store: Store) -> list[int]:
    """Returns the folds of the labelled slices, in order."""
    return sorted({record.fold for record in store.records if record.fold is not None})


def run_crossvalidate(
    options: RunOptions,
    pretraining: PretrainSettings,
    finetuning: FinetuneSettings,
    folds: Sequence[int] = (),
    start: Path | None = None,
) -> Results:
    """Trains a model without each fold in turn and returns the results by disease, out of fold.

    What a model predicts for its fold is kept; finished folds are not trained again. With too few groups to leave each
    out in turn the data are split once, and a sentence says so.

    All folds are trained where none is named; the results are of all that were trained. ``start`` is a model or
    weights that all folds start from; None: they are pre-trained.

    Raises:
        SslmriError: the data, the folder or a training is at fault, or a finished fold has other settings.
    """
    require_group_disjoint(options)
    _, store = open_folds(options)
    if len(folds_of(store)) < _MIN_FOLDS or len(set(store.labelled.groups.tolist())) < _MIN_GROUPS:
        print("Too few labelled groups to leave each out in turn: they are split once into training and test.")
        return run_all(options, pretraining, finetuning, start)
    require_empty_run(options.run, [START, FOLDS, "pretrain"], options.resume)
    check_folds(store, folds)
    splits = {fold: replace(store, records=leave_out(store.records, fold)) for fold in folds or folds_of(store)}
    if start is not None:
        adopt(start, replace(options, run=options.run / START), [split.records for split in splits.values()])
    pretraining, finetuning = with_precision(pretraining), with_precision(finetuning)
    check_settings(options, pretraining, finetuning)
    for fold, split in splits.items():
        run = replace(options, run=options.run / FOLDS / str(fold), resume=True)
        if (run.run / PREDICTIONS).exists():
            continue
        print(f"fold {fold}: trained on all others", flush=True)
        fit_model(run, pretrained_start(options, run, pretraining, split), split, finetuning)
        _predict(run.run, split.where(split="test"))
    return measure(answer_folds(read_folds(options.run, store), store), store)[0]


def pretrained_start(options: RunOptions, fold: RunOptions, settings: PretrainSettings, split: Store) -> Pretrained:
    """Returns the pre-trained encoder that the training of a fold, or of the final model, begins with.

    It is the start that the run was given, if any. Where at least a batch of slices has no label, it is pre-trained on
    these, once for all folds. No fold tests a classifier of a disease on them; other slices of their groups may be
    tested, which the results then say. Otherwise each fold pre-trains on its own training slices.
    """
    unlabelled = split.select([row for row, record in enumerate(split.records) if record.disease is None])
    unlabelled = replace(unlabelled, records=leave_out(unlabelled.records, None))
    shared = replace(options, run=options.run / START, resume=True)
    if (shared.run / "pretrain" / ENCODER_CARD).exists():
        return load_pretrained(shared.run / "pretrain")
    is_shared = len(unlabelled.records) >= settings.batch_size
    run, store = (shared, unlabelled) if is_shared else (fold, split)
    run_pretrain(run, settings, store)
    return load_pretrained(run.run / "pretrain")


def read_folds(run: Path, store: Store) -> OutOfSample:
    """Returns the predictions of the trained folds' models for the slices left out.

    Raises:
        TrainingError: no fold was trained, or one on other data.
        ModelError: the predictions of a fold are damaged.
    """
    rows, parts = [], []
    for fold in folds_of(store):
        arrays = fold_arrays(run, fold)
        if arrays is None:
            continue
        tested = [row for row, record in enumerate(store.records) if record.fold == fold and record.disease]
        if arrays["names"].tolist() != [store.records[row].name for row in tested]:
            raise TrainingError(f"Expected fold {fold} of these data, got other slices in {run}: use another --run.")
        rows += tested
        parts.append(arrays)
    if not parts:
        raise TrainingError(f"Expected a trained fold in {run}, got none: run `python train.py crossvalidate` first.")
    logits, peaks = (
        {
            name.removeprefix(kind): np.concatenate([arrays[name] for arrays in parts])
            for name in parts[0]
            if name.startswith(kind)
        }
        for kind in ("logits/", "peaks/")
    )
    return OutOfSample(store.select(rows), logits, peaks)


def check_settings(options: RunOptions, pretraining: PretrainSettings, finetuning: FinetuneSettings) -> None:
    """Refuses other settings than those that a run's first fold was trained with, which are kept in the run.

    Raises:
        TrainingError: naming them.
    """
    preparation = {"preparation": recorded(options.preparation)}
    given = {"pretraining": recorded(pretraining) | preparation, "finetuning": recorded(finetuning)}
    path = options.run / _SETTINGS
    begun = json.loads(path.read_text(encoding="utf-8")) if path.exists() else given
    changed = {key for step, own in given.items() for key, value in own.items() if begun[step].get(key) != value}
    if changed:
        raise TrainingError(
            f"Expected the settings of the finished folds, got another {', '.join(sorted(changed))} in {options.run}: "
            "give the same settings, or name another --run."
        )
    write_json(path, begun)


def check_folds(store: Store, chosen: Sequence[int]) -> None:
    """Refuses folds that are not there and diseases in one fold; says which classes a fold is trained without.

    Raises:
        TrainingError: saying so.
    """
    folds = folds_of(store)
    if unknown := sorted(set(chosen) - set(folds)):
        raise TrainingError(f"Expected folds out of {', '.join(map(str, folds))}, got {unknown[0]}: name one of them.")
    folds_with: dict[tuple[str, str], set[int | None]] = defaultdict(set)
    for record in store.labelled.records:
        folds_with[str(record.disease), str(record.label)].add(record.fold)
    for key in DISEASES:
        found = set().union(*(own for (disease, _), own in folds_with.items() if disease == key))
        if len(found) == 1:
            raise TrainingError(
                f"Expected groups of {DISEASES[key].title} in two folds or more, got all in fold {found.pop()}: give "
                "them other folds."
            )
    for (_, label), own in folds_with.items():
        if len(own) == 1:
            print(f"Fold {own.pop()} is trained without {class_title(label)}: no other fold shows it.")


def _predict(run: Path, test: Store) -> None:
    """Writes the predictions of a fold's model for its N labelled test slices: logits and peaks of the maps (N, C)."""
    model, test = Model.load(run), test.labelled
    arrays = {"names": np.array([record.name for record in test.records])}
    found = predict(model.encoder, model.heads, test, model.card.encoder.preparation)
    arrays |= {f"logits/{key}": values for key, values in found.logits.items()}
    arrays |= {f"peaks/{key}": values for key, values in found.peaks.items()}
    write_arrays(run / PREDICTIONS, arrays)


def fold_arrays(run: Path, fold: int) -> dict[str, np.ndarray] | None:
    """Returns what the model of a fold predicts, as ``_predict`` wrote it; None where the fold was not trained."""
    path = run / FOLDS / str(fold) / PREDICTIONS
    return read_arrays(path) if path.exists() else None
