"""Does pre-training help? The run's encoder against an untrained one and plain pixels, by labels per class.

Everything is learned on the training split of the run and measured on its test split; the validation split chooses a
probe's penalty and the epoch a fine-tuning ends with, nothing else. Each finished fit is kept under
``label-efficiency/``, so that a second start goes on where the first one stopped.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sslmri.cohorts.protocols import GROUP_DISJOINT
from sslmri.cohorts.registry import unit_of
from sslmri.cohorts.splits import check_disjoint
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES, class_title
from sslmri.errors import TrainingError
from sslmri.evidence.efficiency import (
    BASELINE,
    FINETUNE,
    PIXELS,
    PROBE,
    RANDOM,
    SIMCLR,
    Fit,
    compare_fits,
    small_classes_note,
)
from sslmri.evidence.grade import unknown_patients_note
from sslmri.files import sha256_of, write_atomically
from sslmri.learning.encoder import Encoder
from sslmri.learning.model import load_encoder
from sslmri.learning.settings import FinetuneSettings
from sslmri.models.cards import recorded
from sslmri.models.evidence import DiseaseEfficiency, LabelEfficiency, write_evidence
from sslmri.models.folder import ENCODER_CARD, ENCODER_FILE, evidence_folder, read_encoder_card
from sslmri.models.history import append_history, created_now, read_history
from sslmri.training.data import check_unseen, open_cohort, require_group_disjoint
from sslmri.training.fits import (
    N_NORM_SLICES,
    Experiment,
    Features,
    Predictions,
    features_of,
    fine_tune,
    pixels_baseline,
    probe,
    sample_labels,
    untrained_encoder,
)
from sslmri.training.options import LabelEfficiencySettings, RunOptions

FOLDER, RESULTS_FILE = "label-efficiency", "results.jsonl"
_CHUNK = 1024  # slices in memory at a time
_DIGITS = 9  # of a probability kept: those of a float32


def run_label_efficiency(options: RunOptions, settings: LabelEfficiencySettings) -> LabelEfficiency:
    """Returns the curves and writes them to ``evidence/label_efficiency.json``; finished fits are not repeated.

    Raises:
        SslmriError: the data, the split, the pre-trained encoder or the settings are at fault.
    """
    _check(options, settings)
    pretrained = options.run / "pretrain"
    _, store = open_cohort(options, is_measured=True)
    check_disjoint(store.records)
    check_unseen(options.run, store, options.protocol)
    experiment, basis = _experiment(options, settings, store), _basis(store, options, pretrained)
    finished = _finished(options.run, settings, basis)
    for fit, predictions, extra in _fits(options, settings, experiment, finished, basis):
        _keep(options.run, _basis_of(fit.regime, settings, basis), fit, predictions, extra)
        finished[fit] = predictions
    wanted = {fit: finished[fit] for fit in _all_fits(settings)}
    card = read_encoder_card(pretrained / ENCODER_CARD)
    evidence = LabelEfficiency(
        protocol=GROUP_DISJOINT,
        created=created_now(),
        encoder_sha256=sha256_of(pretrained / ENCODER_FILE),
        encoder_created=card.created,
        groups_sha256=card.data.groups_sha256,
        settings=recorded(settings) | {"preparation": recorded(options.preparation)},
        not_run=tuple(regime for regime in (PROBE, FINETUNE) if regime not in settings.regimes),
        notes=tuple(_notes(settings, experiment)),
        diseases={key: _compare(experiment, key, settings, wanted) for key in experiment.diseases},
    )
    write_evidence(evidence_folder(options.run), evidence)
    return evidence


def _check(options: RunOptions, settings: LabelEfficiencySettings) -> None:
    require_group_disjoint(options)  # otherwise labels of the subjects who are tested on would decide the comparison
    for name in ("labels", "seeds", "regimes", "inverse_penalties"):
        values = getattr(settings, name)
        if not values or len(set(values)) < len(values):
            raise TrainingError(f"Expected one or more {name}, each once, got {list(values)}: name others.")
    if min(settings.labels) < 1 or min(settings.inverse_penalties) <= 0:
        raise TrainingError(
            f"Expected labels and inverse penalties above 0, got {list(settings.labels)} and "
            f"{list(settings.inverse_penalties)}: name others."
        )


def _experiment(options: RunOptions, settings: LabelEfficiencySettings, store: Store) -> Experiment:
    """Returns the slices of the diseases that are both trained and tested.

    Raises:
        TrainingError: there is none.
    """
    trained, tested = ({str(r.disease) for r in store.labelled.where(split=own).records} for own in ("train", "test"))
    if not trained & tested:
        raise TrainingError(
            "Expected labelled slices of a disease to learn from and to test on, got none: see the split."
        )
    for key in sorted(trained ^ tested):
        print(f"{key}: not in both the training and the test split, left out")
    train, validation, test = (
        store.where(split=own, disease=trained & tested) for own in ("train", "validation", "test")
    )
    return Experiment(store.where(split="train"), train, validation, test, options.preparation, settings.device)


def _basis(store: Store, options: RunOptions, pretrained: Path) -> str:
    """Returns a hash of the encoder, the slices and what is known of them: results of another are no results here."""
    digest = hashlib.sha256(f"{sha256_of(pretrained / ENCODER_FILE)} {options.preparation}".encode())
    for record in store.records:
        digest.update(f"{record.name}\t{record.disease}\t{record.label}\t{record.group_key}\t{record.split}\n".encode())
    for start in range(0, len(store.records), _CHUNK):
        digest.update(store.batch(range(len(store.records))[start : start + _CHUNK]).data)
    return digest.hexdigest()


def _basis_of(regime: str, settings: LabelEfficiencySettings, basis: str) -> str:
    """Returns the basis together with the settings that a regime's fits depend on."""
    own = {
        PROBE: sorted(settings.inverse_penalties),
        FINETUNE: asdict(_finetune_settings(settings, 0, 0)) if regime == FINETUNE else None,
        BASELINE: None,
    }[regime]
    return hashlib.sha256(f"{basis} {json.dumps(own, sort_keys=True)}".encode()).hexdigest()


def _finetune_settings(settings: LabelEfficiencySettings, labels: int, seed: int) -> FinetuneSettings:
    return FinetuneSettings(labels_per_class=labels, epochs=settings.finetune_epochs, seed=seed, device=settings.device)


def _all_fits(settings: LabelEfficiencySettings) -> list[Fit]:
    """Returns every fit of the comparison, the quickest first."""
    arms = [(PIXELS, BASELINE), *((encoder, own) for own in settings.regimes for encoder in (SIMCLR, RANDOM))]
    return [Fit(*arm, labels, seed) for arm in arms for seed in settings.seeds for labels in settings.labels]


def _fits(
    options: RunOptions,
    settings: LabelEfficiencySettings,
    experiment: Experiment,
    finished: dict[Fit, Predictions],
    basis: str,
) -> Iterator[tuple[Fit, Predictions, dict[str, Any]]]:
    """Yields each fit that is not finished, with its predictions and what else is worth keeping."""
    features: Features | None = None
    extracted: tuple[str, int] | None = None  # whose features these are
    for fit in (fit for fit in _all_fits(settings) if fit not in finished):
        started = time.perf_counter()
        rows = sample_labels(experiment.train, fit.labels, fit.seed)
        extra: dict[str, Any] = {}
        if fit.regime == BASELINE:
            predictions = pixels_baseline(experiment, rows)
        elif fit.regime == FINETUNE:
            folder = options.run / FOLDER / f"{basis[:12]}-{fit.encoder}-{fit.labels}-{fit.seed}"
            own = _finetune_settings(settings, fit.labels, fit.seed)
            predictions = fine_tune(experiment, _encoder(options, experiment, fit), rows, folder, own)
        else:
            source = (fit.encoder, fit.seed if fit.encoder == RANDOM else -1)
            if features is None or source != extracted:
                features, extracted = features_of(experiment, _encoder(options, experiment, fit)), source
            predictions, extra["inverse_penalties"] = probe(experiment, features, rows, settings.inverse_penalties)
        extra["seconds"] = round(time.perf_counter() - started, 1)
        print(f"{', '.join(map(str, fit[:2]))}, {fit.labels} labels, seed {fit.seed}: {extra['seconds']} s", flush=True)
        yield fit, predictions, extra


def _encoder(options: RunOptions, experiment: Experiment, fit: Fit) -> Encoder:
    pretrained = load_encoder(options.run / "pretrain" / ENCODER_FILE)
    return untrained_encoder(experiment, pretrained.architecture, fit.seed) if fit.encoder == RANDOM else pretrained


def _keep(run: Path, basis: str, fit: Fit, predictions: Predictions, extra: dict[str, Any]) -> None:
    rounded = {
        key: [[float(f"{value:.{_DIGITS}g}") for value in row] for row in own.tolist()]
        for key, own in predictions.items()
    }
    entry = {"basis": basis, **fit._asdict(), **extra, "probabilities": rounded}
    append_history(run / FOLDER / RESULTS_FILE, entry)


def _finished(run: Path, settings: LabelEfficiencySettings, basis: str) -> dict[Fit, Predictions]:
    """Returns the fits that were kept on the same basis; a line torn by a kill is cut off, for others to follow."""
    path = run / FOLDER / RESULTS_FILE
    entries = read_history(path)
    if path.exists():
        text = "".join(json.dumps(entry) + "\n" for entry in entries)
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    own = {regime: _basis_of(regime, settings, basis) for regime in (PROBE, FINETUNE, BASELINE)}
    return {
        Fit(entry["encoder"], entry["regime"], entry["labels"], entry["seed"]): {
            key: np.array(rows) for key, rows in entry["probabilities"].items()
        }
        for entry in entries
        if entry["basis"] == own[entry["regime"]]
    }


def _compare(
    experiment: Experiment, key: str, settings: LabelEfficiencySettings, fits: dict[Fit, Predictions]
) -> DiseaseEfficiency:
    """Returns curves and differences of one disease, with its counts and what to know of them."""
    disease = DISEASES[key]
    tested = experiment.test.where(disease=key)
    there = Counter(str(record.label) for record in experiment.train.records if record.disease == key)
    used = {str(n): {label: min(n, there[label]) for label in disease.classes} for n in settings.labels}
    short = [f"{class_title(label)} {n}" for label, n in there.items() if n < max(settings.labels)]
    untrained = [class_title(label) for label in disease.classes if not there[label]]
    notes = [f"Fewer labelled slices than the largest budget, all used there: {', '.join(short)}."] if short else []
    notes += [f"No training data: {', '.join(untrained)}."] if untrained else []
    predictions = {fit: found[key] for fit, found in fits.items()}
    curves, differences = compare_fits(disease, tested.truth, tested.groups, predictions)
    notes += small_classes_note(disease, tested.truth, tested.groups) + unknown_patients_note(tested.groups)
    return DiseaseEfficiency(
        unit=unit_of(tested.groups),
        n_groups=len(set(tested.groups)),
        n_slices=len(tested.records),
        labels_used=used,
        curves=curves,
        differences=differences,
        notes=tuple(notes),
    )


def _notes(settings: LabelEfficiencySettings, experiment: Experiment) -> list[str]:
    """Returns how the comparison was made, in sentences."""
    settled = min(N_NORM_SLICES, len(experiment.pool.records))
    notes = [
        f"Each point is the mean over {len(settings.seeds)} draws of labelled slices; its 95 % interval is from a "
        "bootstrap over test groups.",
        "The random encoder is the same ResNet-50 as it is before pre-training, another for each draw, its batch-norm "
        f"statistics estimated on {settled} unlabelled training slices.",
        "Validation groups choose a probe's penalty or a fine-tuning's last epoch; their labels are not counted.",
    ]
    titles = {PROBE: "Linear probes were", FINETUNE: "Fine-tuning was"}
    return notes + [f"{title} not evaluated." for regime, title in titles.items() if regime not in settings.regimes]
