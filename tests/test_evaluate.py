"""Evidence says what was measured, beside its floors, and is read back as it was written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from sslmri.cohorts import terms
from sslmri.cohorts.manifest import Record
from sslmri.diseases import DISEASES, Disease
from sslmri.errors import ModelError
from sslmri.evidence.evaluate import (
    evaluate_disease,
    predictions_frame,
    read_metrics,
    read_predictions,
    write_evidence,
)

TUMOURS, STAGES, MS = DISEASES["tumours"], DISEASES["alzheimers"], DISEASES["ms"]


def record(disease: Disease, label: str, group: str, number: int = 0, cohort: str = "c") -> Record:
    """Returns one labelled slice."""
    name = f"{label}/{group}_{number}.png"
    return Record(Path(name), name, cohort, disease.key, label, group, None, split="test")


def frame_of(disease: Disease, n_groups: int = 6, strength: float = 2.0, own_cohorts: bool = False) -> pd.DataFrame:
    """Returns predictions of ``n_groups`` groups a class with three slices each."""
    generator = np.random.default_rng(0)
    records = [
        record(disease, label, f"{label}-{group:03}", number, "c" if not own_cohorts else f"c-{label}")
        for label in disease.classes
        for group in range(n_groups)
        for number in range(3)
    ]
    truth = [disease.classes.index(str(r.label)) for r in records]
    logits = (
        generator.normal(size=(len(records), len(disease.classes))) + strength * np.eye(len(disease.classes))[truth]
    )
    exponents = np.exp(logits)
    return predictions_frame(records, exponents / exponents.sum(axis=1, keepdims=True), disease)


def floors_of(frame: pd.DataFrame, disease: Disease) -> dict[str, np.ndarray]:
    """Returns a majority floor and one that gives all probability to the reference class."""
    n_classes = len(disease.classes)
    shares = np.arange(1, n_classes + 1) / np.arange(1, n_classes + 1).sum()
    return {"majority": np.tile(shares, (len(frame), 1)), "nearest_neighbour": np.eye(n_classes)[[0] * len(frame)]}


def write(folder: Path, *diseases: Disease) -> dict[str, pd.DataFrame]:
    """Writes evidence for the diseases and returns the predictions."""
    frames = {disease.key: frame_of(disease) for disease in diseases}
    results = {disease.key: evaluate_disease(disease, frames[disease.key], None) for disease in diseases}
    write_evidence(folder, results, frames, "group-disjoint", "e" * 64, "2025-01-01T00:00:00Z")
    return frames


def test_frame_has_one_row_a_slice_and_one_column_a_class() -> None:
    records = [record(MS, "normal", "a"), record(MS, "multiple_sclerosis", "b")]
    frame = predictions_frame(records, np.array([[0.4, 0.6], [0.1, 0.9]]), MS)
    assert list(frame.columns) == ["name", "cohort", "group", "label", "predicted", "normal", "multiple_sclerosis"]
    expected = ["normal/a_0.png", "c", "c/a", "normal", "multiple_sclerosis", 0.4, 0.6]
    assert frame.iloc[0].tolist() == expected


def test_frame_of_other_classes_is_refused() -> None:
    with pytest.raises(ModelError, match=r"Expected probabilities of shape \(1, 2\) for ms, got \(1, 4\)"):
        predictions_frame([record(MS, "normal", "a")], np.full((1, 4), 0.25), MS)


@pytest.mark.parametrize("disease", DISEASES.values(), ids=list(DISEASES))
def test_evidence_of_every_disease_is_json_without_nan(disease: Disease) -> None:
    frame = frame_of(disease)
    result = evaluate_disease(disease, frame, floors_of(frame, disease))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result["per_class"]) == result["classes"] == list(disease.classes)
    assert result["accuracy"]["value"] == pytest.approx(np.mean(frame["label"] == frame["predicted"]))
    assert (result["types"] is not None) == (disease.key == "tumours")


def test_types_leave_the_reference_class_out_and_share_its_probability_out() -> None:
    frame = frame_of(TUMOURS)
    types = evaluate_disease(TUMOURS, frame, None)["types"]
    kept = frame[frame["label"] != "no_tumour"]
    labels = list(TUMOURS.classes[1:])
    guess = kept[labels].idxmax(axis=1)
    assert types["classes"] == labels
    assert (types["n_slices"], types["n_groups"]) == (54, 18)
    assert types["confusion"] == metrics.confusion_matrix(kept["label"], guess, labels=labels).tolist()
    shared = kept["glioma"] / kept[labels].sum(axis=1)
    expected = metrics.roc_auc_score(kept["label"] == "glioma", shared)
    assert types["per_class"]["glioma"]["auroc"]["value"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("cohorts", "unit"),
    [
        (["oasis_2d"], "subject"),
        (["br35h", "cheng"], "group"),
        (["ixi_t2", "web_controls"], "group"),
        (["mine"], "group"),
    ],
)
def test_groups_are_called_subjects_only_where_each_is_known_to_be_one(cohorts: list[str], unit: str) -> None:
    frame = frame_of(MS)
    frame["cohort"] = (cohorts * len(frame))[: len(frame)]
    assert evaluate_disease(MS, frame, None)["unit"] == unit


def test_every_cohort_of_people_has_its_terms() -> None:
    assert terms.TERMS.keys() >= terms._OF_PEOPLE


def test_floors_stand_beside_the_figures() -> None:
    frame = frame_of(TUMOURS)
    result = evaluate_disease(TUMOURS, frame, floors_of(frame, TUMOURS))
    majority = {"accuracy": 0.25, "balanced_accuracy": 0.25, "auroc": 0.5, "subject_auroc": 0.5}
    assert result["floors"]["majority"] == pytest.approx({**majority, "types_accuracy": 1 / 3})
    assert result["types"]["floors"]["majority"] == pytest.approx({"accuracy": 1 / 3, "balanced_accuracy": 1 / 3})
    assert result["floors"]["nearest_neighbour"]["types_accuracy"] == pytest.approx(1 / 3)


def test_floors_of_other_slices_are_refused() -> None:
    frame = frame_of(MS)
    with pytest.raises(ModelError, match=r"Expected floors of shape \(36, 2\), got \(5, 2\)"):
        evaluate_disease(MS, frame, {"majority": np.full((5, 2), 0.5)})


def test_notes_name_rare_and_missing_classes() -> None:
    frame = frame_of(STAGES)
    rare = (frame["label"] != "moderate_demented") | (frame["group"] == "c/moderate_demented-000")
    notes = evaluate_disease(STAGES, frame[rare & (frame["label"] != "mild_demented")], None)["notes"]
    assert any(note.startswith("No test group shows mild demented") for note in notes)
    assert any(note.startswith("Test groups of moderate demented: 1.") for note in notes)


def test_notes_tell_when_class_and_source_are_one() -> None:
    assert evaluate_disease(MS, frame_of(MS), None)["notes"] == []
    notes = evaluate_disease(MS, frame_of(MS, own_cohorts=True), None)["notes"]
    assert len(notes) == 1
    assert notes[0].startswith("No cohort holds both normal and another class")


def test_notes_tell_when_a_floor_is_not_cleared() -> None:
    frame = frame_of(MS)
    perfect = np.eye(2)[[MS.classes.index(label) for label in frame["label"]]]
    notes = evaluate_disease(MS, frame, {"nearest_neighbour": perfect})["notes"]
    assert "is not above that of the floor nearest neighbour, 100.0%" in notes[0]


@pytest.mark.parametrize("disease", [TUMOURS, MS])
def test_no_test_slices_give_no_figures(disease: Disease) -> None:
    frame = frame_of(disease).iloc[:0]
    result = evaluate_disease(disease, frame, floors_of(frame, disease))
    json.dumps(result, allow_nan=False)
    assert result["n_slices"] == 0
    assert result["accuracy"]["value"] is None
    assert result["floors"]["majority"]["accuracy"] is None


def test_frame_of_another_disease_or_label_is_refused() -> None:
    with pytest.raises(ModelError, match="Expected the columns"):
        evaluate_disease(MS, frame_of(TUMOURS), None)
    with pytest.raises(ModelError, match="got 'glioma'"):
        evaluate_disease(MS, frame_of(MS).replace({"label": {"normal": "glioma"}}), None)
    with pytest.raises(ModelError, match="from 0 to 1"):
        evaluate_disease(MS, frame_of(MS).assign(normal=np.nan), None)


def test_evidence_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    frames = write(tmp_path / "evidence", MS, TUMOURS)
    content = read_metrics(tmp_path / "evidence")
    assert content["format"] == "sslmri-1"
    assert (content["protocol"], content["encoder_sha256"]) == ("group-disjoint", "e" * 64)
    assert list(content["diseases"]) == ["ms", "tumours"]
    for key, frame in frames.items():
        found = read_predictions(tmp_path / "evidence", key)
        pd.testing.assert_frame_equal(found, frame, check_exact=True)
        assert evaluate_disease(DISEASES[key], found, None) == content["diseases"][key]


def test_group_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    frame = frame_of(MS).assign(group="007", cohort="NA")
    write_evidence(tmp_path, {"ms": {}}, {"ms": frame}, "group-disjoint", "e", "now")
    found = read_predictions(tmp_path, "ms")
    assert (set(found["group"]), set(found["cohort"])) == ({"007"}, {"NA"})


def test_figures_without_predictions_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="got those of none"):
        write_evidence(tmp_path, {"ms": {}}, {}, "group-disjoint", "e", "now")
    assert list(tmp_path.iterdir()) == []


def test_missing_evidence_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such file: run `python train.py evaluate` again"):
        read_metrics(tmp_path)
    with pytest.raises(ModelError, match=r"predictions-ms\.csv, got no such file"):
        read_predictions(tmp_path, "ms")


def without(content: dict[str, Any], key: str) -> dict[str, Any]:
    """Returns metrics in which multiple sclerosis lacks a figure."""
    ms = {name: value for name, value in content["diseases"]["ms"].items() if name != key}
    return content | {"diseases": {"ms": ms}}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: [], "JSON object"),
        (lambda content: content | {"format": "sslmri-0"}, "format sslmri-1"),
        (lambda content: content | {"diseases": None}, "got no diseases"),
        (lambda content: {"format": "sslmri-1"}, "got no .*protocol"),
        (lambda content: content | {"diseases": {"gout": {}}}, "got 'gout'"),
        (lambda content: content | {"diseases": {"ms": 3}}, "all figures of ms"),
        (lambda content: without(content, "floors"), "got no floors"),
        (lambda content: content | {"created": float("nan")}, "got something else"),
        (lambda content: without(content, "classes"), "got no classes"),
    ],
)
def test_damaged_metrics_are_refused(tmp_path: Path, damage: Any, message: str) -> None:
    write(tmp_path, MS)
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(ModelError, match=message):
        read_metrics(tmp_path)


def test_metrics_of_other_classes_are_refused(tmp_path: Path) -> None:
    write(tmp_path, MS)
    path = tmp_path / "metrics.json"
    path.write_text(path.read_text().replace('"normal"', '"healthy"'))
    with pytest.raises(ModelError, match="Expected the classes"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n1,2,3,4\n", b"name,cohort\n", b"\0\0"])
def test_damaged_predictions_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "predictions-ms.csv").write_bytes(content)
    with pytest.raises(ModelError, match=r"predictions-ms\.csv"):
        read_predictions(tmp_path, "ms")


def test_predictions_that_break_off_are_refused(tmp_path: Path) -> None:
    write(tmp_path, MS)
    path = tmp_path / "predictions-ms.csv"
    path.write_text(path.read_text()[:-60])
    with pytest.raises(ModelError, match="of ms"):
        read_predictions(tmp_path, "ms")
