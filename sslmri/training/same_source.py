"""Measures tumour or none on slices of the same patients and scanners, of a cohort with lesion annotations only."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from sslmri.cohorts.folds import LOCALISATION_USE, NEGATIVES_DISEASE, NEGATIVES_FILE
from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.cohorts.protocols import EVIDENCE_FOLDERS, GROUP_DISJOINT
from sslmri.cohorts.splits import assign_splits
from sslmri.cohorts.store import open_store
from sslmri.errors import ManifestError, ModelError, TrainingError
from sslmri.evidence.same_source import same_source
from sslmri.learning.model import Model, calibrated
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Controls, find_evidence, write_evidence
from sslmri.models.metrics import SameSource
from sslmri.text import printable_line
from sslmri.training.options import RunOptions

COHORT = "tcga_lgg"


def run_same_source(options: RunOptions) -> Controls:
    """Measures the run's model on a cohort it was never trained on and adds the result to its stored controls.

    Raises:
        SslmriError: the model has no controls or was trained on the cohort, or there is nothing to measure on.
    """
    model = Model.load(options.run)
    controls = find_evidence(model.card, Controls)
    if controls is None:
        raise ModelError(f"Expected stored controls of {options.run}, got none: run `python train.py controls` first.")
    if options.data is None:
        raise TrainingError(f"Expected --data with {NEGATIVES_FILE} next to the manifest, got none: name the manifest.")
    if COHORT in trained_cohorts(model.card):
        raise TrainingError(f"Expected a model that was not trained on {COHORT}, got one that was: run `controls`.")
    measured = measure_same_source(model, read_manifest(options.data), options)
    if measured is None:
        raise TrainingError(
            f"Expected {NEGATIVES_FILE} next to {options.data} and marked slices of {COHORT}, got none."
        )
    controls = replace(controls, same_source=measured)
    write_evidence(model.card.folder / EVIDENCE_FOLDERS[GROUP_DISJOINT], controls)
    return controls


def measure_same_source(model: Model, records: list[Record], options: RunOptions) -> SameSource | None:
    """Returns the tumour classifier's AUROC on marked and unmarked slices of one cohort, None where these are missing.

    Groups that the model was trained or validated on are left out.

    Args:
        model: to be measured.
        records: of the manifest.
        options: of the run; the manifest names the folder of ``NEGATIVES_FILE``.
    """
    marked = [record for record in records if record.cohort == COHORT and record.use == LOCALISATION_USE]
    path = (options.data or Path()).parent / NEGATIVES_FILE
    if NEGATIVES_DISEASE not in model.heads or not marked or options.data is None or not path.is_file():
        print(f"tumour or none on the same patients: not measured, no {NEGATIVES_FILE} or no marked slices")
        return None
    trained = _trained_groups(records, options) if COHORT in trained_cohorts(model.card) else set()
    chosen = [record for record in [*marked, *_negatives(path)] if record.group_key not in trained]
    if not chosen:
        print(f"tumour or none on the same patients: not measured, all patients of {COHORT} were trained on")
        return None
    store = open_store(chosen, model.card.encoder.preparation, options.cache)
    for name, reason in store.bad:
        print(printable_line(f"left out: {name}: {reason}"))
    logits = model.logits(store.slices)[NEGATIVES_DISEASE].astype(np.float64)
    probabilities = calibrated(logits, model.card.heads[NEGATIVES_DISEASE].calibration_temperature)
    has_lesion = np.array([record.use == LOCALISATION_USE for record in store.records])
    return same_source(NEGATIVES_DISEASE, COHORT, 1 - probabilities[:, 0], has_lesion, store.groups)


def trained_cohorts(card: ModelCard) -> set[str]:
    """Returns the cohorts that a model was pre-trained or trained on."""
    return {*card.encoder.data.cohorts, *card.training.cohorts}


def _trained_groups(records: list[Record], options: RunOptions) -> set[str]:
    split = assign_splits(records, options.split_seed, options.protocol)
    return {record.group_key for record in split if record.split in ("train", "validation")}


def _negatives(path: Path) -> list[Record]:
    """Returns the slices without a lesion, from a CSV file with the columns path and group."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"path", "group"} <= rows[0].keys():
        raise ManifestError(f"Expected the columns path and group in {path}, got others: correct the file.")
    return [Record(path.parent / row["path"], row["path"], COHORT, None, None, row["group"], None) for row in rows]
