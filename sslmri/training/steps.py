"""Pre-train, fine-tune, evaluate: each step reads and writes one run folder.

The folder is a model once ``model.json`` stands in it. Its ``pretrain/`` and ``finetune/`` hold what is needed to
resume and are not part of the model.
"""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.registry import terms_of
from sslmri.cohorts.splits import AS_PUBLISHED, EVIDENCE_FOLDERS, shared_groups
from sslmri.cohorts.store import Store
from sslmri.cohorts.summary import summarise
from sslmri.diseases import DISEASES, class_title
from sslmri.errors import ModelError, TrainingError
from sslmri.evidence.baselines import baseline_probabilities
from sslmri.evidence.evaluate import evaluate_disease
from sslmri.evidence.predictions import predictions_frame, write_predictions
from sslmri.files import sha256_of, write_json
from sslmri.gate.fit import build_bank
from sslmri.learning.distributed import first_on_each_host, joined_processes, process_index
from sslmri.learning.encoder import Encoder
from sslmri.learning.finetune import finetune
from sslmri.learning.model import Model, calibrated, load_encoder, rounded, save_encoder, save_weights
from sslmri.learning.pretrain import pretrain
from sslmri.learning.settings import FinetuneSettings, PretrainSettings
from sslmri.models.cards import (
    ENCODER_CARD,
    ENCODER_FILE,
    HEADS,
    MODEL_FILE,
    EncoderCard,
    read_encoder_card,
    read_model_card,
    write_card,
    write_model_file,
)
from sslmri.models.evidence import Metrics, write_evidence
from sslmri.models.history import created_now, read_history, versions
from sslmri.models.metrics import DiseaseMetrics
from sslmri.training.data import (
    RunOptions,
    check_no_leakage,
    check_unseen,
    hash_name,
    hash_of,
    open_cohort,
    remember,
    require_empty_run,
)
from sslmri.training.gate import drop_bank, write_bank
from sslmri.training.heads import look, with_biases, write_head_cards

_STEPS = ("pretrain", "finetune")


def run_pretrain(options: RunOptions, settings: PretrainSettings) -> None:
    """Pre-trains on the training groups and writes ``pretrain/encoder.safetensors`` with its card.

    Raises:
        SslmriError: the data, the folder or the training is at fault.
    """
    folder = options.run / "pretrain"
    require_empty_run(folder, options.resume)
    with joined_processes(settings.device):
        with first_on_each_host():
            _, store = open_cohort(options)
        pool, validation = store.where(split="train"), store.where(split="validation")
        if process_index() == 0:
            remember(folder, pool, options.protocol)
        encoder = pretrain(pool, (pool, validation), options.preparation, folder, settings)
        if process_index() == 0:
            _write_encoder(folder, encoder, pool, options, settings)


def _write_encoder(
    folder: Path, encoder: Encoder, pool: Store, options: RunOptions, settings: PretrainSettings
) -> None:
    save_encoder(folder / ENCODER_FILE, encoder)
    knn = read_history(folder / "history.jsonl")[-1]["knn"]
    write_card(folder / ENCODER_CARD, _encoder_card(pool, options, settings, knn))


def run_finetune(options: RunOptions, settings: FinetuneSettings) -> None:
    """Attaches heads to the run's pre-trained encoder, calibrates them on validation groups and writes the model.

    Its feature bank is the last thing written; without it a model would answer whatever it is shown.

    Raises:
        SslmriError: the data, the folder or the training is at fault.
    """
    folder, pretrained = options.run / "finetune", options.run / "pretrain"
    require_empty_run(folder, options.resume)
    _, store = open_cohort(options)
    check_unseen(pretrained, store, options.protocol)
    labelled = store.labelled
    train, validation = labelled.where(split="train"), labelled.where(split="validation")
    remember(folder, train, options.protocol)
    for sentence in _thin_validation(train, validation):
        print(sentence)
    start = load_encoder(pretrained / ENCODER_FILE)
    encoder, heads = rounded(*finetune(start, train, validation, options.preparation, folder, settings))
    looks = look(encoder, heads, validation, options.preparation)
    heads = with_biases(heads, looks)
    (options.run / MODEL_FILE).unlink(missing_ok=True)  # from here to the end the folder is no model
    shutil.rmtree(options.run / HEADS, ignore_errors=True)
    save_weights(options.run, encoder, heads)
    pretraining_card = read_encoder_card(pretrained / ENCODER_CARD)
    card = replace(pretraining_card, architecture=encoder.architecture.name, preparation=options.preparation)
    write_card(options.run / ENCODER_CARD, card)
    write_head_cards(options.run, heads, looks, store.records, settings)
    training = {
        "protocol": options.protocol,
        hash_name(options.protocol): hash_of(train.records, options.protocol),
        "n_groups": len(set(train.groups)),
        "n_slices": len(train.records),
        "cohorts": {cohort: terms_of(cohort) for cohort in sorted({record.cohort for record in train.records})},
    }
    drop_bank(options.run)
    write_model_file(options.run, options.run.name, training, created_now())
    model = Model.load(options.run)
    write_bank(model.card, build_bank(model, store))


def run_evaluate(options: RunOptions, beside: Path | None = None) -> dict[str, DiseaseMetrics]:
    """Evaluates the run's model on the test side, beside its floors, and writes the evidence of its protocol.

    That of ``group-disjoint`` is in ``evidence/``, that of ``as-published`` in ``evidence/as-published/``.

    Args:
        options: of the run.
        beside: a model of the other protocol that also gets a copy of as-published evidence, to show both.

    Returns:
        The results by disease, as in ``metrics.json``.

    Raises:
        SslmriError: the data or the model is at fault, or it learned from what it would be tested on.
    """
    if beside is not None:
        _check_beside(options, beside)
    records, store, results, frames = measured(options)
    _write_evidence(options, results, frames, n_shared=len(shared_groups(store.records)))
    evidence = options.run / EVIDENCE_FOLDERS[options.protocol]
    write_json(evidence / "data.json", summarise(records, options.preparation))
    for step in _STEPS:
        history = options.run / step / "history.jsonl"
        if history.exists():
            shutil.copyfile(history, evidence / f"{step}.jsonl")
    if beside is not None:
        _copy_evidence(evidence, beside / EVIDENCE_FOLDERS[options.protocol])
    return results


def measured(options: RunOptions) -> tuple[list[Record], Store, dict[str, DiseaseMetrics], dict[str, pd.DataFrame]]:
    """Returns the cohort's records, its store, and by disease the results and predictions of the run's model.

    Raises:
        SslmriError: as ``run_evaluate``.
    """
    model = Model.load(options.run)
    if model.card.encoder.preparation != options.preparation:
        raise ModelError(f"Expected the preparation of the model, {model.card.encoder.preparation}: give its flags.")
    records, store = open_cohort(options)
    check_no_leakage(model.card, store, options.protocol)
    results, frames = {}, {}
    for key in model.card.heads:
        if not store.where(split="test", disease=key).records:
            print(f"{key}: no test groups, not evaluated")
            continue
        results[key], frames[key] = _evaluate_head(model, key, store, options)
    if not results:
        raise TrainingError(
            f"Expected test groups of {', '.join(model.card.heads)}, got none of any: a class needs two groups or more "
            "to be tested, or a fold 0."
        )
    return records, store, results, frames


def _evaluate_head(model: Model, key: str, store: Store, options: RunOptions) -> tuple[DiseaseMetrics, pd.DataFrame]:
    """Returns the evidence of one head on its test side, and its predictions."""
    train, test = store.where(split="train", disease=key), store.where(split="test", disease=key)
    probabilities = _probabilities(model, key, test)
    frame = predictions_frame(test.records, probabilities, DISEASES[key])
    truth = train.truth
    head = model.card.heads[key]
    result = evaluate_disease(
        DISEASES[key],
        frame,
        baseline_probabilities(train.slices, truth, test.slices, probabilities.shape[1]),
        thresholds=(head.threshold_low, head.threshold_high),
        set_thresholds=head.set_thresholds,
        is_shared=options.protocol == AS_PUBLISHED,
    )
    return replace(result, n_shared_groups=len(shared_groups(store.records, key))), frame


def _write_evidence(
    options: RunOptions, results: dict[str, DiseaseMetrics], frames: dict[str, pd.DataFrame], n_shared: int
) -> None:
    """Writes predictions and metrics; the metrics come last, so that what they name is there."""
    folder = options.run / EVIDENCE_FOLDERS[options.protocol]
    for key, frame in frames.items():
        write_predictions(folder, key, frame)
    metrics = Metrics(
        protocol=options.protocol,
        created=created_now(),
        encoder_sha256=sha256_of(options.run / ENCODER_FILE),
        n_shared_groups=n_shared,
        diseases=results,
    )
    write_evidence(folder, metrics)
    n_groups = len({group for frame in frames.values() for group in frame["group"]})
    print(f"Protocol {options.protocol}: {n_shared} of {n_groups} test groups are also in the training split")


def _check_beside(options: RunOptions, beside: Path) -> None:
    """Refuses to put evidence beside a model whose own it would replace."""
    if options.protocol != AS_PUBLISHED:
        raise TrainingError(
            f"Expected --beside with --protocol {AS_PUBLISHED}, got {options.protocol}: evaluate that model itself."
        )
    own = read_model_card(beside).training.get("protocol")
    if own == AS_PUBLISHED:
        raise TrainingError(
            f"Expected a model of another protocol in {beside}, got one of {own}, which has such evidence of its own: "
            "name a group-disjoint model."
        )


def _copy_evidence(source: Path, target: Path) -> None:
    """Puts a copy of the evidence in the place of the target, whole or not at all."""
    fresh = target.with_name(f".{target.name}-new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(source, fresh)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def _thin_validation(train: Store, validation: Store) -> list[str]:
    """Returns a sentence for each disease whose validation side has nothing to tell apart."""
    sentences = []
    for key, disease in DISEASES.items():
        if not any(record.disease == key for record in train.records):
            continue
        seen = {record.label for record in validation.records if record.disease == key}
        if len(seen) < 2:
            named = " and ".join(class_title(str(label)) for label in seen) or "no class"
            sentences.append(
                f"{disease.title}: the validation side shows {named} only, two are needed: this head counts for no "
                "choice of epoch, and its probabilities are not calibrated."
            )
    return sentences


def _probabilities(model: Model, disease: str, test: Store) -> np.ndarray:
    """Returns the calibrated probabilities of one head: (N, C)."""
    logits = model.logits(test.slices)[disease].astype(np.float64)
    return calibrated(logits, model.card.heads[disease].calibration_temperature)


def _encoder_card(
    pool: Store, options: RunOptions, settings: PretrainSettings, knn: dict[str, float] | None
) -> EncoderCard:
    learned_from: dict[str, Any] = {"protocol": options.protocol}
    if options.protocol == AS_PUBLISHED:
        learned_from[hash_name(AS_PUBLISHED)] = hash_of(pool.records, AS_PUBLISHED)
    return EncoderCard(
        architecture=settings.architecture.name,
        feature_dim=settings.architecture.feature_dim,
        preparation=options.preparation,
        pretraining=asdict(settings) | {"preparation": asdict(options.preparation), **learned_from},
        knn=knn,
        cohorts=tuple(sorted({record.cohort for record in pool.records})),
        groups_sha256=hash_of(pool.records),
        n_groups=len(set(pool.groups)),
        n_slices=len(pool.records),
        versions=versions(),
        created=created_now(),
    )
