"""Cross-validation of the whole recipe, and the final model: trained the same way on everything.

For each fold everything that learns is trained without it, for a fixed number of epochs and without early stopping,
and predicts its slices. The shipped model learns from all groups; its calibration, thresholds and results come from
these out-of-fold predictions.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from sslmri.cohorts.folds import NEGATIVES_FILE, label_negatives, leave_out, with_folds
from sslmri.cohorts.manifest import read_manifest
from sslmri.cohorts.protocols import GROUP_DISJOINT
from sslmri.cohorts.store import Store, open_store
from sslmri.errors import ModelError, TrainingError
from sslmri.files import write_atomically
from sslmri.learning.model import BATCH, Model
from sslmri.learning.precision import with_precision
from sslmri.learning.settings import FinetuneSettings, PretrainSettings
from sslmri.models.cards import recorded
from sslmri.models.folder import ENCODER_CARD, MODEL_FILE
from sslmri.screening.saliency import class_maps
from sslmri.text import printable_line
from sslmri.training.data import Cohort, default_manifest
from sslmri.training.fit import Pretrained, fit_model, load_pretrained
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


def is_enough(store: Store) -> bool:
    """Returns whether there are labelled groups enough to leave each out in turn."""
    return len(folds_of(store)) >= _MIN_FOLDS and len(set(store.labelled.groups.tolist())) >= _MIN_GROUPS


def run_crossvalidate(
    options: RunOptions, pretraining: PretrainSettings, finetuning: FinetuneSettings, folds: Sequence[int] = ()
) -> Results:
    """Trains a model without each fold in turn and returns the results by disease, out of fold.

    With too few groups to leave each out in turn the data are split once, and a sentence says so.

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
    if not is_enough(store):
        print("Too few labelled groups to leave each out in turn: they are split once into training and test.")
        return run_all(options, pretraining, finetuning)
    require_new(options)
    train_folds(options, pretraining, finetuning, store, folds)
    return measure_folds(read_folds(options.run, store), store)[0]


def train_folds(
    options: RunOptions,
    pretraining: PretrainSettings,
    finetuning: FinetuneSettings,
    store: Store,
    chosen: Sequence[int] = (),
) -> None:
    """Trains a model without each fold in turn and keeps what it predicts for that fold; finished folds are kept.

    Args:
        options: of the run.
        pretraining: settings, the same for all folds.
        finetuning: settings, the same for all folds.
        store: as from ``open_folds``.
        chosen: the folds to train, all where none is named.

    Raises:
        SslmriError: the folder or a training is at fault, or a finished fold has other settings.
    """
    pretraining, finetuning = with_precision(pretraining), with_precision(finetuning)
    for fold in chosen or folds_of(store):
        run = replace(options, run=options.run / FOLDS / str(fold), resume=True)
        split = replace(store, records=leave_out(store.records, fold))
        if (run.run / PREDICTIONS).exists():
            check_settings(run.run, finetuning)
            continue
        print(f"fold {fold}: trained on all others", flush=True)
        fit_model(run, pretrained_start(options, run, pretraining, split), split, finetuning)
        _predict(run.run, split.where(split="test"))


def pretrained_start(options: RunOptions, fold: RunOptions, settings: PretrainSettings, split: Store) -> Pretrained:
    """Returns the pre-trained encoder that the training of a fold, or of the final model, begins with.

    Where at least a batch of slices has no label, it is pre-trained on these, once for all folds: no fold tests them.
    Otherwise each fold pre-trains on its own training slices.
    """
    unlabelled = split.select([row for row, record in enumerate(split.records) if record.disease is None])
    if len(unlabelled.records) < settings.batch_size:
        run_pretrain(fold, settings, Cohort(split.records, split))
        return load_pretrained(fold.run / "pretrain")
    shared = replace(options, run=options.run / START, resume=True)
    if not (shared.run / "pretrain" / ENCODER_CARD).exists():
        run_pretrain(shared, settings, Cohort(unlabelled.records, unlabelled))
    return load_pretrained(shared.run / "pretrain")


def read_folds(run: Path, store: Store) -> OutOfFold:
    """Returns what the models of the trained folds say of the slices that they never saw.

    Raises:
        TrainingError: no fold was trained, or one on other data.
        ModelError: the predictions of a fold are damaged.
    """
    rows, folds, parts = [], [], []
    for fold in folds_of(store):
        path = run / FOLDS / str(fold) / PREDICTIONS
        if not path.exists():
            continue
        tested = [row for row, record in enumerate(store.records) if record.fold == fold]
        arrays = _read(path)
        if arrays["names"].tolist() != [store.records[row].name for row in tested]:
            raise TrainingError(f"Expected fold {fold} of these data, got other slices in {run}: use another --run.")
        rows += tested
        folds += [fold] * len(tested)
        parts.append(arrays)
    if not parts:
        raise TrainingError(f"Expected a trained fold in {run}, got none: run `python train.py crossvalidate` first.")
    joined = {name: np.concatenate([arrays[name] for arrays in parts]) for name in parts[0]}
    logits, peaks = (
        {name.removeprefix(kind): values for name, values in joined.items() if name.startswith(kind)}
        for kind in ("logits/", "peaks/")
    )
    return OutOfFold(store.select(rows), np.array(folds), logits, peaks)


def require_group_disjoint(options: RunOptions) -> None:
    """Refuses the protocol that has no folds."""
    if options.protocol != GROUP_DISJOINT:
        raise TrainingError(f"Expected the protocol {GROUP_DISJOINT}, got {options.protocol}: leave --protocol out.")


def require_new(options: RunOptions) -> None:
    """Refuses a model folder, and a run that has begun unless it is resumed."""
    if (options.run / MODEL_FILE).exists():
        raise TrainingError(f"Expected a run folder, got the finished model {options.run}: name another --run.")
    has_begun = any((options.run / name).exists() for name in (START, FOLDS, "pretrain"))
    if has_begun and not options.resume:
        raise TrainingError(f"Expected a new run, got one that has begun in {options.run}: pass --resume.")


def check_settings(run: Path, settings: FinetuneSettings) -> None:
    """Refuses a finished fold of other settings."""
    for head in Model.load(run).card.heads.values():
        changed = sorted(key for key, value in recorded(settings).items() if head.finetuning.get(key) != value)
        if changed:
            raise TrainingError(
                f"Expected the settings of the finished folds, got another {', '.join(changed)} in {run}: give the "
                "same settings, or name another --run."
            )


@torch.inference_mode()
def _predict(run: Path, test: Store) -> None:
    """Writes what every head of a fold's model says of its N test slices: logits and peaks of the maps, (N, C)."""
    model = Model.load(run)
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    for start in range(0, len(test.records), BATCH):
        maps = model.feature_maps(test.batch(range(len(test.records))[start : start + BATCH]))
        for key, head in model.heads.items():
            parts[f"logits/{key}"].append(head.slice_logits(maps).numpy())
            parts[f"peaks/{key}"].append(class_maps(maps, head).amax(dim=(2, 3)).numpy())
    arrays: dict[str, Any] = {name: np.concatenate(values) for name, values in parts.items()}
    names = np.array([record.name for record in test.records])

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, names=names, **arrays)

    write_atomically(run / PREDICTIONS, write)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ModelError(f"Expected out-of-fold predictions in {path}, got a damaged file: remove it.") from error
