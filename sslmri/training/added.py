"""Adds a classifier to a model, on the frozen encoder of that model: everything else of it stays as it is."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.protocols import GROUP_DISJOINT
from sslmri.cohorts.store import Store
from sslmri.diseases import get_disease
from sslmri.errors import TrainingError
from sslmri.files import write_json
from sslmri.gate.fit import extend_bank
from sslmri.learning.model import Model, head_path, save_head
from sslmri.learning.precision import with_precision
from sslmri.learning.settings import FinetuneSettings
from sslmri.models.bank import FeatureBank, save_bank
from sslmri.models.cards import Counts, ModelCard, TrainingData
from sslmri.models.evidence import Controls, GateTable, Metrics, find_evidence
from sslmri.models.folder import EVIDENCE, MODEL, MODEL_FILE, find_model, replaced, write_model_file
from sslmri.models.history import created_now
from sslmri.training.data import (
    hash_of,
    open_cohort,
    prepared,
    require_empty_run,
    require_group_disjoint,
    thin_validation,
    training_data,
)
from sslmri.training.fit import fit_heads, write_head_cards
from sslmri.training.options import RunOptions
from sslmri.training.start import check_unseen


def add_classifier(options: RunOptions, settings: FinetuneSettings, key: str, start: Path | None) -> None:
    """Trains a classifier on the frozen encoder of a model, and writes the model of the run: that model with it.

    A free encoder would change what the other classifiers answer. Their files are copied; the gate learns one disease
    more. A classifier that the model has for the disease is replaced, and its results go. Slices are prepared as for
    the model, and the classifier is a linear probe.

    Raises:
        SslmriError: the data, the folder or the training is at fault, or the model may have seen what is held out.
    """
    require_empty_run(options.run, [], is_resumed=False)
    require_group_disjoint(options)
    model = _open_model(start)
    card, options = model.card, replace(options, preparation=model.card.encoder.preparation)
    records = [record for record in open_cohort(options).used if record.disease]
    check_unseen(card.folder, card.encoder.data, card.training, [records], options.protocol)
    title, own = get_disease(key).title, [record for record in records if record.disease == key]
    if not own:
        raise TrainingError(f"Expected labelled slices of {title}, got none: name data that have some.")
    store = prepared(options, own)
    for sentence in thin_validation(store):
        print(sentence)
    stride = card.encoder.architecture.output_stride
    settings = replace(with_precision(settings), regime="linear-probe", output_stride=stride)
    fitted = fit_heads(options, model.encoder, store, settings)
    named = options.run.name, _training(card, store, records), created_now(), _note(card, title)
    with replaced(options.run / MODEL, is_kept=False) as new:
        _copy(card, new, key)
        save_head(head_path(new, key), fitted.heads[key])
        write_head_cards(new, fitted, store.records, settings)
        if bank := FeatureBank.of(card):
            save_bank(new, extend_bank(model, bank, store))
        write_model_file(new, *named)


def _open_model(start: Path | None) -> Model:
    if start is None or not (find_model(start) / MODEL_FILE).exists():
        raise TrainingError(f"Expected a model to add a classifier to, got {start or 'none'}: name one with --start.")
    model = Model.load(start)
    if (got := model.card.training.protocol) != GROUP_DISJOINT:
        raise TrainingError(f"Expected a {GROUP_DISJOINT} model, got {start}, which is {got}: name another --start.")
    return model


def _note(card: ModelCard, title: str) -> str:
    """Returns what a reader of the results must know: what the model says already, and where the classifier is from."""
    note = (
        f"The classifier of {title} was added to the model {card.name} ({card.sha256[:12]}) and trained on its frozen "
        f"encoder, which had learned from {', '.join(card.training.cohorts)}; its results are of test patients of its "
        "own data."
    )
    return f"{card.evidence_note or ''} {note}".strip()


def _training(card: ModelCard, store: Store, records: Sequence[Record]) -> TrainingData:
    """Returns what the classifiers learned from, with the hash of the groups that train now: others may be tested."""
    former, own = card.training, training_data(store.where(split="train"), GROUP_DISJOINT)
    counts = Counts(former.counts.groups + own.counts.groups, former.counts.slices + own.counts.slices)
    groups = hash_of(record for record in records if record.split == "train")
    return replace(own, groups_sha256=groups, counts=counts, cohorts=former.cohorts | own.cohorts)


def _copy(card: ModelCard, new: Path, key: str) -> None:
    """Copies the files of a model and its evidence, without the results of a classifier that is replaced."""
    shutil.rmtree(new / EVIDENCE, ignore_errors=True)  # of the model that the run had
    for name in card.files:
        (new / name).parent.mkdir(exist_ok=True)
        shutil.copy2(card.folder / name, new / name)
    if not (card.folder / EVIDENCE).exists():
        return
    shutil.copytree(card.folder / EVIDENCE, new / EVIDENCE)
    if key not in card.heads:
        return
    (new / EVIDENCE / GateTable.FILE).unlink(missing_ok=True)
    for kind in (Metrics, Controls):
        if find_evidence(card, kind):
            content = json.loads((new / EVIDENCE / kind.FILE).read_bytes())
            content["diseases"].pop(key, None)
            write_json(new / EVIDENCE / kind.FILE, content)
