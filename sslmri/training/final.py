"""The final model: the cross-validated recipe, trained on every group, with the results of the folds."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.protocols import EVIDENCE_FOLDERS, GROUP_DISJOINT
from sslmri.cohorts.regions import has_region
from sslmri.cohorts.splits import LOCALISATION_USE
from sslmri.cohorts.store import Store
from sslmri.cohorts.summary import summarise
from sslmri.files import write_json
from sslmri.gate.measure import measure_gate
from sslmri.learning.model import Model
from sslmri.learning.precision import with_precision
from sslmri.learning.settings import FinetuneSettings, PretrainSettings
from sslmri.models.bank import FeatureBank
from sslmri.models.evidence import Controls, write_evidence
from sslmri.text import count
from sslmri.training.controls import Marked, measure_controls
from sslmri.training.crossvalidation import (
    FOLDS,
    START,
    check_settings,
    folds_of,
    pretrained_start,
    read_folds,
)
from sslmri.training.data import hash_of, open_folds, require_group_disjoint
from sslmri.training.fit import fit_model
from sslmri.training.measure import Results, answer_folds, measure
from sslmri.training.options import RunOptions
from sslmri.training.steps import copy_histories, open_outside, write_results

_GATE_RULE = (
    "Measured slice by slice on the first fold, from which the gate takes its thresholds and not its rules, on cohorts "
    "that are in no fold, and on synthetic images that are not brain MRI, drawn with another seed. The encoder learned "
    "from all folds."
)


def run_final(
    options: RunOptions, pretraining: PretrainSettings, finetuning: FinetuneSettings
) -> tuple[Results, Controls]:
    """Trains the recipe of the run's folds on all groups, writes the model with their results, and returns these.

    Raises:
        SslmriError: the data or the folder is at fault, no fold was trained, or one by another recipe.
    """
    require_group_disjoint(options)
    pretraining, finetuning = with_precision(pretraining), with_precision(finetuning)
    records, store = open_folds(options)
    predictions = read_folds(options.run, store)
    trained = sorted(set(predictions.folds.tolist()))
    check_settings(options, pretraining, finetuning)
    start = pretrained_start(options, replace(options, resume=True), pretraining, store)
    unlabelled = [record for record in store.records if record.disease is None]
    is_of_these = hash_of(unlabelled) == start.card.data.groups_sha256  # pre-trained on the slices without a label
    seen = {record.group_key for record in unlabelled} if is_of_these else set()
    note = evidence_note(trained, folds_of(store), seen & set(predictions.slices.groups.tolist()))
    note = f"{note} {start.card.start}".strip()
    gate = _with_first_fold_as("validation", store)
    fit_model(options, start, store, finetuning, predictions, gate, note)
    model = Model.load(options.run)
    folder = model.card.folder / EVIDENCE_FOLDERS[GROUP_DISJOINT]
    tested = answer_folds(predictions, store)
    results, frames = measure(tested, store)
    write_results(folder, model, predictions.slices, results, frames, GROUP_DISJOINT)
    models = {fold: Model.load(options.run / FOLDS / str(fold)) for fold in trained}
    annotated = [record for record in records if record.use == LOCALISATION_USE and record.fold is None]
    marked = {key: _marked(key, [*predictions.slices.records, *annotated], models) for key in tested.heads}
    controls = measure_controls(model, tested, store, start.encoder, marked)
    write_evidence(folder, controls)
    bank, outside = FeatureBank.of(model.card), open_outside(options, records, store)
    assert bank is not None
    write_evidence(folder, measure_gate(model, bank, _with_first_fold_as("test", store), outside, _GATE_RULE))
    write_json(folder / "data.json", summarise([replace(r, split=None) for r in records], options.preparation))
    shared = options.run / START / "pretrain"
    copy_histories(folder, shared if shared.exists() else options.run / "pretrain", options.run / "finetune")
    return results, controls


def _marked(key: str, records: Sequence[Record], models: Mapping[int, Model]) -> Marked:
    """Returns the model of each fold with the records of a disease, with a lesion annotated, that it is measured on.

    They are those of its fold, and of no fold for the first model.
    """
    first, own = min(models), [record for record in records if record.disease == key and has_region(record)]
    return [
        (model, [r for r in own if (first if r.fold is None else r.fold) == fold]) for fold, model in models.items()
    ]


def evidence_note(trained: list[int], folds: list[int], seen: Collection[str] = ()) -> str:
    """Returns what a reader must know of results that were measured on other models than the one they describe.

    Trained are the folds that were left out in turn, seen the tested groups of which pre-training saw other slices.
    """
    if len(trained) == 1:
        models = f"one model, trained the same way without fold {trained[0]}"
    else:
        models = f"{len(trained)} models, each trained the same way without one fold"
    missing = [str(fold) for fold in folds if fold not in trained]
    text = f"These results are of {models}, and measured on that fold; this model learned from all groups."
    if seen:
        text += f" Pre-training saw other slices of {count(len(seen), 'test group')}, without labels."
    return text if not missing else f"{text} Folds not measured: {', '.join(missing)}."


def _with_first_fold_as(split: Literal["validation", "test"], store: Store) -> Store:
    """Returns the store with the slices of the first fold in a split: they set the gate's thresholds."""
    first = folds_of(store)[0]
    records = [replace(record, split=split) if record.fold == first else record for record in store.records]
    return replace(store, records=records)
