"""Cross-validation of the whole recipe, and the final model: trained the same way on everything.

For each fold a model is trained without it, for a fixed number of epochs and without early stopping, and predicts its
slices. The final model learns from all groups; its calibration, thresholds and results come from these out-of-fold
predictions.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from sslmri.cohorts.manifest import read_manifest
from sslmri.cohorts.splits import NEGATIVES_FILE, label_negatives, leave_out, with_folds
from sslmri.cohorts.store import Store, open_store
from sslmri.diseases import DISEASES, class_title
from sslmri.errors import ModelError, TrainingError
from sslmri.files import write_atomically
from sslmri.learning.features import extract_textures
from sslmri.learning.model import Model
from sslmri.learning.precision import with_precision
from sslmri.learning.sequence import sample_sequences
from sslmri.learning.settings import FinetuneSettings, PretrainSettings
from sslmri.models.cards import Settings, recorded
from sslmri.models.folder import ENCODER_CARD, read_model_card
from sslmri.scans.scan import SEQUENCES
from sslmri.text import printable_line
from sslmri.training.data import Cohort, default_manifest, require_empty_run, require_group_disjoint
from sslmri.training.fit import Pretrained, fit_model, load_pretrained, logits_and_peaks
from sslmri.training.options import RunOptions
from sslmri.training.out_of_fold import OutOfFold, measure_folds
from sslmri.training.steps import Results, run_all, run_pretrain

START, FOLDS, PREDICTIONS = "start", "folds", "out_of_fold.npz"
_MIN_FOLDS, _MIN_GROUPS = 3, 20  # fewer labelled groups are split once


def open_folds(options: RunOptions) -> Cohort:
    """Returns the records of a cross-validation with their prepared slices.

    Raises:
        SslmriError: the manifest or its files are at fault.
    """
    manifest = options.data or default_manifest(options.cache)
    records = read_manifest(manifest)
    if (manifest.parent / NEGATIVES_FILE).is_file():
        records = label_negatives(records, manifest.parent / NEGATIVES_FILE)
    pool = with_folds(records, options.split_seed)
    store = open_store(pool, options.preparation, options.cache)
    for name, reason in store.bad:
        print(printable_line(f"left out: {name}: {reason}"))
    return Cohort(records, store)


def folds_of(store: Store) -> list[int]:
    """Returns the folds of the labelled slices, in order."""
    return sorted({record.fold for record in store.records if record.fold is not None})


def run_crossvalidate(
    options: RunOptions, pretraining: PretrainSettings, finetuning: FinetuneSettings, folds: Sequence[int] = ()
) -> Results:
    """Trains a model without each fold in turn and returns the results by disease, out of fold.

    What a model predicts for its fold is kept; finished folds are not trained again. With too few groups to leave each
    out in turn the data are split once, and a sentence says so.

    Args:
        options: of the run.
        pretraining: settings, the same for all folds.
        finetuning: settings, the same for all folds.
        folds: to train, all where none is named; the results are of all folds that were trained.

    Raises:
        SslmriError: the data, the folder or a training is at fault, or a finished fold has other settings.
    """
    require_group_disjoint(options)
    _, store = open_folds(options)
    if len(folds_of(store)) < _MIN_FOLDS or len(set(store.labelled.groups.tolist())) < _MIN_GROUPS:
        print("Too few labelled groups to leave each out in turn: they are split once into training and test.")
        return run_all(options, pretraining, finetuning)
    require_empty_run(options.run, [START, FOLDS, "pretrain"], options.resume)
    check_folds(store, folds)
    pretraining, finetuning = with_precision(pretraining), with_precision(finetuning)
    for fold in folds_of(store):
        if (options.run / FOLDS / str(fold) / PREDICTIONS).exists():
            check_settings(options.run / FOLDS / str(fold), options, pretraining, finetuning)
    for fold in folds or folds_of(store):
        run = replace(options, run=options.run / FOLDS / str(fold), resume=True)
        split = replace(store, records=leave_out(store.records, fold))
        if (run.run / PREDICTIONS).exists():
            continue
        print(f"fold {fold}: trained on all others", flush=True)
        fit_model(run, pretrained_start(options, run, pretraining, split), split, finetuning)
        _predict(run.run, split.where(split="test"))
    return measure_folds(read_folds(options.run, store), store)[0]


def pretrained_start(options: RunOptions, fold: RunOptions, settings: PretrainSettings, split: Store) -> Pretrained:
    """Returns the pre-trained encoder that the training of a fold, or of the final model, begins with.

    Where at least a batch of slices has no label, it is pre-trained on these, once for all folds. No fold tests a
    classifier of a disease on them; other slices of their groups may be tested, which the results then say. Otherwise
    each fold pre-trains on its own training slices.
    """
    unlabelled = split.select([row for row, record in enumerate(split.records) if record.disease is None])
    unlabelled = replace(unlabelled, records=leave_out(unlabelled.records, None))
    if len(unlabelled.records) < settings.batch_size:
        run_pretrain(fold, settings, Cohort(split.records, split))
        return load_pretrained(fold.run / "pretrain")
    shared = replace(options, run=options.run / START, resume=True)
    if not (shared.run / "pretrain" / ENCODER_CARD).exists():
        run_pretrain(shared, settings, Cohort(unlabelled.records, unlabelled))
    start = load_pretrained(shared.run / "pretrain")
    _check_equal(shared.run, [start.card.pretraining], [_pretraining(options, with_precision(settings))])
    return start


def read_folds(run: Path, store: Store) -> OutOfFold:
    """Returns the predictions of the trained folds' models for the slices left out.

    Raises:
        TrainingError: no fold was trained, or one on other data.
        ModelError: the predictions of a fold are damaged.
    """
    rows, folds, parts = [], [], []
    for fold in folds_of(store):
        arrays = fold_arrays(run, fold)
        if arrays is None:
            continue
        tested = [row for row, record in enumerate(store.records) if record.fold == fold and record.disease]
        if arrays["names"].tolist() != [store.records[row].name for row in tested]:
            raise TrainingError(f"Expected fold {fold} of these data, got other slices in {run}: use another --run.")
        rows += tested
        folds += [fold] * len(tested)
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
    return OutOfFold(store.select(rows), np.array(folds), logits, peaks)


def check_settings(run: Path, options: RunOptions, pretraining: PretrainSettings, finetuning: FinetuneSettings) -> None:
    """Refuses a finished fold of other settings."""
    card = read_model_card(run)
    found = [card.encoder.pretraining, *(head.finetuning for head in card.heads.values())]
    given = [_pretraining(options, pretraining), *[recorded(finetuning)] * len(card.heads)]
    _check_equal(run, found, given)


def _pretraining(options: RunOptions, settings: PretrainSettings) -> Settings:
    return recorded(settings) | {"preparation": recorded(options.preparation)}


def _check_equal(folder: Path, found: Sequence[Settings], given: Sequence[Settings]) -> None:
    pairs = zip(found, given, strict=True)
    changed = {key for old, new in pairs for key, value in new.items() if old.get(key) != value}
    if changed:
        raise TrainingError(
            f"Expected the settings of the finished folds, got another {', '.join(sorted(changed))} in {folder}: give "
            "the same settings, or name another --run."
        )


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
    """Writes the predictions of a fold's model for its N labelled test slices: logits and peaks of the maps (N, C).

    The same file holds the logits of the sequence, for test slices with a known one, labelled or not.
    """
    model = Model.load(run)
    known, test = sample_sequences(test if model.sequence else test.select([])), test.labelled
    preparation, sequence = model.card.encoder.preparation, np.zeros((0, len(SEQUENCES)), np.float32)
    if model.sequence:
        sequence = model.sequence.logits(extract_textures(model.encoder, known, preparation)).numpy()
    arrays: dict[str, Any] = {"sequence": sequence, "sequence_names": np.array([r.name for r in known.records])}
    for key, (logits, peaks) in logits_and_peaks(model.encoder, model.heads, test, preparation).items():
        arrays |= {f"logits/{key}": logits, f"peaks/{key}": peaks}
    names = np.array([record.name for record in test.records])

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, names=names, **arrays)

    write_atomically(run / PREDICTIONS, write)


def fold_arrays(run: Path, fold: int) -> dict[str, np.ndarray] | None:
    """Returns what the model of a fold predicts, as ``_predict`` wrote it; None where the fold was not trained."""
    path = run / FOLDS / str(fold) / PREDICTIONS
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ModelError(f"Expected out-of-fold predictions in {path}, got a damaged file: remove it.") from error
