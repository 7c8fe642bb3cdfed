"""Does pre-training help? The run's encoder against an untrained one and plain pixels, by labels per class.

Everything is learned on the training split of the run and measured on its test split; the validation split chooses a
probe's penalty and the epoch a fine-tuning ends with, nothing else. Each finished fit is kept under
``label-efficiency/``, so that a second start goes on where the first one stopped.
"""

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import softmax
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.optim.swa_utils import update_bn

from sslmri.cohorts.protocols import GROUP_DISJOINT
from sslmri.cohorts.registry import unit_of
from sslmri.cohorts.sampling import rows_by_class
from sslmri.cohorts.splits import SPLITS
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES, class_title
from sslmri.errors import TrainingError
from sslmri.evidence.baselines import baseline_probabilities
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
from sslmri.files import sha256_of
from sslmri.learning.encoder import Encoder, normalise, pick_device
from sslmri.learning.features import BATCH, extract_features, extract_logits
from sslmri.learning.finetune import finetune
from sslmri.learning.logistic import fit_probe
from sslmri.learning.settings import FinetuneSettings
from sslmri.models.architecture import Architecture
from sslmri.models.cards import recorded
from sslmri.models.evidence import DiseaseEfficiency, LabelEfficiency, write_evidence
from sslmri.models.folder import ENCODER_FILE, EVIDENCE, MODEL, MODEL_FILE, find_model
from sslmri.models.history import created_now
from sslmri.scans.slices import Preparation
from sslmri.training.data import open_cohort, read_arrays, require_group_disjoint, write_arrays
from sslmri.training.options import LabelEfficiencySettings, RunOptions
from sslmri.training.start import open_start

_N_NORM_SLICES = 512  # unlabelled training slices that an untrained encoder's batch norms are estimated on
_VALIDATION_LABELS = 50  # slices per class that choose the epoch of a fine-tuning
_CHUNK = 1024  # slices in memory at a time

Features = list[Tensor]  # of the training, validation and test slices
Predictions = dict[str, np.ndarray]  # probabilities (N, C) of the test slices, by disease


class Experiment(NamedTuple):
    """What all fits have in common.

    ``pool`` is every slice of the training split; the others are labelled, of diseases both trained and tested.
    """

    pool: Store
    train: Store
    validation: Store
    test: Store
    preparation: Preparation
    device: str

    @property
    def diseases(self) -> list[str]:
        """Keys of the diseases that are compared."""
        return [key for key in DISEASES if self.test.indices(disease=key)]


def run_label_efficiency(
    options: RunOptions, settings: LabelEfficiencySettings, start: Path | None = None
) -> LabelEfficiency:
    """Returns the curves and writes them to ``evidence/label_efficiency.json``; finished fits are not repeated.

    ``start`` is a model or weights that become the run's pre-trained encoder; None for the one that it has.

    Raises:
        SslmriError: the data, the split, the pre-trained encoder or the settings are at fault.
    """
    require_group_disjoint(options)  # otherwise labels of the subjects who are tested on would decide the comparison
    if not settings.seeds or not settings.regimes or min(settings.labels, default=0) < 1:
        raise TrainingError(
            f"Expected one or more seeds, regimes and labels above 0, got {list(settings.seeds)}, "
            f"{list(settings.regimes)} and {list(settings.labels)}: name others."
        )
    cohort = open_cohort(options)
    encoder, card = open_start(options, cohort.used, start)
    experiment = _experiment(options, settings, cohort.store)
    fits = _predictions(options, settings, experiment, encoder, _basis(cohort.store, options))
    evidence = LabelEfficiency(
        protocol=GROUP_DISJOINT,
        created=created_now(),
        encoder_sha256=sha256_of(options.run / "pretrain" / ENCODER_FILE),
        encoder_created=card.created,
        groups_sha256=card.data.groups_sha256,
        settings=recorded(settings) | {"preparation": recorded(options.preparation)},
        not_run=tuple(regime for regime in (PROBE, FINETUNE) if regime not in settings.regimes),
        notes=(*filter(None, [card.start]), *_notes(settings, experiment)),
        diseases={key: _compare(experiment, key, settings, fits) for key in experiment.diseases},
    )
    model = find_model(options.run)  # which need not be there yet
    write_evidence((model if (model / MODEL_FILE).exists() else options.run / MODEL) / EVIDENCE, evidence)
    return evidence


def _experiment(options: RunOptions, settings: LabelEfficiencySettings, store: Store) -> Experiment:
    """Returns the slices of the diseases that are both trained and tested.

    Raises:
        TrainingError: there is none.
    """
    parts = [store.where(split=split).labelled for split in SPLITS]
    trained, _, tested = ({str(record.disease) for record in part.records} for part in parts)
    if not trained & tested:
        raise TrainingError(
            "Expected labelled slices of a disease to learn from and to test on, got none: see the split."
        )
    for key in sorted(trained ^ tested):
        print(f"{key}: not in both the training and the test split, left out")
    train, validation, test = (part.where(disease=trained & tested) for part in parts)
    return Experiment(store.where(split="train"), train, validation, test, options.preparation, settings.device)


def _basis(store: Store, options: RunOptions) -> str:
    """Returns a hash of the encoder, the slices and what is known of them: results of another are no results here."""
    encoder_sha256 = sha256_of(options.run / "pretrain" / ENCODER_FILE)
    digest = hashlib.sha256(f"{encoder_sha256} {options.preparation}".encode())
    for record in store.records:
        digest.update(f"{record.name}\t{record.disease}\t{record.label}\t{record.group_key}\t{record.split}\n".encode())
    for start in range(0, len(store.records), _CHUNK):
        digest.update(store.batch(range(len(store.records))[start : start + _CHUNK]).data)
    return digest.hexdigest()


def _predictions(
    options: RunOptions, settings: LabelEfficiencySettings, experiment: Experiment, pretrained: Encoder, basis: str
) -> dict[Fit, Predictions]:
    """Returns what each fit predicts, the quickest first; each is kept in a file named after all that it depends on."""

    def start(name: str, seed: int) -> Encoder:
        return untrained_encoder(experiment, pretrained.architecture, seed) if name == RANDOM else pretrained

    @lru_cache(maxsize=1)
    def features(name: str, seed: int) -> Features:
        encoder = start(name, seed).to(pick_device(experiment.device))
        stores = (experiment.train, experiment.validation, experiment.test)
        return [extract_features(encoder, store, experiment.preparation) for store in stores]

    def predict(fit: Fit, folder: Path, tuning: FinetuneSettings) -> Predictions:
        rows = sample_labels(experiment.train, fit.labels, fit.seed)
        seed = fit.seed if fit.encoder == RANDOM else 0
        if fit.regime == FINETUNE:
            return fine_tune(experiment, start(fit.encoder, seed), rows, folder, tuning)
        records = experiment.train.records
        by_disease = {key: [r for r in rows if records[r].disease == key] for key in experiment.diseases}
        if fit.regime == BASELINE:
            return {key: pixels_baseline(experiment, key, own) for key, own in by_disease.items()}
        return {key: probe(experiment, key, features(fit.encoder, seed), own) for key, own in by_disease.items()}

    arms = [(PIXELS, BASELINE), *((encoder, own) for own in settings.regimes for encoder in (SIMCLR, RANDOM))]
    found = {}
    for fit in [Fit(*arm, labels, seed) for arm in arms for seed in settings.seeds for labels in settings.labels]:
        tuning = FinetuneSettings(
            labels_per_class=fit.labels, epochs=settings.finetune_epochs, seed=fit.seed, device=settings.device
        )
        own = tuning if fit.regime == FINETUNE else ""
        name = "-".join(map(str, fit)) + "-" + hashlib.sha256(f"{basis} {fit} {own}".encode()).hexdigest()[:24]
        path = options.run / "label-efficiency" / f"{name}.npz"
        if not path.exists():
            started = time.perf_counter()
            write_arrays(path, predict(fit, path.with_suffix(""), tuning))
            seconds = time.perf_counter() - started
            print(f"{fit.encoder}, {fit.regime}, {fit.labels} labels, seed {fit.seed}: {seconds:.1f} s", flush=True)
        found[fit] = read_arrays(path)
    return found


def sample_labels(train: Store, per_class: int, seed: int) -> list[int]:
    """Returns the rows of at most ``per_class`` slices of each class, drawn at random from its groups in turn.

    The slices of a smaller budget are among those of a larger one of the same seed.
    """
    generator = np.random.default_rng(seed)
    chosen: list[int] = []
    for groups in rows_by_class(train.records).values():
        shuffled = [generator.permutation(rows).tolist() for _, rows in sorted(groups.items())]
        order = generator.permutation(len(shuffled)).tolist()
        turns = [
            (turn, group, row) for group, rows in zip(order, shuffled, strict=True) for turn, row in enumerate(rows)
        ]
        chosen += [row for _, _, row in sorted(turns)[:per_class]]
    return sorted(chosen)


def untrained_encoder(experiment: Experiment, architecture: Architecture, seed: int) -> Encoder:
    """Returns the encoder as it is before pre-training, its batch norms estimated on unlabelled training slices.

    Their mean and variance are part of what an encoder knows of the data without labels; left at 0 and 1, an untrained
    encoder would be judged by the scale of its weights.
    """
    torch.manual_seed(seed)
    device, pool = pick_device(experiment.device), experiment.pool.evenly(_N_NORM_SLICES)
    encoder = Encoder(architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows = np.random.default_rng(seed).permutation(len(pool.records))
    batches = np.array_split(rows, -(-len(rows) // BATCH))
    slices = (torch.from_numpy(pool.batch(batch)).to(device) for batch in batches)
    update_bn((normalise(batch, experiment.preparation) for batch in slices), encoder)
    return encoder.eval()


def probe(experiment: Experiment, disease: str, features: Features, labelled: Sequence[int]) -> np.ndarray:
    """Returns what a linear probe, trained on some of the training slices, predicts for the test slices: (N, C).

    Features are standardised by those of the training split, whether their labels are used or not.
    """
    train, validation, test = features
    held_out, tested = (part.indices(disease=disease) for part in (experiment.validation, experiment.test))
    truth, expected = experiment.train.select(labelled).truth, experiment.validation.select(held_out).truth
    scaler, n_classes = StandardScaler().fit(train.numpy()), len(DISEASES[disease].classes)
    head = fit_probe(train[labelled], truth, validation[held_out], expected, n_classes, scaler)
    return np.asarray(head.logits(test[tested]).softmax(dim=1))


def pixels_baseline(experiment: Experiment, disease: str, labelled: Sequence[int]) -> np.ndarray:
    """Returns what PCA + logistic regression on the labelled slices' pixels predicts for the test slices: (N, C)."""
    known, tested = experiment.train.select(labelled), experiment.test.where(disease=disease).slices
    return baseline_probabilities(known.slices, known.truth, tested, len(DISEASES[disease].classes))["pca_logistic"]


def fine_tune(
    experiment: Experiment, encoder: Encoder, labelled: Sequence[int], folder: Path, settings: FinetuneSettings
) -> Predictions:
    """Returns what encoder and heads, trained together on all diseases, predict for the test slices.

    The folder holds the checkpoint while it trains.
    """
    validation = experiment.validation.evenly_per_class(_VALIDATION_LABELS)
    train = experiment.train.select(labelled)
    encoder, heads = finetune(encoder, train, validation, experiment.preparation, folder, settings)
    shutil.rmtree(folder)  # half a gigabyte per fit
    test, encoder = experiment.test, encoder.to(pick_device(experiment.device))
    logits = extract_logits(encoder, heads, test, experiment.preparation)
    return {
        key: softmax(logits[key][test.indices(disease=key)].double().numpy(), axis=1) for key in experiment.diseases
    }


def _compare(
    experiment: Experiment, key: str, settings: LabelEfficiencySettings, fits: dict[Fit, Predictions]
) -> DiseaseEfficiency:
    """Returns curves and differences of one disease, with its counts and what to know of them."""
    disease, tested = DISEASES[key], experiment.test.where(disease=key)
    there = Counter(str(record.label) for record in experiment.train.records if record.disease == key)
    used = {str(n): {label: min(n, there[label]) for label in disease.classes} for n in settings.labels}
    short = [f"{class_title(label)} {n}" for label, n in there.items() if n < max(settings.labels)]
    untrained = [class_title(label) for label in disease.classes if not there[label]]
    notes = [f"Fewer labelled slices than the largest budget, all used there: {', '.join(short)}."] if short else []
    notes += [f"No training data: {', '.join(untrained)}."] if untrained else []
    found = {fit: predictions[key] for fit, predictions in fits.items()}
    curves, differences = compare_fits(disease, tested.truth, tested.groups, found)
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
    notes = [
        f"Each point is the mean over {len(settings.seeds)} draws of labelled slices; its 95 % interval is from a "
        "bootstrap over test groups.",
        "The random encoder is the same ResNet-50 as it is before pre-training, another for each draw, its batch-norm "
        f"statistics estimated on {min(_N_NORM_SLICES, len(experiment.pool.records))} unlabelled training slices.",
        "Validation groups choose a probe's penalty or a fine-tuning's last epoch; their labels are not counted.",
    ]
    titles = {PROBE: "Linear probes were", FINETUNE: "Fine-tuning was"}
    return notes + [f"{title} not evaluated." for regime, title in titles.items() if regime not in settings.regimes]
