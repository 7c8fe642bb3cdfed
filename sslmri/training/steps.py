"""Pre-train, fine-tune, evaluate: each step reads and writes one run folder.

The folder is a model once ``model.json`` stands in it. Its ``pretrain/`` and ``finetune/`` hold what is needed to
resume and are not part of the model.
"""

import hashlib
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from sslmri.cohorts.store import Store
from sslmri.cohorts.summary import summarise
from sslmri.cohorts.terms import terms_of
from sslmri.diseases import DISEASES
from sslmri.errors import ModelError
from sslmri.evidence.evaluate import evaluate_disease, predictions_frame, write_evidence
from sslmri.evidence.floors import floor_probabilities
from sslmri.files import sha256_of, write_json
from sslmri.learning.cards import (
    ENCODER_CARD,
    ENCODER_FILE,
    HEADS,
    MODEL_FILE,
    EncoderCard,
    read_encoder_card,
    write_card,
    write_model_file,
)
from sslmri.learning.distributed import first_on_each_machine, joined_processes, process_index
from sslmri.learning.encoder import FEATURE_DIM, Encoder
from sslmri.learning.finetune import finetune
from sslmri.learning.labels import FinetuneSettings, class_indices
from sslmri.learning.model import Model, calibrated, load_encoder, rounded, save_encoder, save_weights
from sslmri.learning.pretrain import PretrainSettings, pretrain
from sslmri.learning.run import created_now, read_history, versions
from sslmri.training.data import RunOptions, check_fresh, check_unseen, open_cohort, side
from sslmri.training.heads import write_head_cards

PROTOCOL = "group-disjoint"
_STEPS = ("pretrain", "finetune")


def run_pretrain(options: RunOptions, settings: PretrainSettings) -> None:
    """Pre-trains on the training groups and writes ``pretrain/encoder.safetensors`` with its card.

    Raises:
        SslmriError: the data, the folder or the training is at fault.
    """
    folder = options.run / "pretrain"
    check_fresh(folder, options.resume)
    with joined_processes(settings.device):
        with first_on_each_machine():
            _, store = open_cohort(options)
        pool, validation = side(store, "train"), side(store, "validation")
        encoder = pretrain(pool, (pool, validation), options.preparation, folder, settings)
        if process_index() == 0:
            _write_encoder(folder, encoder, pool, options, settings)


def _write_encoder(
    folder: Path, encoder: Encoder, pool: Store, options: RunOptions, settings: PretrainSettings
) -> None:
    save_encoder(folder / ENCODER_FILE, encoder)
    knn = read_history(folder / "history.jsonl")[-1]["knn"]
    write_card(folder / ENCODER_CARD, _encoder_card(pool, options, settings, knn))
    write_json(folder / "groups.json", sorted({record.group_key for record in pool.records}))


def run_finetune(options: RunOptions, settings: FinetuneSettings) -> None:
    """Attaches heads to the run's pre-trained encoder, calibrates them on validation groups and writes the model.

    Raises:
        SslmriError: the data, the folder or the training is at fault.
    """
    folder, pretrained = options.run / "finetune", options.run / "pretrain"
    check_fresh(folder, options.resume)
    records, store = open_cohort(options)
    check_unseen(pretrained, store)
    labelled = store.select([row for row, record in enumerate(store.records) if record.disease])
    train, validation = side(labelled, "train"), side(labelled, "validation")
    start = load_encoder(pretrained / ENCODER_FILE)
    encoder, heads = rounded(*finetune(start, train, validation, options.preparation, folder, settings))
    (options.run / MODEL_FILE).unlink(missing_ok=True)  # from here to the end the folder is no model
    shutil.rmtree(options.run / HEADS, ignore_errors=True)
    save_weights(options.run, encoder, heads)
    card = replace(read_encoder_card(pretrained / ENCODER_CARD), preparation=options.preparation)
    write_card(options.run / ENCODER_CARD, card)
    write_head_cards(options.run, encoder, heads, validation, records, options.preparation, settings)
    training = {
        "protocol": PROTOCOL,
        "n_groups": len({record.group_key for record in train.records}),
        "n_slices": len(train.records),
        "cohorts": {cohort: terms_of(cohort) for cohort in sorted({record.cohort for record in train.records})},
    }
    write_model_file(options.run, options.run.name, training, created_now())


def run_evaluate(options: RunOptions) -> dict[str, Any]:
    """Evaluates the run's model on the test groups, beside its floors, and writes ``evidence/``.

    Returns:
        The results by disease, as in ``evidence/metrics.json``.

    Raises:
        SslmriError: the data or the model is at fault.
    """
    model = Model.load(options.run)
    if model.card.encoder.preparation != options.preparation:
        raise ModelError(
            f"Expected the preparation of the model, {model.card.encoder.preparation}: leave its flags out."
        )
    records, store = open_cohort(options)
    results, frames = {}, {}
    for key in model.card.heads:
        train, test = side(store, "train", key), side(store, "test", key)
        if not test.records:
            print(f"{key}: no test groups, not evaluated")
            continue
        probabilities = _probabilities(model, key, test)
        frames[key] = predictions_frame(test.records, probabilities, DISEASES[key])
        truth = class_indices(train, range(len(train.records)))
        floors = floor_probabilities(train.slices, truth, test.slices, probabilities.shape[1])
        results[key] = evaluate_disease(DISEASES[key], frames[key], floors)
    evidence = options.run / "evidence"
    write_evidence(evidence, results, frames, PROTOCOL, sha256_of(options.run / ENCODER_FILE), created_now())
    write_json(evidence / "data.json", summarise(records, options.preparation))
    for step in _STEPS:
        history = options.run / step / "history.jsonl"
        if history.exists():
            shutil.copyfile(history, evidence / f"{step}.jsonl")
    return results


def report(results: dict[str, Any]) -> str:
    """Returns the table that ``evaluate`` prints: each figure with its interval, its floors, groups and slices."""
    lines = ["| task | measure | model | 95 % interval | 1-NN on pixels | PCA + LR | majority | groups | slices |"]
    lines.append("|" + "---|" * 9)
    for key, result in results.items():
        title = DISEASES[key].title
        rows = [(title, "accuracy, slices", result["accuracy"], "accuracy", result)]
        rows.append((title, "AUROC any disease, slices", result["auroc"], "auroc", result))
        unit = f"AUROC any disease, {result['unit']}s"
        rows.append((title, unit, result["subject"]["auroc"], "subject_auroc", result))
        if result["types"]:
            types = result["types"]
            rows.append(
                (f"{title}, reference class left out", "accuracy, slices", types["accuracy"], "types_accuracy", types)
            )
        for name, measure, figure, floor, counted in rows:
            floors = (
                _number(result["floors"][kind][floor]) for kind in ("nearest_neighbour", "pca_logistic", "majority")
            )
            counts = f"{counted['n_groups']} | {counted['n_slices']}"
            lines.append(f"| {name} | {measure} | {_figure(figure)} | {' | '.join(floors)} | {counts} |")
    return "\n".join(lines)


def _figure(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return f"{_number(figure['raw'])} | {figure['reason']}"
    return f"{_number(figure['value'])} | {_number(figure['low'])} to {_number(figure['high'])}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _probabilities(model: Model, disease: str, test: Store) -> np.ndarray:
    """Returns the calibrated probabilities of one head: (N, C)."""
    logits = model.logits(test.slices)[disease].astype(np.float64)
    return calibrated(logits, model.card.heads[disease].calibration_temperature)


def _encoder_card(
    pool: Store, options: RunOptions, settings: PretrainSettings, knn: dict[str, float] | None
) -> EncoderCard:
    groups = sorted({record.group_key for record in pool.records})
    return EncoderCard(
        architecture="resnet50-1ch",
        feature_dim=FEATURE_DIM,
        preparation=options.preparation,
        pretraining=asdict(settings) | {"preparation": asdict(options.preparation)},
        knn=knn,
        cohorts=tuple(sorted({record.cohort for record in pool.records})),
        groups_sha256=hashlib.sha256("\n".join(groups).encode()).hexdigest(),
        n_groups=len(groups),
        n_slices=len(pool.records),
        versions=versions(),
        created=created_now(),
    )
