"""The predictions of a classifier on test slices: one CSV file per disease, and their curves."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from sslmri.cohorts.manifest import Record
from sslmri.diseases import Disease
from sslmri.errors import ModelError
from sslmri.evidence.sample import ratio
from sslmri.files import write_atomically

_TEXT_COLUMNS = ("name", "cohort", "group", "label", "predicted")
CURVE_COLUMNS = ("label", "false_positive_rate", "true_positive_rate", "precision", "threshold")
_ONE = 1 + 1e-6  # a softmax in float32 may end a rounding above 1
_ADVICE = "run `python train.py evaluate` again"


def predictions_frame(records: Sequence[Record], probabilities: np.ndarray, disease: Disease) -> pd.DataFrame:
    """Returns one row per slice: name, cohort, group, label, predicted, then the probability of each class."""
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
    path, classes = _path(folder, disease.key), list(disease.classes)
    types = dict.fromkeys(_TEXT_COLUMNS, str) | dict.fromkeys(classes, float)
    try:
        frame = pd.read_csv(path, dtype=types, keep_default_na=False)
        labels, probabilities = frame[["label", "predicted"]], frame[classes].to_numpy()
    except OSError as error:
        raise ModelError(f"Expected predictions in {path}, got no such file: {_ADVICE}.") from error
    except (KeyError, ValueError) as error:
        raise _other_content(path, disease) from error
    is_possible = (probabilities >= 0) & (probabilities <= _ONE)
    if [*frame] != [*types] or not labels.isin(classes).all(axis=None) or not is_possible.all():
        raise _other_content(path, disease)
    return frame


def _other_content(path: Path, disease: Disease) -> ModelError:
    columns = ", ".join([*_TEXT_COLUMNS, *disease.classes])
    return ModelError(f"Expected predictions with the columns {columns} in {path}, got something else: {_ADVICE}.")


def _path(folder: Path, disease: str) -> Path:
    return folder / f"predictions-{disease}.csv"


def roc_curves(frame: pd.DataFrame, disease: Disease) -> pd.DataFrame:
    """Returns the ROC and the precision-recall curve of each class against the rest, a row for each threshold.

    Columns label, both rates, precision and threshold; recall is the true positive rate. Classes without a test
    slice, or without any other, have no curve. In the first point nothing is called positive: its threshold is 1 and
    its precision, of nothing, 1 by convention.
    """
    parts = []
    for label in disease.classes:
        is_label = (frame["label"] == label).to_numpy()
        if is_label.all() or not is_label.any():
            continue
        score = frame[label].to_numpy(dtype=float)
        # every threshold: between two points of a ROC curve, precision is no straight line
        false_rate, true_rate, threshold = roc_curve(is_label, score, drop_intermediate=False)
        hits, misses = true_rate * is_label.sum(), false_rate * (~is_label).sum()
        values = (label, false_rate, true_rate, ratio(hits, hits + misses, 1.0), threshold.clip(max=1.0))
        parts.append(pd.DataFrame(dict(zip(CURVE_COLUMNS, values, strict=True))))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(CURVE_COLUMNS))
