"""The steps of a training open their data once, and their model appears whole."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from sslmri.errors import ModelError, TrainingError
from sslmri.gate.fit import build_bank
from sslmri.models.folder import BANK_FILE, MODEL, read_model_card
from sslmri.training import fit, steps
from sslmri.training.data import open_cohort, require_empty_run
from sslmri.training.fit import saliency_scale
from sslmri.training.options import RunOptions
from sslmri.training.steps import run_all, run_finetune
from tests.tiny import TINY_FINETUNE, TINY_PRETRAIN


@pytest.fixture
def options(cohort: Path, model_folder: Path, tmp_path: Path) -> RunOptions:
    """Returns the options of a copy of the tiny run, which may go on."""
    run = tmp_path / "run"
    shutil.copytree(model_folder.parent, run, ignore=shutil.ignore_patterns("cache", "bank"))
    return RunOptions(data=cohort, run=run, cache=model_folder.parent / "cache", resume=True)


def test_a_training_that_fails_while_its_gate_is_built_leaves_no_model(options, monkeypatch):
    def fail(model: object, store: object) -> None:
        with pytest.raises(ModelError, match="no such file"):
            read_model_card(options.run)
        raise KeyboardInterrupt

    shutil.rmtree(options.run / MODEL)
    monkeypatch.setattr(fit, "build_bank", fail)
    with pytest.raises(KeyboardInterrupt):
        run_finetune(options, TINY_FINETUNE)
    with pytest.raises(ModelError, match="no such file"):
        read_model_card(options.run)
    monkeypatch.setattr(fit, "build_bank", build_bank)
    run_finetune(options, TINY_FINETUNE)
    assert BANK_FILE in read_model_card(options.run).files
    assert not list(options.run.glob(".*"))


def test_all_steps_open_the_cohort_once(options, monkeypatch):
    opened = []

    def count(own: RunOptions) -> object:
        opened.append(own)
        return open_cohort(own)

    monkeypatch.setattr(steps, "open_cohort", count)
    assert run_all(options, TINY_PRETRAIN, TINY_FINETUNE)
    assert len(opened) == 1


def test_a_finished_model_is_not_a_run_folder_to_train_in(model_folder):
    with pytest.raises(TrainingError, match="got the finished model .* train with --run runs/mine"):
        require_empty_run(model_folder, ["pretrain/checkpoint.pt"], is_resumed=True)


@pytest.mark.parametrize(
    ("peaks", "scale"), [([0.0] * 100 + [2.0], 2.0), ([0.0] * 9, 1.0), ([], 1.0), ([3.0] * 9, 3.0)]
)
def test_a_head_whose_maps_are_empty_has_a_scale_above_zero(peaks, scale):
    assert saliency_scale(np.array(peaks, np.float32)) == scale
