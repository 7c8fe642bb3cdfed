"""The files in which evidence is kept: figures in ``metrics.json``, predictions in one CSV file a disease."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sslmri.diseases import DISEASES, Disease, get_disease
from sslmri.errors import ModelError
from sslmri.files import write_atomically, write_json

FORMAT = "sslmri-2"
METRICS_FILE = "metrics.json"
_TEXT_COLUMNS = ("name", "cohort", "group", "label", "predicted")
_HEADER = ("protocol", "encoder_sha256", "created", "diseases")
_KEYS = {
    *("classes", "unit", "n_slices", "n_groups", "accuracy", "balanced_accuracy", "auroc", "average_precision"),
    *("brier", "ece", "confusion", "reliability", "per_class", "subject"),
    *("thresholds", "sets", "types", "later_stages", "floors", "grade", "notes"),
}
_ONE = 1 + 1e-6  # a softmax in float32 may end a rounding above 1
_ADVICE = "run `python train.py evaluate` again"


def write_evidence(
    folder: Path,
    results: Mapping[str, Mapping[str, Any]],
    frames: Mapping[str, pd.DataFrame],
    protocol: str,
    encoder_sha256: str,
    created: str,
    n_shared_groups: int = 0,
) -> None:
    """Writes ``metrics.json`` and one ``predictions-<disease>.csv`` a disease, each whole or not at all.

    The metrics come last, so that what they name is there.

    Args:
        folder: of the evidence, made if need be.
        results: by disease key, as from ``evaluate_disease``.
        frames: by disease key, as from ``predictions_frame``.
        protocol: ``group-disjoint`` or ``as-published``.
        encoder_sha256: hash of the encoder that predicted.
        created: when, UTC, ISO 8601.
        n_shared_groups: test groups that are on the training side too.

    Raises:
        ModelError: figures without predictions, or the other way round.
    """
    if results.keys() != frames.keys():
        raise ModelError(
            f"Expected predictions of {', '.join(results) or 'no disease'}, got those of "
            f"{', '.join(frames) or 'none'}: evaluate and predict the same diseases."
        )
    for key, frame in frames.items():
        write_atomically(_predictions_path(folder, key), partial(frame.to_csv, index=False, lineterminator="\n"))
    diseases = {key: dict(result) for key, result in results.items()}
    header = {"format": FORMAT, "protocol": protocol, "created": created, "encoder_sha256": encoder_sha256}
    write_json(folder / METRICS_FILE, {**header, "n_shared_groups": n_shared_groups, "diseases": diseases})


def read_metrics(folder: Path) -> dict[str, Any]:
    """Returns the content of ``metrics.json``.

    Raises:
        ModelError: it is missing, damaged, of another format, or names classes that the diseases no longer have.
    """
    path = folder / METRICS_FILE
    content = _read_json(path)
    if content.get("format") != FORMAT:
        raise ModelError(f"Expected metrics of format {FORMAT} in {path}, got {content.get('format')!r}: {_ADVICE}.")
    missing = [key for key in _HEADER if key not in content]
    if missing or not isinstance(content["diseases"], dict):
        raise ModelError(f"Expected {', '.join(_HEADER)} in {path}, got no {missing or 'diseases'}: {_ADVICE}.")
    for key, result in content["diseases"].items():
        _check_result(path, key, result)
    return content


def read_predictions(folder: Path, disease: str) -> pd.DataFrame:
    """Returns the predictions of the disease of that key, with the columns of ``predictions_frame``.

    Raises:
        ModelError: the file is missing, damaged, or of other classes.
    """
    path = _predictions_path(folder, disease)
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(_TEXT_COLUMNS, str), keep_default_na=False)
    except OSError as error:
        raise ModelError(f"Expected predictions in {path}, got no such file: {_ADVICE}.") from error
    except ValueError as error:
        raise ModelError(f"Expected a CSV file of predictions in {path}, got something else: {_ADVICE}.") from error
    try:
        check_frame(get_disease(disease), frame)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return frame.astype(dict.fromkeys(get_disease(disease).classes, float))


def check_frame(disease: Disease, frame: pd.DataFrame) -> None:
    """Refuses predictions that do not fit the disease.

    Raises:
        ModelError: other columns or labels, or probabilities outside 0 to 1.
    """
    expected = [*_TEXT_COLUMNS, *disease.classes]
    if list(frame.columns) != expected:
        raise ModelError(
            f"Expected the columns {', '.join(expected)}, got {', '.join(map(str, frame.columns))}: {_ADVICE}."
        )
    unknown = sorted({str(label) for label in [*frame["label"], *frame["predicted"]]} - set(disease.classes))
    if unknown:
        raise ModelError(
            f"Expected labels of {disease.key} out of {', '.join(disease.classes)}, got {unknown[0]!r}: {_ADVICE}."
        )
    values = frame[list(disease.classes)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    if not ((values >= 0) & (values <= _ONE)).all():
        raise ModelError(f"Expected probabilities of {disease.key} from 0 to 1, got others: {_ADVICE}.")


def _predictions_path(folder: Path, key: str) -> Path:
    return folder / f"predictions-{key}.csv"


def _read_json(path: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except OSError as error:
        raise ModelError(f"Expected metrics in {path}, got no such file: {_ADVICE}.") from error
    except ValueError as error:
        raise ModelError(f"Expected JSON in {path}, got something else: {_ADVICE}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"Expected a JSON object in {path}, got a {type(content).__name__}: {_ADVICE}.")
    return content


def _check_result(path: Path, key: str, result: Any) -> None:
    if key not in DISEASES:
        raise ModelError(f"Expected diseases out of {', '.join(DISEASES)} in {path}, got {key!r}: {_ADVICE}.")
    missing = _KEYS - result.keys() if isinstance(result, dict) else _KEYS
    if missing:
        raise ModelError(f"Expected all figures of {key} in {path}, got no {', '.join(sorted(missing))}: {_ADVICE}.")
    expected = list(DISEASES[key].classes)
    if result["classes"] != expected:
        raise ModelError(f"Expected the classes {expected} of {key} in {path}, got {result['classes']}: {_ADVICE}.")
