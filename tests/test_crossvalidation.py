"""Every group is predicted once, by a probe that never saw it, and what the encoder knew of it is told."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES, Disease
from sslmri.errors import ModelError, TrainingError
from sslmri.learning.model import Head
from sslmri.models.evidence import CrossValidation, FoldMetrics, read_evidence
from sslmri.training import crossvalidation
from sslmri.training.crossvalidation import run_crossvalidation
from sslmri.training.options import RunOptions
from sslmri.training.report import report_crossvalidation
from sslmri.training.training_overlap import find_training_overlap, fold_summary

MS = DISEASES["ms"].classes


def records_of(n_groups: int, label: str, disease: str = "ms") -> list[Record]:
    """Returns two slices of each group of a class, in folds 0 to 4 in turn."""
    return [
        Record(Path("x"), f"{label}-{group}-{number}", "c", disease, label, f"{label}-{group}", group % 5)
        for group in range(n_groups)
        for number in range(2)
    ]


def bench_of(records: list[Record], signal: float) -> crossvalidation._Experiment:
    """Returns a bench whose features and pixels hold the class as strongly as the signal says, plus noise."""
    generator = np.random.default_rng(0)
    truth = np.array([DISEASES[str(r.disease)].classes.index(str(r.label)) for r in records])
    pixels = np.clip(generator.normal(120, 40, (len(records), 16, 16)), 0, 255).astype(np.uint8)
    features = torch.from_numpy(generator.normal(size=(len(records), 2048)).astype(np.float32))
    features[:, :200] += signal * torch.from_numpy(truth).float().unsqueeze(1)
    return crossvalidation._Experiment(
        Store(pixels, records, []),
        features,
        np.array([r.fold for r in records]),
        np.array([r.disease for r in records]),
    )


def diseases_of(bench: crossvalidation._Experiment) -> tuple[dict, list[str]]:
    return crossvalidation._diseases(bench, sorted(set(bench.folds.tolist())), is_seen=False)


def test_planted_features_are_found_and_noise_is_not() -> None:
    records = records_of(25, MS[0]) + records_of(25, MS[1])
    found = {signal: diseases_of(bench_of(records, signal))[0]["ms"].pooled for signal in (1.0, 0.0)}
    assert found[1.0].slices.auroc.value > 0.95
    assert found[0.0].slices.auroc.value == pytest.approx(0.5, abs=0.25)
    assert found[1.0].baselines.keys() == {"majority", "nearest_neighbour", "pca_logistic"}
    assert (found[1.0].slices.n_groups, found[1.0].slices.n_cases) == (50, 100)


def test_a_fold_is_never_trained_or_validated_on_itself(monkeypatch) -> None:
    bench, seen = bench_of(records_of(10, MS[0]) + records_of(10, MS[1]), 0.0), []

    def fit(diseases: list[str], known: torch.Tensor, train: Store, asked: torch.Tensor, validation: Store) -> dict:
        assert (len(known), len(asked)) == (len(train.records), len(validation.records))
        rows = [bench.store.records.index(record) for record in train.records]
        assert torch.equal(known, bench.features[rows])
        seen.append(({r.fold for r in train.records}, {r.fold for r in validation.records}))
        return {key: Head(torch.zeros(2, 2048), torch.zeros(2)) for key in diseases}

    monkeypatch.setattr(crossvalidation, "fit_heads", fit)
    result = diseases_of(bench)[0]["ms"]
    everything = set(range(5))
    assert seen == [(everything - {k, (k + 1) % 5}, {(k + 1) % 5}) for k in range(5)]
    assert [fold.fold for fold in result.folds] == list(range(5))
    assert result.pooled.slices.auroc.value == 0.5


def test_baselines_are_trained_on_the_same_folds_as_the_probe(monkeypatch) -> None:
    bench, seen = bench_of(records_of(10, MS[0]) + records_of(10, MS[1]), 0.0), []
    real = crossvalidation.baseline_probabilities

    def floors(train: np.ndarray, truth: np.ndarray, test: np.ndarray, n_classes: int) -> dict[str, np.ndarray]:
        seen.append((train.tobytes(), test.tobytes()))
        return real(train, truth, test, n_classes)

    monkeypatch.setattr(crossvalidation, "baseline_probabilities", floors)
    diseases_of(bench)
    expected = [
        (bench.slices([f for f in range(5) if f not in (k, (k + 1) % 5)]).slices, bench.slices([k]).slices)
        for k in range(5)
    ]
    assert seen == [(train.tobytes(), test.tobytes()) for train, test in expected]


def test_metrics_of_a_fold_are_those_of_its_slices(monkeypatch) -> None:
    bench = bench_of(records_of(20, MS[0]) + records_of(20, MS[1]), 0.15)
    kept: dict[int, np.ndarray] = {}
    real = crossvalidation._fold_metrics

    def fold_metrics(disease: Disease, slices: Store, tested: crossvalidation._Tested) -> FoldMetrics:
        kept[tested.fold] = tested.probabilities
        return real(disease, slices, tested)

    monkeypatch.setattr(crossvalidation, "_fold_metrics", fold_metrics)
    result = diseases_of(bench)[0]["ms"]
    for fold in result.folds:
        truth = [record.label == MS[1] for record in bench.slices([fold.fold]).records]
        assert fold.auroc == pytest.approx(roc_auc_score(truth, kept[fold.fold][:, 1]))


def test_a_fold_without_a_class_is_told_and_has_no_area() -> None:
    records = records_of(10, MS[0]) + [r for r in records_of(10, MS[1]) if r.fold != 2]
    results, notes = diseases_of(bench_of(records, 1.0))
    fold = next(fold for fold in results["ms"].folds if fold.fold == 2)
    assert (fold.auroc, fold.group_auroc) == (None, None)
    assert "Multiple sclerosis, fold 2: tested without multiple sclerosis." in notes
    alone = "fold 2, which validates it, shows normal only: no early stop, not calibrated"
    assert f"Multiple sclerosis, fold 1: {alone}." in notes


def test_a_class_in_one_fold_only_is_never_trained_there_and_gets_no_probability() -> None:
    stages = DISEASES["alzheimers"].classes
    records = [r for label in stages[:2] for r in records_of(10, label, "alzheimers")]
    records += [replace(r, fold=0) for r in records_of(2, stages[3], "alzheimers")]
    results, notes = diseases_of(bench_of(records, 1.0))
    assert "Alzheimer's stage, fold 0: trained without mild dementia, moderate dementia." in notes
    assert results["alzheimers"].pooled.slices.per_class[stages[3]].recall.raw == 0


def test_a_disease_that_no_fold_can_teach_has_no_figures() -> None:
    known = records_of(10, MS[0]) + records_of(10, MS[1])
    one_class = records_of(10, "normal", "parkinsons")
    results, notes = diseases_of(bench_of(known + one_class, 1.0))
    assert list(results) == ["ms"]
    assert "Parkinson's disease, fold 0: not measured, the folds that would train it show normal only." in notes

    few = [replace(r, fold=0) for r in records_of(1, "normal", "parkinsons")]
    notes = diseases_of(bench_of(known + few, 1.0))[1]
    assert any(note.startswith("Parkinson's disease: not measured, its groups are in 1 of the folds") for note in notes)

    with pytest.raises(TrainingError, match="can be trained and tested in folds, got none"):
        diseases_of(bench_of(one_class, 1.0))


@pytest.fixture
def options(cohort: Path, model_folder: Path, tmp_path: Path) -> RunOptions:
    """Returns the options of a copy of the tiny run."""
    run = tmp_path / "run"
    shutil.copytree(model_folder.parent, run, ignore=shutil.ignore_patterns("checkpoint.pt", "cache", "bank"))
    return RunOptions(data=cohort, run=run, cache=model_folder.parent / "cache")


def changed(cohort: Path, tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """Returns a changed copy of the cohort's manifest."""
    table = pd.read_csv(cohort, dtype=str, keep_default_na=False)
    table["path"] = [str(cohort.parent / path) for path in table["path"]]
    path = tmp_path / "manifest.csv"
    change(table).to_csv(path, index=False)
    return path


def test_a_run_is_cross_validated_with_features_extracted_once(options, monkeypatch):
    seen = []
    real = crossvalidation.extract_features

    def extract(encoder, slices, preparation):
        seen.append(len(slices.records))
        return real(encoder, slices, preparation)

    monkeypatch.setattr(crossvalidation, "extract_features", extract)
    before = (options.run / "model" / "evidence" / "metrics.json").read_bytes()
    content = run_crossvalidation(options)
    records = read_manifest(options.data)
    assert sum(seen) == len(records)
    assert read_evidence(options.run / "model" / "evidence", CrossValidation) == content
    assert (options.run / "model" / "evidence" / "metrics.json").read_bytes() == before
    for key, result in content.diseases.items():
        assert result.pooled.slices.n_groups == len({r.group for r in records if r.disease == key})
        assert result.pooled.grade.grade == "insufficient"  # the encoder knows three folds
    assert [fold.n_seen for fold in content.folds] == [0, 0, 12, 12, 12]
    printed = report_crossvalidation(content)
    assert "saw no labels" in printed
    assert "- Fold 1: the encoder was trained on none of its 12 groups." in printed
    assert "- Fold 2: the encoder was trained on 12 of its 12 groups, without labels: optimistic." in printed
    assert "| Tumour | lowest to highest |" in printed


def test_what_the_encoder_knows_is_read_from_lists_then_hashes_then_cohorts(options, cohort):
    records = [replace(r, split="train" if r.fold > 1 else "test") for r in read_manifest(cohort)]
    folds = {fold: [r for r in records if r.fold == fold] for fold in (0, 2)}

    def n_seen() -> list[int]:
        return [
            fold_summary(fold, own, find_training_overlap(options.run, records)).n_seen for fold, own in folds.items()
        ]

    assert n_seen() == [0, 12]
    assert not find_training_overlap(options.run, records).has_labels
    shutil.rmtree(options.run / "pretrain")
    overlap = find_training_overlap(options.run, records)
    assert (overlap.has_labels, overlap.path) == (True, options.run / "model" / "encoder.safetensors")
    assert "fine-tuned with labels" in overlap.says
    assert n_seen() == [0, 12]
    assert "with labels: optimistic" in fold_summary(2, folds[2], overlap).message
    shutil.rmtree(options.run / "finetune")
    assert n_seen() == [0, 12]
    records = [r for r in records if r.group != folds[2][0].group]  # no longer the data of the training
    with pytest.raises(TrainingError, match="The data were split again since the model in .* was trained"):
        n_seen()
    records = [replace(r, cohort="elsewhere") for r in records]
    folds = {fold: [replace(r, cohort="elsewhere") for r in own] for fold, own in folds.items()}
    assert n_seen() == [0, 0]


def test_folds_are_dealt_where_the_manifest_has_none(options, cohort, tmp_path):
    data = changed(cohort, tmp_path, lambda table: table.assign(fold=""))
    content = run_crossvalidation(replace(options, data=data))
    assert [fold.n_groups for fold in content.folds] == [12] * 5
    assert sum(fold.n_seen for fold in content.folds) == 36


def test_one_group_cannot_be_cross_validated(options, cohort, tmp_path):
    one = changed(cohort, tmp_path, lambda table: table[table["group"] == table["group"].iloc[0]])
    with pytest.raises(TrainingError, match=r"in 3 folds or more, got groups in 1 \(1 in all\)"):
        run_crossvalidation(replace(options, data=one))


def test_cross_validation_is_by_group_only(options, tmp_path):
    with pytest.raises(TrainingError, match="Expected folds by group, got the protocol as-published"):
        run_crossvalidation(replace(options, protocol="as-published"))
    card = options.run / "pretrain" / "encoder.json"
    content = json.loads(card.read_text())
    content["data"]["protocol"] = "as-published"
    card.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="got one of as-published"):
        run_crossvalidation(options)
    with pytest.raises(ModelError, match="no such file"):
        run_crossvalidation(replace(options, run=tmp_path / "nowhere"))
