"""The small cohort and the model really trained on it that tests share, through the fixtures of ``conftest``."""

import json
import shutil
from pathlib import Path

import pytest

from sslmri.cohorts.simulated import SimulatedSettings, write_simulated
from sslmri.learning.settings import FinetuneSettings, PretrainSettings, ViewSettings
from sslmri.models.cards import BANK_CARD, BANK_FILE, MODEL_FILE, write_model_file
from sslmri.training.data import RunOptions
from sslmri.training.gate import drop_bank
from sslmri.training.steps import run_evaluate, run_finetune, run_pretrain
from tests.small_encoder import SMALL_ENCODER

TINY_PRETRAIN = PretrainSettings(
    epochs=2, batch_size=16, probe_every=2, architecture=SMALL_ENCODER, views=ViewSettings(size=32)
)
TINY_FINETUNE = FinetuneSettings(epochs=1, labels_per_class=4, batch_size=16)


def make_cohort(folder: Path) -> None:
    """Writes five people a class in this process: fresh ones would each spend seconds on the atlas."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sslmri.cohorts.simulated.in_order", lambda function, people, workers: map(function, people))
        write_simulated(folder, SimulatedSettings(subjects_per_class=5, slices_per_subject=2))


def make_model(cohort: Path, folder: Path) -> None:
    """Trains the model ``tiny`` in the folder by the real steps, and puts its feature bank beside it, in ``bank``."""
    run = folder / "tiny"
    options = RunOptions(data=cohort, run=run, cache=folder / "cache")
    run_pretrain(options, TINY_PRETRAIN)
    run_finetune(options, TINY_FINETUNE)
    copy_bank(run, folder / "bank")
    drop_bank(run)  # heads taught for a moment on a few slices still speak about whatever a test draws
    write_model_file_anew(run)
    run_evaluate(options)


def copy_bank(source: Path, target: Path) -> None:
    """Copies a feature bank into a folder, made if missing."""
    target.mkdir(exist_ok=True)
    for name in (BANK_FILE, BANK_CARD):
        shutil.copy(source / name, target / name)


def write_model_file_anew(folder: Path) -> None:
    """Lets a model have the files that now lie in its folder, and no others."""
    card = json.loads((folder / MODEL_FILE).read_text())
    write_model_file(folder, card["name"], card["training"], card["created"])
