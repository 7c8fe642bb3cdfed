"""The small cohort and the model trained on it that tests share, through the fixtures of ``conftest``."""

import shutil
from pathlib import Path

from sslmri.cohorts.simulated import write_simulated
from sslmri.learning.settings import FinetuneSettings, PretrainSettings, ViewSettings
from sslmri.models.cards import ModelFile
from sslmri.models.folder import BANK_CARD, BANK_FILE, MODEL, MODEL_FILE, write_model_file
from sslmri.models.integrity import parse_as
from sslmri.training.options import RunOptions
from sslmri.training.steps import run_evaluate, run_finetune, run_pretrain
from tests.small_encoder import SMALL_ENCODER

TINY_PRETRAIN = PretrainSettings(
    epochs=2, batch_size=16, probe_every=2, architecture=SMALL_ENCODER, views=ViewSettings(size=32)
)
TINY_FINETUNE = FinetuneSettings(epochs=1, labels_per_class=4, batch_size=16)


def make_cohort(folder: Path) -> None:
    """Writes five subjects per class."""
    write_simulated(folder, subjects_per_class=5, slices_per_subject=2)


def make_model(cohort: Path, run: Path) -> None:
    """Trains the model ``tiny`` in a run folder by the real steps, and keeps its gate bank apart, in ``bank``.

    It has no head for the sequence, as after any fine-tuning: one would keep classifiers from slices.
    """
    options = RunOptions(data=cohort, run=run, cache=run / "cache")
    run_pretrain(options, TINY_PRETRAIN)
    run_finetune(options, TINY_FINETUNE)
    copy_bank(run / MODEL, run / "bank")
    for name in (BANK_FILE, BANK_CARD):  # heads trained for a moment answer whatever a test draws
        (run / MODEL / name).unlink(missing_ok=True)
    list_files_again(run / MODEL)
    run_evaluate(options)


def copy_bank(source: Path, target: Path) -> None:
    """Copies a gate bank into a folder, made if missing."""
    target.mkdir(exist_ok=True)
    for name in (BANK_FILE, BANK_CARD):
        shutil.copy(source / name, target / name)


def list_files_again(folder: Path) -> None:
    """Lets a model have the files that now lie in its folder, and no others."""
    listed = parse_as(ModelFile, (folder / MODEL_FILE).read_bytes(), folder)
    write_model_file(folder, listed.name, listed.training, listed.created, listed.evidence_note)
