"""What a run learned from is never tested on, and a run keeps to its protocol."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from sslmri.cohorts.manifest import read_manifest
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError, ModelError, TrainingError
from sslmri.evidence.predictions import read_predictions
from sslmri.files import sha256_of
from sslmri.models.evidence import Metrics, find_evidence, read_evidence
from sslmri.models.folder import read_encoder_card, read_model_card
from sslmri.training import data
from sslmri.training.controls import run_controls
from sslmri.training.data import RunOptions, open_cohort
from sslmri.training.report import report_metrics
from sslmri.training.reproduce import run_reproduce
from sslmri.training.steps import run_bank, run_evaluate, run_finetune, run_pretrain
from tests.tiny import TINY_FINETUNE, TINY_PRETRAIN

STEPS: dict[str, Callable[[RunOptions], object]] = {
    "pretrain": lambda options: run_pretrain(options, TINY_PRETRAIN),
    "finetune": lambda options: run_finetune(options, TINY_FINETUNE),
    "evaluate": run_evaluate,
}
MEASURES: list[Callable[[RunOptions], object]] = [run_evaluate, run_reproduce, run_controls, run_bank]
PROBE = replace(TINY_FINETUNE, regime="linear-probe")


@pytest.fixture
def options(cohort: Path, model_folder: Path, tmp_path: Path) -> RunOptions:
    """Returns the options of a copy of the tiny run, to be damaged."""
    run = tmp_path / "run"
    shutil.copytree(model_folder.parent, run, ignore=shutil.ignore_patterns("checkpoint.pt", "cache", "bank"))
    return RunOptions(data=cohort, run=run, cache=model_folder.parent / "cache")


@pytest.fixture(scope="module")
def published(cohort: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunOptions, Path]:
    """Returns the options of a run of the published protocol, and a model that its evidence was put compared."""
    folder = tmp_path_factory.mktemp("published")
    compared = folder / "default"
    shutil.copytree(model_folder, compared, ignore=shutil.ignore_patterns("pretrain", "finetune"))
    options = RunOptions(cohort, folder / "run", cache=model_folder.parent / "cache", protocol="as-published")
    run_pretrain(options, TINY_PRETRAIN)
    run_finetune(options, PROBE)
    run_evaluate(options, compared)
    return options, compared


def changed(cohort: Path, tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    """Returns a changed copy of the cohort's manifest."""
    table = pd.read_csv(cohort, dtype=str, keep_default_na=False)
    table["path"] = [str(cohort.parent / path) for path in table["path"]]
    path = tmp_path / "manifest.csv"
    change(table).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("step", STEPS)
def test_a_group_in_two_folds_of_the_manifest_stops_every_step_by_name(step, options, cohort, tmp_path):
    def leak(table: pd.DataFrame) -> pd.DataFrame:
        row = table.index[table["fold"] == "0"][0]
        table.loc[row, "fold"] = "3"
        return table

    path = changed(cohort, tmp_path, leak)
    name = read_manifest(path)[0].group_key
    run = tmp_path / "new" if step == "pretrain" else options.run
    with pytest.raises(ManifestError, match=rf"got 1 in several, {name} \(test and train\)"):
        STEPS[step](replace(options, data=path, run=run))


@pytest.mark.parametrize("step", STEPS)
def test_an_unlabelled_image_of_a_test_group_with_a_training_fold_stops_every_step(step, options, cohort, tmp_path):
    def leak(table: pd.DataFrame) -> pd.DataFrame:
        row = table.index[table["fold"] == "0"][0]
        table.loc[row, ["disease", "label", "fold"]] = ["", "", "2"]
        return table

    run = tmp_path / "new" if step == "pretrain" else options.run
    with pytest.raises(ManifestError, match="got 1 in several"):
        STEPS[step](replace(options, data=changed(cohort, tmp_path, leak), run=run))


def test_an_unlabelled_image_of_a_test_group_without_a_fold_is_kept_out_of_the_pool(options, cohort, tmp_path):
    def unlabelled(table: pd.DataFrame) -> pd.DataFrame:
        row = table.index[table["fold"] == "0"][0]
        table.loc[row, ["disease", "label", "fold"]] = ""
        return table

    path = changed(cohort, tmp_path, unlabelled)
    store = open_cohort(replace(options, data=path)).store
    first = store.records[0]
    assert (first.disease, first.split) == (None, "test")
    assert first.group_key not in {record.group_key for record in store.where(split="train").records}


def turned(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a manifest of which another fold is tested."""
    return table.assign(fold=[str((int(fold) + 1) % 5) for fold in table["fold"]])


def refuse_to_prepare(*_: object) -> None:
    pytest.fail("slices were prepared")


@pytest.mark.parametrize(("step", "what"), [("finetune", "encoder"), ("evaluate", "model")])
def test_no_step_holds_out_what_the_step_before_it_learned_from(step, what, options, cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "open_store", refuse_to_prepare)
    with pytest.raises(TrainingError, match=rf"^The data were split again since the {what} in .* so train again"):
        STEPS[step](replace(options, data=changed(cohort, tmp_path, turned)))


def test_a_shipped_model_is_measured_on_its_own_split_only(options, cohort, tmp_path):
    for step in ("pretrain", "finetune"):
        shutil.rmtree(options.run / step)
    before = read_evidence(options.run / "model" / "evidence", Metrics)
    assert run_evaluate(options).keys() == before.diseases.keys()
    path = changed(cohort, tmp_path, turned)
    with pytest.raises(TrainingError, match=r"^The data were split again since the model in .* so train again"):
        run_evaluate(replace(options, data=path))

    elsewhere = changed(cohort, tmp_path, lambda table: turned(table).assign(cohort="elsewhere"))
    assert run_evaluate(replace(options, data=elsewhere)).keys() == before.diseases.keys()


def test_a_model_trained_without_an_unreadable_group_is_measured_on_the_same_manifest(options, cohort, tmp_path):
    def unreadable(table: pd.DataFrame) -> pd.DataFrame:
        row = table[table["fold"] == "3"].iloc[[0]]
        return pd.concat([table, row.assign(path="lost.png", group="lost")])

    (tmp_path / "lost.png").write_bytes(b"no image")
    opened = open_cohort(replace(options, data=changed(cohort, tmp_path, unreadable)))
    train = opened.store.where(split="train")
    assert "lost" not in " ".join(train.groups)
    assert len(train.bad) == 1
    learned = data.training_data(train, "group-disjoint")
    data.check_same_split("model", learned, opened.used, "group-disjoint")
    assert learned.groups_sha256 != data.hash_of(train.records)


def test_a_step_that_goes_on_with_other_slices_is_refused(options, cohort, model_folder, tmp_path):
    shutil.copy(model_folder.parent / "finetune" / "checkpoint.pt", options.run / "finetune")
    fewer = changed(cohort, tmp_path, lambda table: table.drop(table.index[table["fold"] == "3"][0]))
    with pytest.raises(TrainingError, match=r"settings of the run that is resumed, got others \(slices_sha256 "):
        run_finetune(replace(options, data=fewer, resume=True), TINY_FINETUNE)


@pytest.mark.parametrize("step", ["finetune", "evaluate"])
def test_a_run_of_one_protocol_is_refused_by_steps_of_the_other(step, options, published):
    for own, other in ((options, "as-published"), (published[0], "group-disjoint")):
        with pytest.raises(ModelError, match=f"under the protocol {other}, got one of {own.protocol}"):
            STEPS[step](replace(own, protocol=other))


def test_a_run_states_its_protocol_in_every_card(options, published):
    for own in (options, published[0]):
        card = read_model_card(own.run)
        assert card.training.protocol == card.encoder.data.protocol == own.protocol
        assert read_encoder_card(own.run / "pretrain" / "encoder.json").data.protocol == own.protocol


def test_as_published_evidence_lies_apart_counts_shared_groups_and_is_insufficient(published):
    options, _ = published
    metrics = read_evidence(options.run / "model" / "evidence" / "as-published", Metrics)
    assert not (options.run / "model" / "evidence" / "metrics.json").exists()
    assert metrics.protocol == "as-published"
    records = open_cohort(options).records
    groups = {split: {r.group_key for r in records if r.split == split} for split in ("train", "test")}
    assert metrics.n_shared_groups == len(groups["train"] & groups["test"]) > 0
    own = {key: {r.group_key for r in records if r.split == "test" and r.disease == key} for key in DISEASES}
    for key, result in metrics.diseases.items():
        assert result.n_shared_groups == len(groups["train"] & own[key])
        assert result.grade.grade == "insufficient"


def test_group_disjoint_evidence_shares_no_group(options):
    assert read_evidence(options.run / "model" / "evidence", Metrics).n_shared_groups == 0


def test_published_pre_training_is_not_tested_on_images_that_it_saw(published):
    with pytest.raises(TrainingError, match="^The data were split again since the encoder in "):
        run_finetune(replace(published[0], split_seed=1, resume=True), PROBE)


def test_evidence_compared_a_model_shows_both_protocols_and_names_its_encoder(published, model_folder):
    options, compared = published
    card = read_model_card(compared)
    own, other = find_evidence(card, Metrics), find_evidence(card, Metrics, "as-published")
    assert own.protocol == "group-disjoint"
    assert own.encoder_sha256 == sha256_of(model_folder / "encoder.safetensors")
    assert other.protocol == "as-published"
    assert other.encoder_sha256 == sha256_of(options.run / "model" / "encoder.safetensors")
    assert len(read_predictions(card.folder / "evidence" / "as-published", DISEASES["ms"]))
    assert find_evidence(read_model_card(options.run), Metrics) == other
    copied = sorted(path.name for path in (compared / "evidence" / "as-published").iterdir())
    assert copied == sorted(path.name for path in (options.run / "model" / "evidence" / "as-published").iterdir())
    assert not list((compared / "evidence").glob(".*"))


def test_metrics_of_another_protocol_or_encoder_in_the_place_of_the_own_are_refused(published, tmp_path):
    _, compared = published
    folder = tmp_path / "model"
    shutil.copytree(compared, folder)
    shutil.copy(folder / "evidence" / "metrics.json", folder / "evidence" / "as-published" / "metrics.json")
    with pytest.raises(ModelError, match="Expected metrics of the protocol as-published"):
        find_evidence(read_model_card(folder), Metrics, "as-published")
    metrics = json.loads((folder / "evidence" / "metrics.json").read_text())
    (folder / "evidence" / "metrics.json").write_text(json.dumps(metrics | {"encoder_sha256": "f" * 64}))
    with pytest.raises(ModelError, match="Expected metrics of this model's encoder"):
        find_evidence(read_model_card(folder), Metrics)


def test_only_as_published_evidence_is_put_compared_a_group_disjoint_model(options, published):
    _, compared = published
    with pytest.raises(TrainingError, match="Expected --compare-to with --protocol as-published"):
        run_evaluate(options, compared)
    with pytest.raises(TrainingError, match="its own evidence would be replaced"):
        run_evaluate(published[0], published[0].run)
    with pytest.raises(ModelError, match="no such file"):
        run_evaluate(published[0], options.run / "nowhere")


def test_groups_without_patient_ids_are_called_optimistic_in_notes_and_report(options, cohort, tmp_path, capsys):
    def nameless(table: pd.DataFrame) -> pd.DataFrame:
        is_ms = table["disease"] == "ms"
        return table.assign(group=table["group"].where(~is_ms, "unknown-" + table["group"]))

    for step in ("pretrain", "finetune"):
        shutil.rmtree(options.run / step)
    path = changed(cohort, tmp_path, lambda table: nameless(table).assign(cohort="elsewhere"))
    results = run_evaluate(replace(options, data=path))
    told = (
        "No patient ids, so results may be optimistic: the source does not identify the patient in 2 of 2 test groups"
    )
    assert told in results["ms"].notes[-1]
    assert not any("patient ids" in note for note in results["parkinsons"].notes)
    assert f"- Multiple sclerosis: {told}" in report_metrics(results)
    assert "Protocol group-disjoint: 0 of 12 test groups" in capsys.readouterr().out


def test_one_group_in_total_is_no_evidence(options, cohort, tmp_path):
    path = changed(
        cohort, tmp_path, lambda table: table[table["group"] == table["group"].iloc[0]].assign(fold="", cohort="else")
    )
    for step in ("pretrain", "finetune"):
        shutil.rmtree(options.run / step)
    shutil.rmtree(options.run / "model" / "evidence")
    with pytest.raises(TrainingError, match="Expected test groups of .* got none of any"):
        run_evaluate(replace(options, data=path))
    assert not (options.run / "model" / "evidence").exists()


def test_a_validation_split_of_one_class_is_reported_and_calibrates_nothing(options, cohort, tmp_path, capsys):
    def one_class(table: pd.DataFrame) -> pd.DataFrame:
        dropped = (table["fold"] == "1") & (table["label"] == "multiple_sclerosis")
        return table[~dropped]

    run_finetune(replace(options, data=changed(cohort, tmp_path, one_class)), PROBE)
    assert "Multiple sclerosis: the validation split holds normal only" in capsys.readouterr().out
    head = read_model_card(options.run).heads["ms"]
    assert (head.calibration_temperature, head.threshold_low, head.threshold_high) == (1.0, 0.5, 0.5)


@pytest.mark.parametrize("measure", MEASURES)
def test_no_command_measures_a_model_on_data_that_were_split_again(
    measure, cohort, model_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(data, "open_store", refuse_to_prepare)
    shipped = Path(shutil.copytree(model_folder, tmp_path / "shipped"))
    before = {path: path.stat().st_mtime_ns for path in shipped.rglob("*")}
    options = RunOptions(changed(cohort, tmp_path, turned), shipped, cache=model_folder.parent / "cache")
    with pytest.raises(TrainingError, match=rf"^The data were split again since the model in {shipped} "):
        measure(options)
    assert {path: path.stat().st_mtime_ns for path in shipped.rglob("*")} == before
