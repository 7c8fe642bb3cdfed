"""``sslmri validate``: a model on labelled scans of one's own, next to its results on patients left out of training."""

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pandas as pd
import pypdfium2
import pytest

from sslmri.cohorts.manifest import Record
from sslmri.dashboard.layout import open_model
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError, ModelError
from sslmri.evidence.verdict import Verdict
from sslmri.models.cards import ModelCard
from sslmri.models.site import VARIABLE
from sslmri.screening import validate
from sslmri.screening.outcome import Entry, Finding, Refusal
from sslmri.screening.screener import Screener
from sslmri.screening.validate import LabelledScan, choose_thresholds, measure, report, screen_labelled
from tests.conftest import Call
from tests.test_sequences import screening

MS = DISEASES["ms"]


def scan(number: int, label: str, probability: float, reason: str | None = None) -> LabelledScan:
    """Returns a scan of person ``number`` with a probability of MS, flagged from 0.7 on and not below 0.3."""
    answer = Verdict.FLAGGED if probability >= 0.7 else Verdict.INCONCLUSIVE
    verdict = Verdict.NOT_FLAGGED if probability < 0.3 else answer
    probabilities = {"normal": 1 - probability, "multiple_sclerosis": probability}
    verdict = Verdict.NOT_ASSESSED if reason else verdict
    found = Finding("ms", verdict, reason, 0.7, 0.3, probabilities, None, 1, None, 0.0, None)
    record = Record(Path(f"{number}.nii"), f"{number}.nii", "own", "ms", label, f"p{number}", None)
    return LabelledScan(record, replace(screening().summary, findings={"ms": found}))


def people() -> list[LabelledScan]:
    """Returns six healthy people and six with MS, in turn; one of each kind is inconclusive."""
    healthy = [scan(number, "normal", 0.5 if number == 3 else 0.1) for number in range(6)]
    diseased = [scan(number, "multiple_sclerosis", 0.6 if number == 13 else 0.9) for number in range(10, 16)]
    return [scan for pair in zip(diseased, healthy, strict=True) for scan in pair]


def test_scans_are_measured_by_their_verdicts() -> None:
    found = measure(people(), MS)
    assert found.is_volume
    assert found.cases is not None
    assert found.groups is not None
    assert (found.cases.n_cases, found.groups.n_groups, found.groups.auroc.value) == (12, 12, 1)
    high, low = found.points["high"], found.points["low"]
    assert (high.sensitivity.value, high.specificity.value) == (pytest.approx(5 / 6), 1)
    assert (low.sensitivity.value, low.specificity.value) == (1, pytest.approx(5 / 6))


def test_several_scans_of_one_person_are_one_group() -> None:
    found = measure([*people(), *people()], MS)
    assert found.cases is not None
    assert (found.cases.n_cases, found.cases.n_groups) == (24, 12)


def test_scans_without_an_answer_are_counted_by_their_reason() -> None:
    left_out = [scan(20 + number, "normal", 0.9, f"Trained on T2. {number} of the 9 slices.") for number in (0, 1)]
    refused = LabelledScan(left_out[0].record, Refusal("This is a CT.", None))
    text = report({"ms": measure([*people(), *left_out, refused], MS)}, None)
    assert "| Multiple sclerosis | 15 | 12 | 2 | 1 |" in text
    assert "- Multiple sclerosis: 2 scans: Trained on T2. ... of the ... slices." in text
    assert "- Multiple sclerosis: 1 scan: This is a CT." in text
    assert "| Multiple sclerosis | Sensitivity, flagged | 0.83 |" in text
    assert "Accuracy" not in report({"ms": measure(left_out, MS)}, None)


def test_every_series_of_a_zip_file_has_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    summary, model = screening().summary, cast(Screener, None)
    names = ["0.nii", "1.nii, series 1", "1.nii, series 2"]
    screened = [(Entry(number, summary, name), None) for number, name in enumerate(names, start=1)]
    monkeypatch.setattr(validate, "screen_files", lambda *_: screened)
    rows = [scan(number, "normal", 0.1).record for number in range(2)]
    assert [each.record.name for each in screen_labelled(model, rows)] == ["0.nii", "1.nii", "1.nii"]


def test_too_few_people_give_no_interval() -> None:
    text = report({"ms": measure(people()[:4], MS)}, None)
    assert "not estimable: 2 test groups of the reference class, 5 needed" in text


def test_thresholds_are_chosen_by_the_rule_of_the_model_and_refused_of_too_few_people() -> None:
    healthy = [scan(number, "normal", 0.02 * number) for number in range(10)]
    diseased = [scan(20 + number, "multiple_sclerosis", 0.5 + 0.02 * number) for number in range(10)]
    chosen = choose_thresholds(measure([*healthy, *diseased], MS), MS)
    assert chosen.threshold_low == chosen.threshold_high == pytest.approx(0.34)  # the middle of 0.52 and 0.16
    assert (chosen.is_volume, chosen.n_disease, chosen.n_reference) == (True, 10, 10)
    with pytest.raises(ManifestError, match="with multiple sclerosis and 10 without, got those of 9 and 10: add scans"):
        choose_thresholds(measure([*healthy, *diseased[1:], *diseased[1:]], MS), MS)


@pytest.fixture
def manifest(cohort: Path, tmp_path: Path) -> Path:
    """Returns a manifest of the slices of the simulated cohort for one disease, and of a file that is none."""
    (tmp_path / "bad.png").write_bytes(b"<html>")
    table = pd.read_csv(cohort, dtype=str, keep_default_na=False)
    own = table[table["disease"] == "ms"].assign(path=lambda rows: [str(cohort.parent / path) for path in rows["path"]])
    pd.concat([own, own.iloc[:1].assign(path="bad.png")]).to_csv(tmp_path / "own.csv", index=False)
    return tmp_path / "own.csv"


def test_the_command_prints_results_next_to_those_out_of_fold(call: Call, manifest: Path, model_folder: Path) -> None:
    done = call("sslmri", "validate", manifest, "--model", model_folder)
    assert done.returncode == 2, done.stderr
    n_scans = len(manifest.read_text().splitlines()) - 1
    assert f"| Multiple sclerosis | {n_scans} | {n_scans - 1} | 0 | 1 |" in done.stdout
    assert "| Multiple sclerosis | AUROC of any disease, groups |" in done.stdout
    assert "1 scan: This is a text file." in done.stdout
    assert "Alzheimer" not in done.stdout


def test_thresholds_of_a_site_are_written_used_and_named(
    call: Call, manifest: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "site.json"
    arguments = ("sslmri", "validate", manifest, "--model", model_folder, "--thresholds", file)
    assert "Expected assessed scans of 10 patients" in call(*arguments).stderr
    assert not file.exists()
    monkeypatch.setattr(validate, "MIN_PEOPLE", 2)
    assert call(*arguments).returncode == 2  # of the scan that was refused
    chosen = json.loads(file.read_text())["diseases"]["ms"]
    assert not chosen["is_volume"]
    monkeypatch.setenv(VARIABLE, str(file))
    own = pd.read_csv(manifest)["path"].iloc[0]
    done = call("sslmri", "screen", own, "--model", model_folder, "--report", tmp_path / "report.pdf")
    findings = {found["disease"]: found for found in json.loads(done.stdout)["findings"]}
    limits = ("not_flagged_below", "flagged_from")
    assert [findings["ms"][key] for key in limits] == [chosen["threshold_low"], chosen["threshold_high"]]
    assert findings["ms"]["site_patients"] == chosen["n_disease"] + chosen["n_reference"]
    assert findings["tumours"]["site_patients"] is None
    text = "".join(page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(tmp_path / "report.pdf"))
    assert f"Thresholds of this site, chosen by the model's rule on {findings['ms']['site_patients']} patients." in text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"model_sha256": "0" * 64, "diseases": {}}, "Expected thresholds of the model"),
        ({"diseases": {}}, "Expected thresholds of a site"),
        (None, "Expected the file site.json"),
    ],
)
def test_thresholds_that_cannot_be_used_are_one_sentence_on_the_command_line_and_on_the_page(
    call: Call, configured: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object, sentence: str
) -> None:
    if content:
        (tmp_path / "site.json").write_text(json.dumps(content))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "site.json"))
    done = call("sslmri", "screen", tmp_path / "scan.png", "--model", configured.folder)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {sentence}")
    assert done.stderr.count("\n") == 1
    with pytest.raises(ModelError, match=sentence):
        open_model()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"disease": "", "label": ""}, "Expected scans labelled for alzheimers"),
        ({"disease": "migraine"}, "Expected a disease out of alzheimers"),
        ({"path": "bad.png"}, "Expected scans that can be read, got none"),
    ],
)
def test_what_cannot_be_validated_is_one_sentence(
    call: Call, manifest: Path, model_folder: Path, change: dict[str, str], sentence: str
) -> None:
    table = pd.read_csv(manifest, dtype=str, keep_default_na=False).iloc[-1:].assign(**change)
    table.to_csv(manifest, index=False)
    done = call("sslmri", "validate", manifest, "--model", model_folder)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {sentence}")
    assert done.stderr.count("\n") == 1
