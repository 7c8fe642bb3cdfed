"""The predictions of a classifier on test slices: one CSV file per disease."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from sslmri.cohorts.manifest import Record
from sslmri.diseases import Disease
from sslmri.errors import ModelError
from sslmri.files import write_atomically

_TEXT_COLUMNS = ("name", "cohort", "group", "label", "predicted")
_ONE = 1 + 1e-6  # a softmax in float32 may end a rounding above 1
_ADVICE = "run `python train.py evaluate` again"


def predictions_frame(records: Sequence[Record], probabilities: np.ndarray, disease: Disease) -> pd.DataFrame:
    """Returns one row per slice: name, cohort, group, label, predicted, then the probability of each class.

    Args:
        records: the N labelled records, one for each slice.
        probabilities: (N, C) in the order of the disease's classes.
        disease: of the classifier.
    """
    frame = pd.DataFrame(
        {
            "name": [record.name for record in records],
            "cohort": [record.cohort for record in records],
            "group": [record.group_key for record in records],
            "label": [record.label for record in records],
            "predicted": [disease.classes[index] for index in probabilities.argmax(axis=1)],
        }
    )
    return frame.assign(**{label: probabilities[:, index] for index, label in enumerate(disease.classes)})


def write_predictions(folder: Path, disease: str, frame: pd.DataFrame) -> None:
    """Writes predictions, whole or not at all."""
    write_atomically(_path(folder, disease), partial(frame.to_csv, index=False, lineterminator="\n"))


def read_predictions(folder: Path, disease: Disease) -> pd.DataFrame:
    """Returns the predictions of a disease, with the columns of ``predictions_frame``.

    Raises:
        ModelError: the file is missing, damaged, or of other classes.
    """
    path = _path(folder, disease.key)
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(_TEXT_COLUMNS, str), keep_default_na=False)
    except OSError as error:
        raise ModelError(f"Expected predictions in {path}, got no such file: {_ADVICE}.") from error
    except ValueError as error:
        raise ModelError(f"Expected a CSV file of predictions in {path}, got something else: {_ADVICE}.") from error
    expected = [*_TEXT_COLUMNS, *disease.classes]
    if list(frame.columns) != expected:
        got = ", ".join(map(str, frame.columns))
        raise ModelError(f"Expected the columns {', '.join(expected)} in {path}, got {got}: {_ADVICE}.")
    unknown = sorted({str(label) for label in [*frame["label"], *frame["predicted"]]} - set(disease.classes))
    if unknown:
        raise ModelError(
            f"Expected labels out of {', '.join(disease.classes)} in {path}, got {unknown[0]!r}: {_ADVICE}."
        )
    values = frame[list(disease.classes)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    if not ((values >= 0) & (values <= _ONE)).all():
        raise ModelError(f"Expected probabilities from 0 to 1 in {path}, got others: {_ADVICE}.")
    return frame.astype(dict.fromkeys(disease.classes, float))


def _path(folder: Path, disease: str) -> Path:
    return folder / f"predictions-{disease}.csv"
