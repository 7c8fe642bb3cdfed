"""Evidence is read back as it was written, or refused."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sslmri.diseases import DISEASES, Disease
from sslmri.errors import ModelError
from sslmri.evidence.evaluate import evaluate_disease
from sslmri.evidence.evidence_io import read_metrics, read_predictions, write_evidence
from tests.test_evaluate import MS, TUMOURS, frame_of


def write(folder: Path, *diseases: Disease) -> dict[str, pd.DataFrame]:
    """Writes evidence for the diseases and returns the predictions."""
    frames = {disease.key: frame_of(disease) for disease in diseases}
    results = {disease.key: evaluate_disease(disease, frames[disease.key], None) for disease in diseases}
    write_evidence(folder, results, frames, "group-disjoint", "e" * 64, "2025-01-01T00:00:00Z")
    return frames


def test_evidence_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    frames = write(tmp_path / "evidence", MS, TUMOURS)
    content = read_metrics(tmp_path / "evidence")
    assert content["format"] == "sslmri-2"
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
        (lambda content: content | {"format": "sslmri-1"}, "format sslmri-2"),
        (lambda content: content | {"diseases": None}, "got no diseases"),
        (lambda content: {"format": "sslmri-2"}, "got no .*protocol"),
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
