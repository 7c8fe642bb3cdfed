"""Tumour or none on slices of the same patients: the AUROC over all, and within a patient, by hand."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from sslmri.cohorts.manifest import Record
from sslmri.errors import ManifestError, TrainingError
from sslmri.evidence.same_source import same_source_aurocs, same_source_message
from sslmri.learning.model import Model, calibrated
from sslmri.models.evidence import Controls, read_evidence, write_evidence
from sslmri.models.metrics import Estimate, Rate
from sslmri.scans.slices import to_slices
from sslmri.training import same_source
from sslmri.training.options import RunOptions
from sslmri.training.report import report_controls
from sslmri.training.same_source import NEGATIVES_FILE, measure_same_source, run_same_source
from tests.harness.parsing import parse_scan


def test_auroc_within_a_patient_by_hand() -> None:
    # patient a: pairs 1 of 2 in order; b: 1 of 1; c has no slice without a lesion and counts over all slices only
    score = np.array([0.5, 0.2, 0.6, 0.9, 0.4, 0.1])
    has_lesion = np.array([True, False, False, True, False, True])
    groups = np.array(["a", "a", "a", "b", "b", "c"])
    overall, within, n_both = same_source_aurocs(score, has_lesion, groups)
    assert n_both == 2
    assert within.raw == pytest.approx((0.5 + 1.0) / 2)
    assert overall.raw == pytest.approx(roc_auc_score(has_lesion, score)) == pytest.approx(5 / 9)


def test_interval_is_that_of_resampled_patients() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat([f"g{n}" for n in range(12)], 6)
    has_lesion = np.tile([True, False, True, False, True, False], 12)
    score = (generator.normal(size=72) + has_lesion + generator.normal(size=12).repeat(6)).round(1)  # with ties
    overall, within, _ = same_source_aurocs(score, has_lesion, groups)
    resampled = []
    for _ in range(400):
        drawn = generator.choice(np.unique(groups), 12)
        rows = np.concatenate([np.flatnonzero(groups == name) for name in drawn])
        inside = [roc_auc_score(has_lesion[groups == name], score[groups == name]) for name in drawn]
        resampled.append((roc_auc_score(has_lesion[rows], score[rows]), np.mean(inside)))
    low, high = np.percentile(resampled, (2.5, 97.5), axis=0)
    assert (overall.low, overall.high) == pytest.approx((low[0], high[0]), abs=0.03)
    assert (within.low, within.high) == pytest.approx((low[1], high[1]), abs=0.03)


def test_message_says_whether_it_is_better_than_chance() -> None:
    chance, better = Estimate(0.49, 0.42, 0.56, 0.49, None), Estimate(0.8, 0.7, 0.9, 0.8, None)
    assert same_source_message(chance, chance).endswith("0.49 (0.42 to 0.56): no better than chance.")
    assert same_source_message(better, better).endswith(": better than chance.")


@pytest.fixture
def patients(cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Record]]:
    """Returns a manifest next to negatives, and records that mark one tumour slice of each of eight patients."""
    monkeypatch.setattr(same_source, "COHORT", "simulated-lgg")
    rows = [row for row in csv.DictReader(cohort.open()) if row["disease"] == "tumours"][:16]
    for row in rows:
        shutil.copy(cohort.parent / row["path"], tmp_path / Path(row["path"]).name)
    marked, unmarked = rows[:8], rows[8:]
    records = [
        Record(
            tmp_path / Path(row["path"]).name, row["path"], "simulated-lgg", "tumours", "glioma", f"p{n}", None,
            use="localisation",
        )
        for n, row in enumerate(marked)
    ]  # fmt: skip
    lines = ["path,group", *(f"{Path(row['path']).name},p{n}" for n, row in enumerate(unmarked))]
    (tmp_path / NEGATIVES_FILE).write_text("\n".join(lines) + "\n")
    return tmp_path / "manifest.csv", records


def test_it_is_the_probability_of_any_tumour_of_the_prepared_slices(patients, model_folder, tmp_path) -> None:
    path, records = patients
    model = Model.load(model_folder)
    options = RunOptions(data=path, run=model_folder, cache=tmp_path / "cache")
    found = measure_same_source(model, records, options)
    assert found is not None
    assert (found.n_with, found.n_without, found.n_groups, found.n_groups_with_both) == (8, 8, 8, 8)

    def any_tumour(file: Path) -> float:
        slices = to_slices(parse_scan(file.read_bytes(), file.name), model.card.encoder.preparation)
        logits = model.logits(slices)["tumours"].astype(np.float64)
        return 1 - calibrated(logits, model.card.heads["tumours"].calibration_temperature)[0, 0]

    negatives = [tmp_path / row["path"] for row in csv.DictReader((tmp_path / NEGATIVES_FILE).open())]
    with_tumour, without = [any_tumour(r.path) for r in records], [any_tumour(file) for file in negatives]
    expected = roc_auc_score([1] * 8 + [0] * 8, with_tumour + without)
    assert found.auroc.raw == pytest.approx(expected)
    pairs = zip(with_tumour, without, strict=True)
    assert found.auroc_within_group.raw == pytest.approx(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs]))


def test_without_negatives_or_marked_slices_nothing_is_measured(patients, model_folder, tmp_path, capsys) -> None:
    path, records = patients
    model, options = Model.load(model_folder), RunOptions(data=path, run=model_folder, cache=tmp_path / "cache")
    assert measure_same_source(model, [], options) is None
    (path.parent / NEGATIVES_FILE).write_text("file\nx\n")
    with pytest.raises(ManifestError, match="Expected the columns path and group"):
        measure_same_source(model, records, options)
    (path.parent / NEGATIVES_FILE).unlink()
    assert measure_same_source(model, records, options) is None
    assert capsys.readouterr().out.count("not measured, no lgg_negatives.csv or no marked slices") == 2


def test_it_is_added_to_stored_controls_of_a_model_that_never_saw_the_cohort(
    patients, model_folder, tmp_path, monkeypatch
) -> None:
    path, records = patients
    run = tmp_path / "run"
    shutil.copytree(model_folder, run, ignore=shutil.ignore_patterns("pretrain", "finetune"))
    monkeypatch.setattr(same_source, "read_manifest", lambda data: records)
    options = RunOptions(data=path, run=run, cache=tmp_path / "cache")
    card = Model.load(run).card
    rate = Rate(Estimate(None, None, None, None, "none"), 0, 0)
    encoder = next(iter(card.heads.values())).encoder_sha256
    created = max(head.created for head in card.heads.values())
    write_evidence(
        run / "evidence",
        Controls(encoder_sha256=encoder, created=created, rule="", diseases={}, family_wise=rate),
    )
    controls = run_same_source(options)
    assert read_evidence(run / "evidence", Controls) == controls
    assert "On slices of the same patients and scanners, AUROC of any tumour" in report_controls(controls)
    monkeypatch.setattr(same_source, "COHORT", "simulated")  # the model was trained on it
    with pytest.raises(TrainingError, match="Expected a model that was not trained on simulated"):
        run_same_source(options)
    with pytest.raises(TrainingError, match="Expected --data"):
        run_same_source(replace(options, data=None))
