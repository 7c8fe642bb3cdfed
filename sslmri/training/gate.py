"""The step `bank`: fits the gate of a run's model again and measures it."""

from sslmri.cohorts.protocols import EVIDENCE_FOLDERS
from sslmri.cohorts.store import open_store
from sslmri.gate.fit import build_bank
from sslmri.gate.measure import measure_gate
from sslmri.models.bank import save_bank
from sslmri.models.evidence import GateTable, write_evidence
from sslmri.models.folder import replaced, write_model_file
from sslmri.training.options import RunOptions
from sslmri.training.steps import open_run


def run_bank(options: RunOptions) -> GateTable:
    """Builds the bank of the run's model, measures its gate and writes ``evidence/gate.json``.

    Raises:
        SslmriError: the data or the model is at fault, or it was trained on what it would be tested on.
    """
    model, (records, store) = open_run(options)
    bank = build_bank(model, store)
    with replaced(model.card.folder) as new:
        save_bank(new, bank)
        write_model_file(new, model.card.name, model.card.training, model.card.created, model.card.evidence_note)
    inside = {record.cohort for record in store.records}
    others = [record for record in records if record.cohort not in inside]
    outside = open_store(others, model.card.encoder.preparation, options.cache) if others else store.select([])
    table = measure_gate(model, bank, store, outside)
    write_evidence(model.card.folder / EVIDENCE_FOLDERS[options.protocol], table)
    return table
