"""Cross-validation of the whole recipe and the final model, on the simulated cohort with a small encoder."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.errors import ModelError, TrainingError
from sslmri.evidence.calibration import assign_folds, fit_decisions
from sslmri.learning.model import Model
from sslmri.models.evidence import Controls, GateTable, Metrics, find_evidence
from sslmri.models.folder import read_model_card
from sslmri.screening.screener import Screener
from sslmri.training import crossvalidation
from sslmri.training.controls import measure_same_source
from sslmri.training.crossvalidation import check_folds, folds_of, read_folds, run_crossvalidate
from sslmri.training.data import hash_of, open_folds
from sslmri.training.final import evidence_note, run_final
from sslmri.training.fit import OutOfSample
from sslmri.training.measure import answer_folds, one_class_groups
from sslmri.training.options import RunOptions
from tests.test_folds import record
from tests.tiny import TINY_FINETUNE, TINY_PRETRAIN

FINETUNE = replace(TINY_FINETUNE, refits_atrophy=True, late_epochs=1)


@pytest.fixture(scope="module")
def options(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> RunOptions:
    """Returns the options of a run whose folds are all trained."""
    folder = tmp_path_factory.mktemp("folds")
    options = RunOptions(data=cohort, run=folder / "run", cache=folder / "cache")
    run_crossvalidate(options, TINY_PRETRAIN, FINETUNE)
    return replace(options, resume=True)


def copied(options: RunOptions, folder: Path) -> RunOptions:
    shutil.copytree(options.run, folder / "run")
    return replace(options, run=folder / "run")


def test_every_labelled_slice_is_tested_once_by_a_model_that_never_saw_its_group(options):
    store = open_folds(options)[1]
    found = read_folds(options.run, store)
    assert sorted(r.name for r in found.slices.records) == sorted(r.name for r in store.labelled.records)
    for fold in folds_of(store):
        card = read_model_card(options.run / "folds" / str(fold))
        others = [r for r in store.records if r.fold != fold]
        assert 0 < len(others) < len(store.records)
        assert card.encoder.data.groups_sha256 == hash_of(others)
        assert card.training.groups_sha256 == hash_of(r for r in others if r.disease)
    assert all(len(values) == len(found.slices.records) for values in found.logits.values())


def test_the_final_model_learns_from_all_groups_and_carries_the_results_of_the_folds(options, tmp_path):
    run = copied(options, tmp_path)
    results, measured = run_final(run, TINY_PRETRAIN, FINETUNE)
    card = read_model_card(run.run)
    store = open_folds(run)[1]
    assert card.training.counts.groups == len(set(store.labelled.groups.tolist()))
    assert card.evidence_note == (
        "These results are of 5 models, each trained the same way without one fold, and measured on that fold; this "
        "model learned from all groups."
    )
    metrics, controls = find_evidence(card, Metrics), find_evidence(card, Controls)
    assert metrics is not None
    assert metrics.diseases == results
    assert {key: each.slices.n_cases for key, each in results.items()} == {
        key: len(store.indices(disease=key)) for key in DISEASES
    }
    assert controls == measured
    assert controls.diseases.keys() == results.keys()
    assert controls.diseases["tumours"].localisation is not None
    assert card.heads["tumours"].pooling == "log-mean-exp"
    assert card.heads["alzheimers"].pooling == "halves"
    model, sizes = Model.load(run.run), card.encoder.architecture
    assert model.heads["tumours"].weight.shape == (4, sizes.texture_dim // 2 + sizes.feature_dim)
    gate = find_evidence(card, GateTable)
    assert gate is not None
    assert gate.rule.startswith("Measured slice by slice on the first fold")
    assert Screener.load(run.run).bank is not None


def test_a_run_killed_in_a_fold_goes_on_to_the_same_predictions(options, tmp_path, monkeypatch):
    run = replace(options, run=tmp_path / "run", resume=False)
    predict = crossvalidation._predict

    def killed(folder: Path, test: Store) -> None:
        if folder.name == "1":
            raise KeyboardInterrupt
        predict(folder, test)

    monkeypatch.setattr(crossvalidation, "_predict", killed)
    with pytest.raises(KeyboardInterrupt):
        run_crossvalidate(run, TINY_PRETRAIN, FINETUNE, (0, 1))
    monkeypatch.undo()
    with pytest.raises(TrainingError, match="Expected a new run, got one that has begun"):
        run_crossvalidate(run, TINY_PRETRAIN, FINETUNE)
    resumed = replace(run, resume=True)
    run_crossvalidate(resumed, TINY_PRETRAIN, FINETUNE, (0, 1))
    store = open_folds(options)[1]
    both, full = read_folds(run.run, store), read_folds(options.run, store)
    assert sorted(set(both.folds.tolist())) == [0, 1]
    for key, values in both.logits.items():
        np.testing.assert_array_equal(values, full.logits[key][full.folds < 2])
        np.testing.assert_array_equal(both.peaks[key], full.peaks[key][full.folds < 2])


def test_a_fold_of_other_settings_is_refused(options, tmp_path):
    other = replace(FINETUNE, label_smoothing=0.2)
    with pytest.raises(TrainingError, match="got another label_smoothing in"):
        run_crossvalidate(options, TINY_PRETRAIN, other)
    with pytest.raises(TrainingError, match="got another label_smoothing in"):
        run_final(options, TINY_PRETRAIN, other)


def test_other_pretraining_and_another_preparation_are_refused_too(options):
    with pytest.raises(TrainingError, match="got another temperature in"):
        run_crossvalidate(options, replace(TINY_PRETRAIN, temperature=0.5), FINETUNE)
    smaller = replace(options, preparation=replace(options.preparation, image_size=(64, 64)))
    with pytest.raises(TrainingError, match="got another preparation in"):
        run_crossvalidate(smaller, TINY_PRETRAIN, FINETUNE)


def test_folds_that_cannot_be_trained_are_refused_and_missing_classes_named(options, capsys):
    with pytest.raises(TrainingError, match="Expected folds out of 0, 1, 2, 3, 4, got 7"):
        run_crossvalidate(options, TINY_PRETRAIN, FINETUNE, (0, 7))
    records = [record("a", "1", "glioma", 0), record("b", "2", "no_tumour", 1), record("c", "3", "no_tumour", 0)]
    check_folds(Store(np.zeros((3, 2, 2), np.uint8), records, []), ())
    assert "Fold 0 is trained without glioma: no other fold shows it." in capsys.readouterr().out
    with pytest.raises(TrainingError, match="Expected groups of Tumour in two folds or more, got all in fold 0"):
        check_folds(Store(np.zeros((2, 2, 2), np.uint8), [records[0], records[2]], []), ())


def test_folds_that_are_missing_damaged_or_of_other_data_are_refused(options, tmp_path):
    store = open_folds(options)[1]
    with pytest.raises(TrainingError, match="Expected a trained fold in .*, got none"):
        read_folds(tmp_path, store)
    run = copied(options, tmp_path)
    shutil.copy(run.run / "folds/1/out_of_fold.npz", run.run / "folds/0/out_of_fold.npz")
    with pytest.raises(TrainingError, match="Expected fold 0 of these data, got other slices"):
        read_folds(run.run, store)
    path = run.run / "folds/0/out_of_fold.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match="got a damaged file"):
        read_folds(run.run, store)


def test_the_published_protocol_has_no_folds(options):
    with pytest.raises(TrainingError, match="Expected the protocol group-disjoint"):
        run_crossvalidate(replace(options, protocol="as-published"), TINY_PRETRAIN, FINETUNE)


def test_few_groups_are_split_once_and_a_sentence_says_so(options, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(crossvalidation, "_MIN_GROUPS", 1000)
    run = replace(options, run=tmp_path / "run", resume=False)
    results = run_crossvalidate(run, TINY_PRETRAIN, FINETUNE)
    assert "Too few labelled groups to leave each out in turn: they are split once" in capsys.readouterr().out
    assert results["ms"].slices.n_groups < len(set(open_folds(run)[1].where(disease="ms").groups.tolist()))
    assert (run.run / "model" / "model.json").exists()


def out_of_fold(n_folds: int) -> OutOfSample:
    generator = np.random.default_rng(0)
    records = [replace(record(str(i), str(i // 2), "glioma", i // 2 % n_folds), disease="ms") for i in range(120)]
    records = [replace(r, label=DISEASES["ms"].classes[i // 2 % 3 % 2]) for i, r in enumerate(records)]
    store = Store(np.zeros((120, 4, 4), np.uint8), records, [])
    logits = np.eye(2)[store.truth] + generator.normal(size=(120, 2))
    return OutOfSample(store, {"ms": logits}, {"ms": np.ones((120, 2))})


@pytest.mark.parametrize("n_folds", [1, 5])
def test_each_part_is_decided_by_what_was_fitted_on_the_others(n_folds):
    found = out_of_fold(n_folds)
    own = answer_folds(found, found.slices).heads["ms"]
    truth, groups, logits = found.slices.truth, found.slices.groups, found.logits["ms"]
    parts = found.folds if n_folds == 5 else assign_folds(truth, groups, 5)
    assert len(np.unique(parts)) == 5
    for part in range(5):
        inside = parts == part
        assert not set(groups[inside]) & set(groups[~inside])
        expected = fit_decisions(logits[~inside], truth[~inside], groups[~inside], DISEASES["ms"].classes)
        np.testing.assert_array_equal(own.slices.probabilities[inside], expected.probabilities(logits[inside]))


def test_slices_of_one_patient_with_and_without_a_tumour_are_two_groups():
    records = [record("a", "1", "glioma", 0), record("b", "1", "no_tumour", 0), record("c", "2", "glioma", 0)]
    names = one_class_groups(Store(np.zeros((3, 2, 2), np.uint8), records, []))
    assert names.tolist() == ["c/1 glioma", "c/1 no_tumour", "c/2"]


def test_slices_of_patients_with_and_without_a_tumour_are_measured_apart():
    records = [
        record(f"{n}{kind}", str(n), label, n % 2)
        for n in range(8)
        for kind, label in (("a", "glioma"), ("b", "no_tumour"))
    ]
    other = [replace(record(f"o{n}", f"o{n}", "no_tumour", n % 2), cohort="other") for n in range(6)]
    store = Store(np.zeros((22, 2, 2), np.uint8), [*records, *other], [])
    logits = np.zeros((22, 4))
    logits[:, 1] = [3.0, -3.0] * 8 + [9.0] * 6
    logits[0:2, 1] = -4.0, 4.0
    found = OutOfSample(store, {"tumours": logits}, {"tumours": logits})
    result = measure_same_source(answer_folds(found, store))
    assert result is not None
    assert (result.n_with, result.n_without, result.n_groups, result.n_groups_with_both) == (8, 8, 8, 8)
    assert result.auroc_within_group.raw == pytest.approx(7 / 8)
    assert result.data.startswith("c, T1 with contrast")
    alone = OutOfSample(store.select(range(16, 22)), {"tumours": logits[16:]}, {"tumours": logits[16:]})
    assert measure_same_source(answer_folds(alone, alone.slices)) is None


def test_the_note_tells_of_test_groups_that_pretraining_saw():
    assert evidence_note([0, 1], [0, 1], {"a", "b"}).endswith(
        " Pre-training saw other slices of 2 test groups, without labels."
    )


def test_the_note_names_the_folds_that_did_not_run():
    assert evidence_note([0], [0, 1, 2]) == (
        "These results are of one model, trained the same way without fold 0, and measured on that fold; this model "
        "learned from all groups. Folds not measured: 1, 2."
    )
