"""Measures the sequence of slices out of fold, by patient."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.metrics import confusion_matrix

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store
from sslmri.evidence.false_alarms import rate_of
from sslmri.models.evidence import SequenceMetrics
from sslmri.models.history import created_now
from sslmri.models.metrics import Rate
from sslmri.scans.scan import SEQUENCES
from sslmri.training.crossvalidation import fold_arrays, folds_of


def measure_sequences(run: Path, store: Store, encoder_sha256: str) -> SequenceMetrics | None:
    """Returns how often the trained folds' models predict the sequence of left-out slices correctly; None without any.

    Args:
        run: the run folder.
        store: all slices.
        encoder_sha256: of the model that the evidence is stored with.
    """
    found = [arrays for fold in folds_of(store) if (arrays := fold_arrays(run, fold)) and "sequence" in arrays]
    records = {record.name: record for record in store.records}
    tested = [records[name] for arrays in found for name in arrays["sequence_names"].tolist()]
    if not tested:
        return None
    predicted = np.concatenate([arrays["sequence"].argmax(axis=1) for arrays in found])
    truth = np.array([SEQUENCES.index(record.contrast) for record in tested])
    several = defaultdict(set)
    for record in tested:
        several[record.cohort].add(record.contrast)
    same = np.array([len(several[record.cohort]) > 1 for record in tested])
    matrix = confusion_matrix(truth, predicted, labels=range(len(SEQUENCES)))
    return SequenceMetrics(
        created=created_now(),
        encoder_sha256=encoder_sha256,
        names=SEQUENCES,
        accuracy=_rate(truth == predicted, tested),
        same_source=_rate((truth == predicted)[same], [r for r, is_same in zip(tested, same, strict=True) if is_same])
        if same.any()
        else None,
        confusion=tuple(tuple(int(count) for count in row) for row in matrix),
    )


def _rate(is_right: np.ndarray, records: list[Record]) -> Rate:
    cohorts, groups = (np.array([getattr(record, name) for record in records]) for name in ("cohort", "group_key"))
    return rate_of(is_right, cohorts, groups)
