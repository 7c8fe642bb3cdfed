"""Pre-train, fine-tune, evaluate, fit the gate: each step works on the data of a run and writes into its run folder."""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.protocols import AS_PUBLISHED, EVIDENCE_FOLDERS, Protocol
from sslmri.cohorts.splits import shared_groups
from sslmri.cohorts.store import Store
from sslmri.cohorts.summary import DATA_FILE, summarise, with_others
from sslmri.errors import ModelError, TrainingError
from sslmri.evidence.predictions import write_predictions
from sslmri.files import write_atomically, write_json
from sslmri.gate.fit import build_bank
from sslmri.gate.measure import measure_gate
from sslmri.learning.distributed import first_on_each_host, joined_processes, process_index
from sslmri.learning.finetune import LATE
from sslmri.learning.model import Model, save_encoder
from sslmri.learning.precision import with_precision
from sslmri.learning.pretrain import pretrain
from sslmri.learning.settings import FinetuneSettings, PretrainSettings
from sslmri.models.bank import save_bank
from sslmri.models.cards import EncoderCard, ModelCard, recorded
from sslmri.models.evidence import GateTable, Metrics, find_evidence, write_evidence
from sslmri.models.folder import (
    ENCODER_CARD,
    ENCODER_FILE,
    read_model_card,
    replaced,
    write_card,
    write_model_file,
)
from sslmri.models.history import created_now, read_history, versions
from sslmri.text import printable_line
from sslmri.training.data import (
    Cohort,
    check_no_leakage,
    open_cohort,
    prepared,
    require_empty_run,
    thin_validation,
    training_data,
)
from sslmri.training.fit import fit_model
from sslmri.training.measure import Results, answer_split, measure
from sslmri.training.options import RunOptions
from sslmri.training.start import continued, open_start


def run_all(
    options: RunOptions, pretraining: PretrainSettings, finetuning: FinetuneSettings, start: Path | None = None
) -> Results:
    """Pre-trains, unless a start is given, fine-tunes and evaluates on data opened once; returns results by disease.

    Raises:
        SslmriError: as the steps.
    """
    pretraining, finetuning = with_precision(pretraining), with_precision(finetuning)
    cohort = open_cohort(options)
    if start is None:
        run_pretrain(options, pretraining, cohort.store)
    run_finetune(options, finetuning, cohort, start)
    return run_evaluate(options, cohort=cohort)


def run_pretrain(
    options: RunOptions,
    settings: PretrainSettings,
    store: Store | None = None,
    start: Path | None = None,
    has_events: bool = False,
) -> None:
    """Pre-trains on the training split of a store, and writes ``pretrain/encoder.safetensors`` with its card.

    The store is the run's own where none is given. A start is a model or weights to continue from, as in
    ``run_finetune``. With events, TensorBoard's are written into ``pretrain/tensorboard`` too.

    Raises:
        SslmriError: the data, the folder, the start or the training is at fault.
    """
    folder, settings = options.run / "pretrain", with_precision(settings)
    require_empty_run(options.run, ["pretrain/checkpoint.pt"], options.resume)
    with joined_processes(settings.device):
        with first_on_each_host():
            store = store or open_cohort(options).store
        records = [*store.records, *(record for record, _ in store.bad)]
        former = continued(start, options, records) if start else None
        if former and process_index() == 0:
            print(printable_line(former.card.start))
        begun = (former.encoder, former.card.start) if former else None
        train, validation = store.where(split="train"), store.where(split="validation")
        encoder = pretrain(train, (train, validation), options.preparation, folder, settings, begun, has_events)
        if process_index() > 0:
            return
    save_encoder(folder / ENCODER_FILE, encoder)
    data = training_data(train, options.protocol)
    pretraining = recorded(replace(settings, architecture=encoder.architecture))
    if former:
        data = replace(data, cohorts=former.card.data.cohorts | data.cohorts)
        pretraining |= {"start": former.card.start}
    card = EncoderCard(
        architecture=encoder.architecture,
        preparation=options.preparation,
        pretraining=pretraining | {"preparation": recorded(options.preparation)},
        data=data,
        knn=read_history(folder / "history.jsonl")[-1]["knn"],
        versions=versions(),
        created=created_now(),
    )
    write_card(folder / ENCODER_CARD, card)


def run_finetune(
    options: RunOptions, settings: FinetuneSettings, cohort: Cohort | None = None, start: Path | None = None
) -> None:
    """Attaches heads to the run's pre-trained encoder, calibrates them on validation groups and writes the model.

    The model is built aside, with the gate that decides which scans it may answer, and appears whole. A start is a
    model or weights that become the run's pre-trained encoder.

    Raises:
        SslmriError: the data, the folder or the training is at fault.
    """
    settings = with_precision(settings)
    require_empty_run(options.run, ["finetune/checkpoint.pt"], options.resume)
    cohort = cohort or open_cohort(options)
    pretrained = open_start(options, cohort.used, start)
    store = cohort.store
    for sentence in thin_validation(store.labelled):
        print(sentence)
    fit_model(options, pretrained, store, settings, gate=store, evidence_note=pretrained.card.start or None)


def run_evaluate(options: RunOptions, compare_to: Path | None = None, cohort: Cohort | None = None) -> Results:
    """Evaluates the run's model and its baselines on the test split, and writes the evidence of its protocol.

    That of ``group-disjoint`` is in ``evidence``, that of ``as-published`` in ``evidence/as-published``, of which a
    model of the other protocol, to compare with, gets a copy. Stored results of classifiers that these data do not test
    stay. Returns the results by disease, as in ``metrics.json``.

    Raises:
        SslmriError: the data or the model is at fault, or it was trained on what it would be tested on.
    """
    if compare_to is not None:
        compare_to = _comparable(options, compare_to)
    model, cohort = open_run(options, cohort)
    store = cohort.store
    results, frames = measure(answer_split(model, store), store, options.protocol)
    evidence = model.card.folder / EVIDENCE_FOLDERS[options.protocol]
    others = {key: result for key, result in _stored(model.card).items() if key not in results}
    summary = summarise(cohort.records, model.card.encoder.preparation)
    with suppress(OSError, ValueError, KeyError, TypeError):  # there is none, or it is damaged
        summary = with_others(summary, json.loads((evidence / DATA_FILE).read_bytes()), others)
    write_results(evidence, model, store, others | results, frames, options.protocol)
    write_json(evidence / DATA_FILE, summary)
    copy_histories(evidence, options.run / "pretrain", options.run / "finetune")
    if compare_to is not None:
        with replaced(compare_to / EVIDENCE_FOLDERS[options.protocol], is_kept=False) as new:
            shutil.copytree(evidence, new, dirs_exist_ok=True)
    return results


def _stored(card: ModelCard) -> Results:
    """Returns the stored results of the classifiers of a model, none where they are of others."""
    with suppress(ModelError):
        if found := find_evidence(card, Metrics):
            return {key: result for key, result in found.diseases.items() if key in card.heads}
    return {}


def copy_histories(evidence: Path, pretrain: Path, finetune: Path) -> None:
    """Copies the histories that pre-training and both phases of fine-tuning kept into the evidence."""
    for folder in (pretrain, finetune, finetune / LATE):
        if (folder / "history.jsonl").exists():
            write_atomically(evidence / f"{folder.name}.jsonl", partial(shutil.copyfile, folder / "history.jsonl"))


def write_results(
    evidence: Path, model: Model, store: Store, results: Results, frames: dict[str, pd.DataFrame], protocol: Protocol
) -> None:
    """Writes predictions and metrics; the metrics come last, so that what they name is there."""
    n_shared = len(shared_groups(store.records))
    for key, frame in frames.items():
        write_predictions(evidence, key, frame)
    metrics = Metrics(
        protocol=protocol,
        created=created_now(),
        encoder_sha256=model.card.files[ENCODER_FILE],
        n_shared_groups=n_shared,
        diseases=results,
    )
    write_evidence(evidence, metrics)
    if any(record.split == "test" for record in store.records):
        n_groups = len({group for frame in frames.values() for group in frame["group"]})
        print(f"Protocol {protocol}: {n_shared} of {n_groups} test groups are also in the training split")


def open_run(options: RunOptions, cohort: Cohort | None = None) -> tuple[Model, Cohort]:
    """Returns the model of a run and its data, prepared as for that model.

    Nothing that it was trained on is in the validation and test splits.

    Raises:
        SslmriError: the data or the model is at fault, or it was trained on what it would be tested on.
    """
    model = Model.load(options.run)
    cohort = cohort or open_cohort(replace(options, preparation=model.card.encoder.preparation))
    check_no_leakage(model.card, cohort.used, options.protocol)
    return model, cohort


def run_bank(options: RunOptions) -> GateTable:
    """Builds the bank of the run's model, measures its gate and writes ``evidence/gate.json``.

    Raises:
        SslmriError: the data or the model is at fault, or it was trained on what it would be tested on.
    """
    model, cohort = open_run(options)
    if missing := model.card.heads.keys() - {record.disease for record in cohort.used if record.split == "train"}:
        raise TrainingError(
            f"Expected training slices of all classifiers of the model, got none of {', '.join(sorted(missing))}: name "
            "the data of all, or keep the bank that it has."
        )
    bank = build_bank(model, cohort.store)
    with replaced(model.card.folder) as new:
        save_bank(new, bank)
        write_model_file(new, model.card.name, model.card.training, model.card.created, model.card.evidence_note)
    outside = open_outside(cohort.options, cohort.records, cohort.store)
    table = measure_gate(model, bank, cohort.store, outside)
    write_evidence(model.card.folder / EVIDENCE_FOLDERS[options.protocol], table)
    return table


def open_outside(options: RunOptions, records: Sequence[Record], store: Store) -> Store:
    """Returns the slices of the records whose cohorts are not in a store."""
    inside = {record.cohort for record in store.records}
    others = [record for record in records if record.cohort not in inside]
    return prepared(options, others) if others else store.select([])


def _comparable(options: RunOptions, compare_to: Path) -> Path:
    """Returns the folder of a model that as-published evidence may be copied to; refuses to replace a model's own."""
    if options.protocol != AS_PUBLISHED:
        raise TrainingError(
            f"Expected --compare-to with --protocol {AS_PUBLISHED}, got {options.protocol}: evaluate that model itself."
        )
    card = read_model_card(compare_to)
    if card.training.protocol == AS_PUBLISHED:
        raise TrainingError(
            f"Expected a group-disjoint model in {compare_to}, got one that is {AS_PUBLISHED}: its own evidence would "
            "be replaced."
        )
    return card.folder
