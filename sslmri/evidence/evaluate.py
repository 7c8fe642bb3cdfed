"""Turns predictions on test groups into evidence: figures, their floors, and the files both are kept in."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.terms import unit_of
from sslmri.diseases import DISEASES, Disease, class_title, get_disease
from sslmri.errors import ModelError
from sslmri.evidence.metrics import MIN_GROUPS, ClassFigures, Figures, compute_figures
from sslmri.files import write_atomically, write_json

FORMAT = "sslmri-1"
METRICS_FILE = "metrics.json"
_TEXT_COLUMNS = ("name", "cohort", "group", "label", "predicted")
_HEADER = ("protocol", "encoder_sha256", "created", "diseases")
_KEYS = {
    *("classes", "n_slices", "n_groups", "accuracy", "balanced_accuracy", "auroc", "confusion", "per_class"),
    *("unit", "subject", "types", "floors", "notes"),
}
_Cases = tuple[np.ndarray, np.ndarray, np.ndarray]  # truth (N,), probabilities (N, C), groups (N,)
_ONE = 1 + 1e-6  # a softmax in float32 may end a rounding above 1
_ADVICE = "run `python train.py evaluate` again"


def predictions_frame(records: Sequence[Record], probabilities: np.ndarray, disease: Disease) -> pd.DataFrame:
    """Returns one row a slice: name, cohort, group, label, predicted, then the probability of each class.

    Args:
        records: the N labelled records, one for each slice.
        probabilities: (N, C) in the order of the disease's classes.
        disease: the head's disease.

    Raises:
        ModelError: another number of rows or classes.
    """
    expected = (len(records), len(disease.classes))
    if probabilities.shape != expected:
        raise ModelError(
            f"Expected probabilities of shape {expected} for {disease.key}, got {probabilities.shape}: "
            "predict the same slices with the head of this disease."
        )
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


def evaluate_disease(
    disease: Disease, frame: pd.DataFrame, floors: Mapping[str, np.ndarray] | None, seed: int = 0
) -> dict[str, Any]:
    """Returns the evidence for one disease, ready for JSON; its ``unit`` is what to call a group.

    Beside the figures of all classes stand, as ``types``, those of the types of disease: the same slices without the
    reference class, with the probabilities shared out among the types. Stages and two-class diseases have none.

    Args:
        disease: the head's disease.
        frame: as from ``predictions_frame``, of the test slices.
        floors: (N, C) probabilities of each floor for the same slices, or None.
        seed: of the bootstrap.

    Raises:
        ModelError: columns, labels or floors that do not fit the disease.
        ManifestError: a group with two classes.
    """
    _check_frame(disease, frame)
    cases = _cases_of(disease, frame, frame[list(disease.classes)].to_numpy(dtype=np.float64))
    floor_cases = {name: _cases_of(disease, frame, floor) for name, floor in (floors or {}).items()}
    figures = compute_figures(*cases, seed=seed)
    has_types = len(disease.classes) > 2 and not disease.is_ordinal
    types = _type_figures(disease.classes[1:], cases, floor_cases, seed) if has_types else None
    found = {
        name: {**_floor_figures(floor), "types_accuracy": types["floors"][name]["accuracy"] if types else None}
        for name, floor in floor_cases.items()
    }
    return {
        "classes": list(disease.classes),
        "unit": unit_of(frame["cohort"]),
        **figures,
        "per_class": _by_label(disease.classes, figures["per_class"]),
        "types": types,
        "floors": found,
        "notes": _class_notes(disease, figures) + _source_notes(disease, frame) + _floor_notes(figures, found),
    }


def write_evidence(
    folder: Path,
    results: Mapping[str, Mapping[str, Any]],
    frames: Mapping[str, pd.DataFrame],
    protocol: str,
    encoder_sha256: str,
    created: str,
) -> None:
    """Writes ``metrics.json`` and one ``predictions-<disease>.csv`` a disease, each whole or not at all.

    The metrics come last, so that what they name is there.

    Args:
        folder: of the evidence, made if need be.
        results: by disease key, as from ``evaluate_disease``.
        frames: by disease key, as from ``predictions_frame``.
        protocol: ``group-disjoint`` or ``as published``.
        encoder_sha256: hash of the encoder that predicted.
        created: when, UTC, ISO 8601.

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
    write_json(folder / METRICS_FILE, {**header, "diseases": diseases})


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
        _check_frame(get_disease(disease), frame)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return frame.astype(dict.fromkeys(get_disease(disease).classes, float))


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


def _check_frame(disease: Disease, frame: pd.DataFrame) -> None:
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


def _cases_of(disease: Disease, frame: pd.DataFrame, probabilities: np.ndarray) -> _Cases:
    expected = (len(frame), len(disease.classes))
    if probabilities.shape != expected:
        raise ModelError(
            f"Expected floors of shape {expected}, got {probabilities.shape}: compute them on the same slices."
        )
    truth = np.array([disease.classes.index(label) for label in frame["label"]], dtype=np.int64)
    return truth, probabilities, frame["group"].to_numpy(dtype=str)


def _by_label(labels: Sequence[str], figures: Sequence[ClassFigures]) -> dict[str, ClassFigures]:
    return dict(zip(labels, figures, strict=True))


def _floor_figures(cases: _Cases) -> dict[str, float | None]:
    """Returns a floor's figures, without intervals: it is a bar to clear."""
    figures = compute_figures(*cases, n_resamples=1)
    return {
        "accuracy": figures["accuracy"]["raw"],
        "balanced_accuracy": figures["balanced_accuracy"]["raw"],
        "auroc": figures["auroc"]["raw"],
        "subject_auroc": figures["subject"]["auroc"]["raw"],
    }


def _type_figures(labels: Sequence[str], cases: _Cases, floors: Mapping[str, _Cases], seed: int) -> dict[str, Any]:
    figures = compute_figures(*_types_only(*cases), seed=seed)
    found = {name: _floor_figures(_types_only(*floor)) for name, floor in floors.items()}
    bars = ("accuracy", "balanced_accuracy")
    kept = ("n_slices", "n_groups", *bars, "confusion")
    return {
        "classes": list(labels),
        **{key: value for key, value in figures.items() if key in kept},
        "per_class": _by_label(labels, figures["per_class"]),
        "floors": {name: {key: floor[key] for key in bars} for name, floor in found.items()},
    }


def _types_only(truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray) -> _Cases:
    """Returns the slices with disease, their probabilities shared out among the classes but the reference.

    A floor that gives all probability to the reference class says nothing of the type: each type gets the same.
    """
    is_disease = truth != 0
    kept = probabilities[is_disease, 1:]
    sums = kept.sum(axis=1, keepdims=True)
    shared = np.where(sums > 0, kept / np.where(sums > 0, sums, 1), 1 / kept.shape[1])
    return truth[is_disease] - 1, shared, groups[is_disease]


def _class_notes(disease: Disease, figures: Figures) -> list[str]:
    """Returns a sentence for each class with too few test groups."""
    notes = []
    for label, found in _by_label(disease.classes, figures["per_class"]).items():
        if found["groups"] == 0:
            notes.append(f"No test group shows {class_title(label)}: the figures say nothing about it.")
        elif found["groups"] < MIN_GROUPS:
            notes.append(
                f"Test groups of {class_title(label)}: {found['groups']}. Its own figures are not estimable, and the "
                "intervals of figures over all classes are too narrow by its share."
            )
    return notes


def _source_notes(disease: Disease, frame: pd.DataFrame) -> list[str]:
    """Returns a sentence if the reference class and the others come from different cohorts."""
    is_reference = frame["label"] == disease.reference
    healthy, diseased = set(frame.loc[is_reference, "cohort"]), set(frame.loc[~is_reference, "cohort"])
    if not healthy or not diseased or healthy & diseased:
        return []
    name = class_title(disease.reference)
    return [f"No cohort holds both {name} and another class: what tells them apart may be the source."]


def _floor_notes(figures: Figures, floors: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    own = figures["balanced_accuracy"]["raw"]
    known = {name: value for name, floor in floors.items() if (value := floor["balanced_accuracy"]) is not None}
    best = max(known, key=lambda name: known[name], default=None)
    if own is None or best is None or own > known[best]:
        return []
    floor = f"{best.replace('_', ' ')}, {known[best]:.1%}"
    return [f"The balanced accuracy, {own:.1%}, is not above that of the floor {floor}."]
