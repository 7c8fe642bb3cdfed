"""Pre-training: learns, resumes exactly after a kill, and stops at the first fault."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sslmri.cohorts.manifest import read_manifest
from sslmri.cohorts.splits import assign_splits
from sslmri.cohorts.store import Store, open_store
from sslmri.errors import TrainingError
from sslmri.learning.checkpoint import load_checkpoint, save_checkpoint
from sslmri.learning.pretrain import pretrain
from sslmri.learning.schedule import cosine_with_warmup
from sslmri.learning.settings import PretrainSettings, ViewSettings
from sslmri.models.architecture import RESNET50
from sslmri.models.history import read_history
from sslmri.scans.slices import Preparation
from tests.small_encoder import SMALL_ENCODER

SETTINGS = PretrainSettings(
    epochs=3, batch_size=8, probe_every=3, architecture=SMALL_ENCODER, views=ViewSettings(size=32)
)
SMALL = Preparation(image_size=(32, 32))


@pytest.fixture(scope="module")
def stores(cohort, tmp_path_factory) -> tuple[Store, Store]:
    records = assign_splits(read_manifest(cohort))
    store = open_store(records, SMALL, tmp_path_factory.mktemp("store"))
    return store.where(split="train").select(range(0, 72, 3)), store.where(split="validation")


def run(stores: tuple[Store, Store], folder: Path, settings: PretrainSettings = SETTINGS) -> dict[str, torch.Tensor]:
    pool, validation = stores
    return pretrain(pool, (pool, validation), SMALL, folder, settings).state_dict()


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_history_has_a_line_for_each_epoch_and_the_probe(stores, tmp_path):
    run(stores, tmp_path)
    history = read_history(tmp_path / "history.jsonl")
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert history[0]["knn"] is None
    assert set(history[2]["knn"]) == {"alzheimers", "ms", "parkinsons", "tumours"}


def test_a_real_resnet50_is_pre_trained(stores, tmp_path):
    """The one test that trains a ResNet-50; the others take a small encoder."""
    pool, validation = (store.select(range(8)) for store in stores)
    settings = dataclasses.replace(SETTINGS, epochs=1, batch_size=4, probe_every=1, architecture=RESNET50)
    encoder = pretrain(pool, (pool, validation), SMALL, tmp_path, settings)
    assert encoder(torch.zeros(2, 1, 32, 32)).shape == (2, 2048)
    assert math.isfinite(read_history(tmp_path / "history.jsonl")[0]["loss"])


def test_one_seed_gives_one_set_of_weights_and_another_seed_another(stores, tmp_path):
    first, second = (run(stores, tmp_path / name) for name in "ab")
    other = run(stores, tmp_path / "c", dataclasses.replace(SETTINGS, seed=1))
    assert equal(first, second)
    assert not equal(first, other)


_CHILD = """
import sys
from pathlib import Path
import torch
from sslmri.cohorts.store import Store
from tests.test_pretrain import run
from sslmri.cohorts.manifest import read_manifest
from sslmri.cohorts.splits import assign_splits
from sslmri.cohorts.store import open_store
from tests.test_pretrain import SMALL
store = open_store(assign_splits(read_manifest(Path(sys.argv[1]))), SMALL, Path(sys.argv[2]))
stores = store.where(split="train").select(range(0, 72, 3)), store.where(split="validation")
torch.save(run(stores, Path(sys.argv[3])), sys.argv[4])
"""


def test_a_killed_run_resumes_to_the_weights_of_one_never_stopped(cohort, stores, tmp_path):
    def start() -> subprocess.Popen:
        arguments = [str(cohort), str(tmp_path / "store"), str(tmp_path / "killed"), str(tmp_path / "killed.pt")]
        return subprocess.Popen([sys.executable, "-c", _CHILD, *arguments], cwd=Path(__file__).parents[1])

    killed = start()
    history = tmp_path / "killed" / "history.jsonl"
    while not (history.exists() and len(read_history(history)) >= 1):
        assert killed.poll() is None
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed.pt").exists()
    assert start().wait(timeout=300) == 0
    assert equal(run(stores, tmp_path / "whole"), torch.load(tmp_path / "killed.pt", weights_only=True))
    assert [entry["epoch"] for entry in read_history(history)] == [1, 2, 3]


def test_a_checkpoint_of_other_settings_is_refused(stores, tmp_path):
    run(stores, tmp_path, dataclasses.replace(SETTINGS, epochs=1, probe_every=1))
    with pytest.raises(TrainingError, match="temperature 0.07 -> 0.5"):
        run(stores, tmp_path, dataclasses.replace(SETTINGS, epochs=1, probe_every=1, temperature=0.5))


def test_a_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"\x80\x04garbage")
    with pytest.raises(TrainingError, match="damaged"):
        load_checkpoint(tmp_path / "checkpoint.pt", {})


def test_a_checkpoint_with_a_value_that_is_not_finite_is_never_written(tmp_path):
    with pytest.raises(TrainingError, match="finite weights"):
        save_checkpoint(tmp_path / "c.pt", {"model": {"w": torch.tensor([float("nan")])}})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "state",
    [{"best_score": float("nan")}, {"best_score": -math.inf}, {"parts": [torch.tensor([float("nan")])]},
     {"parts": ({"lr": math.inf},)}],
)  # fmt: skip
def test_neither_a_number_nor_a_list_that_is_not_finite_is_written(tmp_path, state):
    with pytest.raises(TrainingError, match=f"finite weights, got {next(iter(state))}"):
        save_checkpoint(tmp_path / "c.pt", state)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [[1, 2], {"settings": 3}, {"format": "other"}, torch.ones(2)])
def test_a_checkpoint_that_is_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match="Expected a checkpoint"):
        load_checkpoint(tmp_path / "checkpoint.pt", {"epochs": 1})


def test_a_checkpoint_that_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    def refuse(*_args: object, **_named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(TrainingError, match=r"got: Permission denied. It is left as it is"):
        load_checkpoint(tmp_path / "checkpoint.pt", {})


@pytest.mark.parametrize("spoilt", [{"model": {}}, {"model": 3}, {"optimizer": {}}, {"epoch": "x"}, {"epoch": None}])
def test_a_checkpoint_whose_parts_do_not_fit_is_refused(stores, tmp_path, spoilt):
    once = dataclasses.replace(SETTINGS, epochs=1, probe_every=1)
    run(stores, tmp_path, once)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save(state | spoilt, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match="got parts that do not fit it"):
        run(stores, tmp_path, once)


def test_a_failed_save_keeps_the_checkpoint_before_it(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"settings": {}, "model": {}, "epoch": 1})

    def full_disk(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(TrainingError, match="No space left"):
        save_checkpoint(path, {"settings": {}, "model": {}, "epoch": 2})
    assert load_checkpoint(path, {})["epoch"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_fewer_slices_than_a_batch_are_refused(stores, tmp_path):
    with pytest.raises(TrainingError, match="at least 999 slices, got 24"):
        run(stores, tmp_path, dataclasses.replace(SETTINGS, batch_size=999))


def test_weights_that_are_not_finite_stop_within_a_step(stores, tmp_path):
    with pytest.raises(TrainingError, match="finite weights"):
        run(stores, tmp_path, dataclasses.replace(SETTINGS, learning_rate=float("inf")))
    assert not (tmp_path / "checkpoint.pt").exists()


def test_learning_rate_rises_then_falls_to_zero():
    shares = [cosine_with_warmup(step / 100, 0.1) for step in range(101)]
    assert shares[0] == 0
    assert max(shares) == pytest.approx(1)
    assert shares.index(max(shares)) == 10
    assert shares[100] == pytest.approx(0, abs=1e-9)


def test_a_torn_last_line_of_a_history_is_left_out(tmp_path):
    (tmp_path / "history.jsonl").write_text(json.dumps({"epoch": 1}) + '\n{"epo')
    assert read_history(tmp_path / "history.jsonl") == [{"epoch": 1}]
