"""Label efficiency: which slices are labelled, planted features, an untrained encoder, and a run that goes on."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.errors import ModelError, TrainingError
from sslmri.evidence.baselines import balanced_logistic, baseline_probabilities
from sslmri.evidence.efficiency import FINETUNE, PIXELS, PROBE, RANDOM, SIMCLR, Fit, compare_fits
from sslmri.files import sha256_of
from sslmri.learning.encoder import Encoder
from sslmri.learning.features import extract_features
from sslmri.learning.logistic import fit_probe
from sslmri.learning.model import Head, save_encoder
from sslmri.models.evidence import LabelEfficiency, read_evidence
from sslmri.scans.slices import Preparation
from sslmri.training import label_efficiency
from sslmri.training.label_efficiency import (
    Experiment,
    pixels_baseline,
    probe,
    run_label_efficiency,
    sample_labels,
    untrained_encoder,
)
from sslmri.training.options import LabelEfficiencySettings, RunOptions
from sslmri.training.report import report_efficiency
from tests.small_encoder import SMALL_ENCODER

SMALL = Preparation(image_size=(32, 32))
QUICK = LabelEfficiencySettings(labels=(2, 3), seeds=(0, 1))


def store_of(n_groups: int, n_slices: int, first: int = 0) -> Store:
    """Returns slices of noise of ``n_groups`` people of each class of multiple sclerosis."""
    records = [
        Record(Path("x"), f"{label}-{group}-{number}", "c", "ms", label, f"{label}-{group}", None)
        for label in DISEASES["ms"].classes
        for group in range(first, first + n_groups)
        for number in range(n_slices)
    ]
    return Store(np.random.default_rng(first).integers(0, 256, (len(records), 32, 32), np.uint8), records, [])


@pytest.fixture
def bench() -> Experiment:
    train = store_of(10, 6)
    return Experiment(train, train, store_of(6, 3, 100), store_of(8, 3, 200), SMALL, "cpu")


def test_labels_are_taken_from_the_groups_in_turn() -> None:
    train = store_of(4, 5)
    kept = Counter(train.records[row].group for row in sample_labels(train, 6, 0))
    assert sorted(kept.values()) == [1, 1, 1, 1, 2, 2, 2, 2]
    assert len(sample_labels(train, 450, 0)) == len(train.records)


def test_a_smaller_budget_is_part_of_a_larger_one_and_seeds_differ() -> None:
    train = store_of(4, 5)
    few, many = (set(sample_labels(train, n, 3)) for n in (3, 9))
    assert few < many
    assert few == set(sample_labels(train, 3, 3)) != set(sample_labels(train, 3, 4))


def test_the_probe_tells_planted_features_from_useless_ones(bench: Experiment) -> None:
    generator = np.random.default_rng(0)
    truths = [own.truth for own in (bench.train, bench.validation, bench.test)]
    useless = [torch.from_numpy(generator.normal(size=(len(own), 200))).float() for own in truths]
    pattern = generator.normal(size=200) / 8
    planted = [
        rows + torch.from_numpy(np.outer(2 * own - 1, pattern)).float()
        for rows, own in zip(useless, truths, strict=True)
    ]
    fits = {
        Fit(name, PROBE, 10, seed): probe(bench, "ms", features, sample_labels(bench.train, 10, seed))
        for name, features in ((SIMCLR, planted), (RANDOM, useless))
        for seed in range(3)
    }
    groups = np.array([record.group_key for record in bench.test.records])
    curves, differences = compare_fits(DISEASES["ms"], truths[2], groups, fits)
    for row in differences:
        assert row.estimate.low > 0, row
    areas = {row.encoder: row.estimate.value for row in curves if row.measure == "auroc"}
    assert areas[SIMCLR] > 0.85
    assert areas[RANDOM] == pytest.approx(0.5, abs=0.2)


def test_the_penalty_is_the_one_with_the_best_validation_area(monkeypatch) -> None:
    def fitted(known, truth, n_classes, inverse_penalty, scaler):
        sign = 1.0 if inverse_penalty == 1e-3 else -1.0
        return Head(torch.tensor([[-sign], [sign]]), torch.tensor([0.0, inverse_penalty]))

    monkeypatch.setattr("sslmri.learning.logistic.fit_logistic", fitted)
    features, truth = torch.tensor([[-1.0], [1.0], [2.0]]), np.array([0, 1, 1])
    assert fit_probe(features, truth, features, truth, 2).bias[1] == torch.tensor(1e-3)
    # one class: nothing to choose by
    assert fit_probe(features, truth, features[1:], truth[1:], 2).bias[1] == torch.tensor(1e-5)


def test_the_regression_is_class_balanced() -> None:
    generator = np.random.default_rng(0)
    known, asked = generator.normal(size=(40, 300)), generator.normal(size=(15, 300))
    truth = generator.integers(0, 3, 40)
    plain = LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000, tol=1e-8).fit(known, truth)
    found = balanced_logistic(known, truth, asked, 4, 0.01)
    assert found[:, :3] == pytest.approx(plain.predict_proba(asked), abs=1e-3)
    assert (found[:, 3] == 0).all()


def test_one_trained_class_gets_all_probability() -> None:
    assert balanced_logistic(np.ones((3, 5)), np.full(3, 1), np.ones((2, 5)), 3, 1.0).tolist() == [[0, 1, 0]] * 2


def test_the_pixels_baseline_is_that_of_evaluate(bench: Experiment) -> None:
    rows = sample_labels(bench.train, 7, 0)
    trained = bench.train.select(rows)
    truth = trained.truth
    expected = baseline_probabilities(trained.slices, truth, bench.test.slices, 2)["pca_logistic"]
    assert (pixels_baseline(bench, "ms", rows) == expected).all()


def test_an_untrained_encoder_is_settled_on_the_training_slices_and_its_own_for_each_seed(bench: Experiment) -> None:
    encoder = untrained_encoder(bench, SMALL_ENCODER, 0)
    seen = []
    encoder.bn1.register_forward_hook(
        lambda module, inputs, output: seen.append(output.float().clone())
    )  # ReLU comes in place
    one = extract_features(encoder, bench.pool.slices, SMALL)
    values = torch.cat(seen)
    assert values.mean(dim=(0, 2, 3)).abs().max() < 0.1
    assert values.std(dim=(0, 2, 3)) == pytest.approx(torch.ones(8), abs=0.1)
    assert not encoder.training
    assert {m.momentum for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}
    assert torch.equal(one, extract_features(untrained_encoder(bench, SMALL_ENCODER, 0), bench.pool.slices, SMALL))
    assert not torch.equal(one, extract_features(untrained_encoder(bench, SMALL_ENCODER, 1), bench.pool.slices, SMALL))


@pytest.fixture
def options(cohort: Path, model_folder: Path, tmp_path: Path) -> RunOptions:
    ignored = shutil.ignore_patterns("checkpoint.pt")
    shutil.copytree(model_folder.parent / "pretrain", tmp_path / "run" / "pretrain", ignore=ignored)
    return RunOptions(data=cohort, run=tmp_path / "run", cache=model_folder.parent / "cache")


def test_a_run_is_written_reported_and_not_repeated(options: RunOptions, monkeypatch, capsys) -> None:
    content = run_label_efficiency(options, QUICK)
    assert read_evidence(options.run / "model" / "evidence", LabelEfficiency) == content
    assert content.encoder_sha256 == sha256_of(options.run / "pretrain" / "encoder.safetensors")
    assert content.protocol == "group-disjoint"
    assert content.not_run == (FINETUNE,)
    assert content.diseases.keys() == set(DISEASES)
    for result in content.diseases.values():
        points = {(row.encoder, row.regime, row.labels) for row in result.curves}
        assert points == {(*arm, n) for arm in ((SIMCLR, PROBE), (RANDOM, PROBE), (PIXELS, "baseline")) for n in (2, 3)}
        assert {row.against for row in result.differences} == {RANDOM, PIXELS}
        assert all(len(row.seeds) == 2 for row in result.curves)
    assert len(report_efficiency(content).splitlines()) > 2 + 2 * len(DISEASES)
    monkeypatch.setattr(label_efficiency, "probe", None)  # a second start fits nothing
    monkeypatch.setattr(label_efficiency, "pixels_baseline", None)
    again = run_label_efficiency(options, QUICK)
    assert again.diseases == content.diseases
    fewer = run_label_efficiency(options, replace(QUICK, labels=(3,)))
    assert {row.labels for row in fewer.diseases["ms"].curves} == {3}


def test_a_killed_run_goes_on_with_the_fits_that_are_missing(options: RunOptions) -> None:
    settings = replace(QUICK, seeds=(0,))
    content = run_label_efficiency(options, settings)
    paths = sorted((options.run / "label-efficiency").iterdir())
    assert len(paths) == 6
    paths[3].unlink()
    assert run_label_efficiency(options, settings).diseases == content.diseases
    assert sorted((options.run / "label-efficiency").iterdir()) == paths
    paths[3].write_bytes(b"PK")
    with pytest.raises(ModelError, match="got a damaged file: remove it"):
        run_label_efficiency(options, settings)


def test_fits_of_another_encoder_are_not_used(options: RunOptions) -> None:
    run_label_efficiency(options, replace(QUICK, labels=(2,), seeds=(0,)))
    save_encoder(options.run / "pretrain" / "encoder.safetensors", Encoder(SMALL_ENCODER))
    run_label_efficiency(options, replace(QUICK, labels=(2,), seeds=(0,)))
    assert len(list((options.run / "label-efficiency").iterdir())) == 6


def test_fine_tuning_is_run_by_choice(options: RunOptions) -> None:
    settings = replace(QUICK, labels=(2,), seeds=(0,), regimes=(FINETUNE,), finetune_epochs=1)
    content = run_label_efficiency(options, settings)
    assert content.not_run == (PROBE,)
    regimes = {(row.encoder, row.regime) for row in content.diseases["ms"].curves}
    assert regimes == {(SIMCLR, FINETUNE), (RANDOM, FINETUNE), (PIXELS, "baseline")}
    assert {path.suffix for path in (options.run / "label-efficiency").iterdir()} == {".npz"}


def test_the_published_protocol_is_refused(options: RunOptions) -> None:
    with pytest.raises(TrainingError, match="Expected the protocol group-disjoint, got as-published"):
        run_label_efficiency(replace(options, protocol="as-published"), QUICK)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": ()}, "labels above 0, got .* and \\[\\]"),
        ({"seeds": ()}, "one or more seeds"),
        ({"labels": (0, 5)}, "above 0"),
    ],
)
def test_settings_without_a_meaning_are_refused(change: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=says):
        run_label_efficiency(RunOptions(run=tmp_path), replace(QUICK, **change))


def test_a_run_without_pre_training_is_refused(cohort: Path, model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Expected a pre-trained encoder"):
        run_label_efficiency(RunOptions(data=cohort, run=tmp_path, cache=model_folder.parent / "cache"), QUICK)


def test_an_encoder_that_saw_test_groups_is_refused(options: RunOptions, tmp_path: Path) -> None:
    table = pd.read_csv(options.data, dtype=str, keep_default_na=False)
    table["path"] = [str(options.data.parent / path) for path in table["path"]]
    turned = table.assign(fold=[str((int(fold) + 1) % 5) for fold in table["fold"]])
    turned.to_csv(tmp_path / "turned.csv", index=False)
    with pytest.raises(TrainingError, match="^The data were split again since the encoder in "):
        run_label_efficiency(replace(options, data=tmp_path / "turned.csv"), QUICK)
    assert not (options.run / "model" / "evidence" / LabelEfficiency.FILE).exists()
