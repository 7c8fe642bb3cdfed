"""Evidence is read back as it was written, or refused in one sentence."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from sslmri.errors import ModelError
from sslmri.evidence.predictions import read_predictions, write_predictions
from sslmri.models.evidence import Metrics, read_evidence, write_evidence
from sslmri.models.metrics import Estimate
from tests.test_evaluate import MS, TUMOURS, evaluated, frame_of


def write(folder: Path) -> Metrics:
    """Writes metrics of two diseases and returns them."""
    diseases = {disease.key: evaluated(disease, frame_of(disease), None) for disease in (MS, TUMOURS)}
    header: Any = {"protocol": "group-disjoint", "encoder_sha256": "e" * 64, "created": "2025-01-01T00:00:00Z"}
    metrics = Metrics(**header, n_shared_groups=0, diseases=diseases)
    write_evidence(folder, metrics)
    return metrics


def test_evidence_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    assert read_evidence(tmp_path, Metrics) is None
    metrics = write(tmp_path)
    assert read_evidence(tmp_path, Metrics) == metrics
    assert json.loads((tmp_path / "metrics.json").read_text())["format"] == "sslmri-3"


def test_predictions_are_read_back_and_text_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    frame = frame_of(MS).assign(group="007", cohort="NA")
    write_predictions(tmp_path, "ms", frame)
    pd.testing.assert_frame_equal(read_predictions(tmp_path, MS), frame, check_exact=True)


def test_missing_predictions_are_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"predictions-ms\.csv, got no such file: run `python train.py evaluate`"):
        read_predictions(tmp_path, MS)


@pytest.mark.parametrize("value", ["0.5", True, float("nan"), float("inf")])
def test_a_value_that_cannot_be_read_cannot_be_made(value: Any) -> None:
    with pytest.raises(ValidationError):
        Estimate(value, 0.0, 1.0, 0.5, None)


def without(content: dict[str, Any], key: str) -> dict[str, Any]:
    """Returns metrics in which multiple sclerosis lacks a field."""
    ms = {name: value for name, value in content["diseases"]["ms"].items() if name != key}
    return content | {"diseases": {"ms": ms}}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: [], "got the file: "),
        (lambda content: content | {"format": "sslmri-2"}, r"format sslmri-3 .*run `python train.py evaluate` again"),
        (lambda content: content | {"diseases": None}, "got diseases: "),
        (lambda content: {"format": "sslmri-3"}, "got encoder_sha256: "),
        (lambda content: content | {"diseases": {"gout": content["diseases"]["ms"]}}, "the classes of gout"),
        (lambda content: content | {"extra": 1}, "got extra: "),
        (lambda content: without(content, "baselines"), r"diseases\.ms\.baselines"),
        (lambda content: content | {"created": float("nan")}, "got created: "),
        (lambda content: content | {"n_shared_groups": True}, "got n_shared_groups: "),
    ],
)
def test_damaged_metrics_are_refused(tmp_path: Path, damage: Any, message: str) -> None:
    write(tmp_path)
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(ModelError, match=message):
        read_evidence(tmp_path, Metrics)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"[" * 100_000])
def test_metrics_that_are_no_json_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.json").write_bytes(content)
    with pytest.raises(ModelError, match="Expected metrics of format sslmri-3"):
        read_evidence(tmp_path, Metrics)


def test_metrics_of_other_classes_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "metrics.json"
    path.write_text(path.read_text().replace('"normal"', '"healthy"'))
    with pytest.raises(ModelError, match="the classes of ms are healthy, multiple_sclerosis"):
        read_evidence(tmp_path, Metrics)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n1,2,3,4\n", b"name,cohort\n", b"\0\0"])
def test_damaged_predictions_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "predictions-ms.csv").write_bytes(content)
    with pytest.raises(ModelError, match=r"predictions-ms\.csv"):
        read_predictions(tmp_path, MS)


def test_predictions_that_break_off_are_refused(tmp_path: Path) -> None:
    write_predictions(tmp_path, "ms", frame_of(MS))
    path = tmp_path / "predictions-ms.csv"
    path.write_text(path.read_text()[:-60])
    with pytest.raises(ModelError, match=r"in .*predictions-ms\.csv, got"):
        read_predictions(tmp_path, MS)
