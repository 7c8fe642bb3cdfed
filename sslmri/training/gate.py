"""The step `bank`: fits the gate of a run's model again and measures it."""

from pathlib import Path

from sslmri.cohorts.splits import EVIDENCE_FOLDERS
from sslmri.cohorts.store import open_store
from sslmri.errors import ModelError
from sslmri.gate.fit import build_bank
from sslmri.gate.measure import measure_gate
from sslmri.learning.model import Model
from sslmri.models.bank import FeatureBank, save_bank
from sslmri.models.cards import BANK_CARD, BANK_FILE, MODEL_FILE, ModelCard, write_model_file
from sslmri.models.evidence import GateTable, write_evidence
from sslmri.training.data import RunOptions, check_no_leakage, open_cohort


def run_bank(options: RunOptions) -> GateTable:
    """Builds the bank of the run's model, measures its gate and writes ``evidence/gate.json``.

    Raises:
        SslmriError: the data or the model is at fault, or it was trained on what it would be tested on.
    """
    model = Model.load(options.run)
    records, store = open_cohort(options)
    check_no_leakage(model.card, store, options.protocol)
    write_bank(model.card, build_bank(model, store))
    bank = FeatureBank.load(options.run)  # what is measured is what is stored
    if bank is None:
        raise ModelError(f"Expected a feature bank in {options.run}, got none: run `python train.py bank` again.")
    inside = {record.cohort for record in store.records}
    others = [record for record in records if record.cohort not in inside]
    outside = open_store(others, options.preparation, options.cache) if others else store.select([])
    table = measure_gate(model, bank, store, outside)
    write_evidence(options.run / EVIDENCE_FOLDERS[options.protocol], table)
    return table


def write_bank(card: ModelCard, bank: FeatureBank) -> None:
    """Writes a bank into the folder of its model and lists it in ``model.json``."""
    (card.folder / MODEL_FILE).unlink()  # from here to the end the folder is no model
    save_bank(card.folder, bank)
    write_model_file(card.folder, card.name, card.training, card.created)


def drop_bank(folder: Path) -> None:
    """Removes the bank of an earlier model of the run."""
    for name in (BANK_FILE, BANK_CARD):
        (folder / name).unlink(missing_ok=True)
