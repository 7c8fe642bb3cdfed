"""Does pre-training help? The run's encoder against an untrained one and plain pixels, by labels per class.

Everything is learned on the training split of the run and measured on its test split; the validation split chooses a
probe's penalty and the epoch a fine-tuning ends with, nothing else. Each finished fit is kept under
``label-efficiency/``, so that a second start goes on where the first one stopped.
"""

import hashlib
import time
from collections import Counter
from functools import lru_cache
from pathlib import Path

from sslmri.cohorts.protocols import GROUP_DISJOINT
from sslmri.cohorts.registry import unit_of
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
from sslmri.files import sha256_of
from sslmri.learning.encoder import Encoder
from sslmri.learning.settings import FinetuneSettings
from sslmri.models.cards import recorded
from sslmri.models.evidence import DiseaseEfficiency, LabelEfficiency, write_evidence
from sslmri.models.folder import ENCODER_FILE, EVIDENCE, MODEL, MODEL_FILE, find_model
from sslmri.models.history import created_now
from sslmri.training.data import open_cohort, read_arrays, require_group_disjoint, write_arrays
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
from sslmri.training.start import open_start

FOLDER = "label-efficiency"
_CHUNK = 1024  # slices in memory at a time


def run_label_efficiency(
    options: RunOptions, settings: LabelEfficiencySettings, start: Path | None = None
) -> LabelEfficiency:
    """Returns the curves and writes them to ``evidence/label_efficiency.json``; finished fits are not repeated.

    Args:
        options: of the run.
        settings: of the comparison.
        start: a model or weights that become the run's pre-trained encoder; None for the one that it has.

    Raises:
        SslmriError: the data, the split, the pre-trained encoder or the settings are at fault.
    """
    _check(options, settings)
    _, store = open_cohort(options)
    encoder, card = open_start(options, store, start)
    experiment = _experiment(options, settings, store)
    fits = _predictions(options, settings, experiment, encoder, _basis(store, options))
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


def _check(options: RunOptions, settings: LabelEfficiencySettings) -> None:
    require_group_disjoint(options)  # otherwise labels of the subjects who are tested on would decide the comparison
    if not settings.seeds or not settings.regimes or min(settings.labels, default=0) < 1:
        raise TrainingError(
            f"Expected one or more seeds, regimes and labels above 0, got {list(settings.seeds)}, "
            f"{list(settings.regimes)} and {list(settings.labels)}: name others."
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


def _basis(store: Store, options: RunOptions) -> str:
    """Returns a hash of the encoder, the slices and what is known of them: results of another are no results here."""
    encoder_sha256 = sha256_of(options.run / "pretrain" / ENCODER_FILE)
    digest = hashlib.sha256(f"{encoder_sha256} {options.preparation}".encode())
    for record in store.records:
        digest.update(f"{record.name}\t{record.disease}\t{record.label}\t{record.group_key}\t{record.split}\n".encode())
    for start in range(0, len(store.records), _CHUNK):
        digest.update(store.batch(range(len(store.records))[start : start + _CHUNK]).data)
    return digest.hexdigest()


def _all_fits(settings: LabelEfficiencySettings) -> list[Fit]:
    """Returns every fit of the comparison, the quickest first."""
    arms = [(PIXELS, BASELINE), *((encoder, own) for own in settings.regimes for encoder in (SIMCLR, RANDOM))]
    return [Fit(*arm, labels, seed) for arm in arms for seed in settings.seeds for labels in settings.labels]


def _predictions(
    options: RunOptions, settings: LabelEfficiencySettings, experiment: Experiment, pretrained: Encoder, basis: str
) -> dict[Fit, Predictions]:
    """Returns what each fit predicts; each is kept in a file named after all that it depends on."""

    def encoder_of(name: str, seed: int) -> Encoder:
        return untrained_encoder(experiment, pretrained.architecture, seed) if name == RANDOM else pretrained

    @lru_cache(maxsize=1)
    def features(name: str, seed: int) -> Features:
        return features_of(experiment, encoder_of(name, seed))

    def predict(fit: Fit, folder: Path) -> Predictions:
        rows = sample_labels(experiment.train, fit.labels, fit.seed)
        if fit.regime == BASELINE:
            return pixels_baseline(experiment, rows)
        seed = fit.seed if fit.encoder == RANDOM else 0
        if fit.regime == PROBE:
            return probe(experiment, features(fit.encoder, seed), rows)
        encoder = encoder_of(fit.encoder, seed)
        return fine_tune(experiment, encoder, rows, folder, _finetune_settings(settings, fit))

    found = {}
    for fit in _all_fits(settings):
        own = _finetune_settings(settings, fit) if fit.regime == FINETUNE else ""
        name = "-".join(map(str, fit)) + "-" + hashlib.sha256(f"{basis} {fit} {own}".encode()).hexdigest()[:24]
        path = options.run / FOLDER / f"{name}.npz"
        if not path.exists():
            started = time.perf_counter()
            write_arrays(path, predict(fit, path.with_suffix("")))
            print(
                f"{fit.encoder}, {fit.regime}, {fit.labels} labels, seed {fit.seed}: "
                f"{time.perf_counter() - started:.1f} s",
                flush=True,
            )
        found[fit] = read_arrays(path)
    return found


def _finetune_settings(settings: LabelEfficiencySettings, fit: Fit) -> FinetuneSettings:
    return FinetuneSettings(
        labels_per_class=fit.labels, epochs=settings.finetune_epochs, seed=fit.seed, device=settings.device
    )


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
