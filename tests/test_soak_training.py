"""Training keeps its promises under kills, full disks, NaN and bad files; and each trial can fail."""

import dataclasses
import gc
import json
import os
import random
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sslmri import files, project
from sslmri.errors import ModelError, TrainingError
from sslmri.learning import checkpoint, finetune, pretrain
from sslmri.learning.checkpoint import check_finite
from sslmri.learning.settings import PretrainSettings
from sslmri.training import data
from sslmri.training.reproduce import run_reproduce
from sslmri.training.steps import run_pretrain
from tests.soak import badfiles, disks, kills, nonfinite, reproducible
from tests.soak.toy_training import start


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)  # a fork of a process whose torch has more may hang


def test_a_training_killed_at_random_moments_comes_to_the_same_weights():
    row = kills.killed(count=6, least_in_saves=1, steps=("pretrain",))
    assert (row.tried, row.failed) == (6, 0), row


def test_a_save_that_is_not_atomic_is_found_by_the_kills(monkeypatch):
    def torn(path: Path, write: Callable[[Path], object]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        mark = path.parent / f".{path.name}-12345678"
        mark.symlink_to(path)  # as large as what has been written
        write(path)
        mark.unlink()

    monkeypatch.setattr(checkpoint, "write_atomically", torn)
    row = kills.killed(count=3, least_in_saves=0, steps=("pretrain",))
    assert "damaged file" in "".join(row.faults)


def test_a_save_that_leaves_its_temporary_file_is_found_by_the_kills(monkeypatch):
    monkeypatch.setattr(files, "_remove_left_over", lambda _: None)
    assert kills.killed(count=4, least_in_saves=0, steps=("pretrain",)).failed > 0


def test_a_training_that_ends_just_before_its_kill_is_reaped_once(tmp_path, monkeypatch):
    def start_and_let_end(work: Callable[[], object], log: Path) -> int:
        child = start(work, log)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        return child

    monkeypatch.setattr(kills, "start", start_and_let_end)
    (tmp_path / "begun").mkdir()
    step = kills._Step(
        "pretrain", {}, lambda run: 3, tmp_path / "begun", {}, seconds=0.0, n_bytes=0
    )  # it is killed without a look
    tally = kills._Tally()
    kills._live(step, tmp_path / "run", 9, random.Random(2), tally)  # which begins with a kill that is not aimed
    assert (tally.kills, tally.runs, tally.faults) == (0, 1, ["pretrain 1 ended with 3: nothing was said"])


def test_a_full_disk_ends_in_one_sentence_and_loses_nothing():
    row = disks.full_at_each_file(most=3, steps=("pretrain",))
    assert (row.tried, row.failed) == (3, 0), row


def test_a_small_disk_and_a_read_only_folder_end_in_one_sentence():
    row = disks.full_after(count=1)
    assert (row.tried, row.failed) == (1, 0), row
    row = disks.read_only(steps=("pretrain",))
    assert (row.tried, row.failed) == (2, 0), row


def test_a_command_line_that_shows_a_traceback_is_found(monkeypatch):
    monkeypatch.setattr(project, "OSError", ZeroDivisionError, raising=False)
    assert disks.read_only(steps=("pretrain",)).failed == 1


def test_values_that_are_not_finite_stop_a_training_and_reach_no_file():
    dead = weakref.proxy(set())  # as other tests leave some behind: the trial looks through every object
    assert gc.is_tracked(dead)
    row = nonfinite.not_finite(count=10)
    assert (row.tried, row.failed) == (10, 0), row


def test_a_training_that_does_not_look_at_its_weights_is_found(monkeypatch):
    for module in (pretrain, finetune, checkpoint):
        monkeypatch.setattr(module, "check_finite", lambda _: None)
    assert nonfinite.not_finite(count=4, kinds=("statistics", "optimiser")).failed > 0


def test_large_values_are_finite_and_an_infinity_is_named():
    check_finite({"model": {"w": torch.full((3,), 1e30)}})
    with pytest.raises(TrainingError, match="got optimizer.state.0.exp_avg with others"):
        check_finite({"optimizer": {"state": {0: {"exp_avg": torch.tensor([0.0, float("inf")])}}}})


def test_bad_files_are_all_listed_and_too_many_stop_a_training():
    row = badfiles.bad_files(count=500, share=0.018)
    assert (row.tried, row.failed) == (9, 0), row
    row = badfiles.too_many_bad_files(count=200, share=0.03)
    assert (row.tried, row.failed) == (1, 0), row


def test_a_training_that_lists_no_bad_files_is_found(monkeypatch):
    monkeypatch.setattr(data, "print", lambda *_: None, raising=False)
    assert badfiles.bad_files(count=300, share=0.01).failed == 3


def test_one_seed_gives_one_set_of_weights_for_any_number_of_workers():
    row = reproducible.same_seed(runs=((1, 1), (2, 1)), n_slices=110, is_whole=False)
    assert (row.tried, row.failed) == (1, 0), row


def test_weights_that_depend_on_the_workers_are_found(monkeypatch):
    def by_workers(options: data.RunOptions, settings: PretrainSettings) -> None:
        run_pretrain(options, dataclasses.replace(settings, seed=os.cpu_count() or 1))

    monkeypatch.setattr(reproducible, "run_pretrain", by_workers)
    assert reproducible.same_seed(runs=((1, 1), (2, 1)), n_slices=55, is_whole=False).failed == 1


def test_stored_metrics_are_reproduced_to_the_last_digit(cohort, model_folder, tmp_path):
    options = data.RunOptions(data=cohort, run=model_folder, cache=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in model_folder.rglob("*")}
    assert "values as stored" in run_reproduce(options)
    assert {path: path.stat().st_mtime_ns for path in model_folder.rglob("*")} == before
    changed = tmp_path / "tiny"
    shutil.copytree(model_folder, changed, ignore=shutil.ignore_patterns("*.pt"))
    metrics = changed / "evidence" / "metrics.json"
    content = json.loads(metrics.read_text())
    content["diseases"]["ms"]["slices"]["auroc"]["raw"] += 0.001
    metrics.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="got 1 others: ms/slices/auroc/raw"):
        run_reproduce(dataclasses.replace(options, run=changed))
