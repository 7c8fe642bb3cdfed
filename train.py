"""The command line of training: ``python train.py crossvalidate`` and ``final``.

``pretrain | finetune | evaluate``, or ``all`` three, split the data once: for few groups, and for the published
protocol. Besides, ``bank`` builds what the out-of-distribution gate compares a scan with, and ``controls`` and
``label-efficiency`` measure what a run's results are based on.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from sslmri.errors import TrainingError
from sslmri.learning.settings import FinetuneSettings, Precision, PretrainSettings
from sslmri.project import exit_code
from sslmri.training.options import LabelEfficiencySettings, RunOptions

CROSSVALIDATED = FinetuneSettings(  # without early stopping: nothing is chosen by a fold
    labels_per_class=100_000,
    slices_per_class=384,
    slices_per_group=4,
    epochs=12,
    late_epochs=3,
    patience=1000,
    batch_size=32,
    refits_atrophy=True,
)
_PRETRAIN, _PRETRAIN_20, _PRETRAIN_2 = PretrainSettings(), PretrainSettings(epochs=20), PretrainSettings(epochs=2)
_FINETUNE, _FINETUNE_1, _COMPARE = FinetuneSettings(), FinetuneSettings(epochs=1), LabelEfficiencySettings()
_Options = Annotated[RunOptions, tyro.conf.arg(name="")]
_Precision = Annotated[
    Precision, tyro.conf.arg(help="of the forward pass; auto takes bfloat16 where the device has instructions for it")
]

_Start = Annotated[
    Path | None,
    tyro.conf.arg(
        help="start from this encoder in place of random weights or of pre-training: a model folder, such as "
        "models/default, a run's pretrain folder, or the state dict of a ResNet-50 (.pth or .safetensors) with one or "
        "three input channels. A cohort that it learned from may only train, unless the training groups are the same; "
        "of a bare state dict nobody can tell whom it saw",
    ),
]

# The steps are imported where they start: torch, pandas and scikit-learn take seconds that --help does not need.


def pretrain(
    options: _Options,
    pretrain: PretrainSettings = _PRETRAIN,
    precision: _Precision = "auto",
    start: _Start = None,
    tensorboard: bool = False,
) -> None:
    """Pre-train an encoder on the training groups, without labels (SimCLR); with a start, continue from it.

    Args:
        tensorboard: also write events for TensorBoard, into ``pretrain/tensorboard`` of the run.
    """
    from sslmri.training.steps import run_pretrain

    run_pretrain(options, replace(pretrain, precision=precision), start=start, has_events=tensorboard)


def finetune(
    options: _Options,
    finetune: FinetuneSettings = _FINETUNE,
    precision: _Precision = "auto",
    start: _Start = None,
    only: str | None = None,
) -> None:
    """Fine-tune the run's encoder on the diseases of its data and write the model.

    Args:
        only: train the classifier of this disease alone, on the frozen encoder of the model that --start names, and
            write that model with it; its other classifiers stay as they are.
    """
    from sslmri.training.added import add_classifier
    from sslmri.training.steps import run_finetune

    settings = replace(finetune, precision=precision)
    if only:
        add_classifier(options, settings, only, start)
    else:
        run_finetune(options, settings, start=start)


def crossvalidate(
    options: _Options,
    pretrain: PretrainSettings = _PRETRAIN_20,
    finetune: FinetuneSettings = CROSSVALIDATED,
    precision: _Precision = "auto",
    folds: tuple[int, ...] = (),
    start: _Start = None,
) -> None:
    """Train without each fold in turn and measure the recipe on the folds left out: every group is tested once.

    Args:
        folds: to train, all where none is named; the results are of all folds that were trained.
    """
    from sslmri.training import crossvalidation, report

    settings = replace(pretrain, precision=precision), replace(finetune, precision=precision)
    print(report.report_metrics(crossvalidation.run_crossvalidate(options, *settings, folds, start)))


def final(
    options: _Options,
    pretrain: PretrainSettings = _PRETRAIN_20,
    finetune: FinetuneSettings = CROSSVALIDATED,
    precision: _Precision = "auto",
) -> None:
    """Train on all groups by the recipe that the run cross-validated, and write the model with these results."""
    from sslmri.training import final, report

    settings = replace(pretrain, precision=precision), replace(finetune, precision=precision)
    results, controls = final.run_final(options, *settings)
    print(f"{report.report_metrics(results)}\n\n{report.report_controls(controls)}")


def evaluate(options: _Options, compare_to: Path | None = None, check: bool = False) -> None:
    """Measure the run's model and its baselines on the test split.

    Args:
        compare_to: a group-disjoint model that also gets a copy of as-published evidence, so that its pages show both.
        check: instead, measure again and compare with the stored results, which stay; exits 1 if one differs.
    """
    from sslmri.training import report, reproduce, steps

    if check and compare_to is not None:
        raise TrainingError("Expected one of --check and --compare-to, got both: give one.")
    print(reproduce.run_reproduce(options) if check else report.report_metrics(steps.run_evaluate(options, compare_to)))


def controls(options: _Options) -> None:
    """Measure shortcuts, false alarms on healthy scans, and where the saliency maps of the run's model point."""
    from sslmri.training.controls import run_controls
    from sslmri.training.report import report_controls

    print(report_controls(run_controls(options)))


def bank(options: _Options) -> None:
    """Build the run's feature bank again and show by cohort which scans each classifier accepts."""
    from sslmri.gate.measure import report_gate
    from sslmri.training.steps import run_bank

    print(report_gate(run_bank(options)))


def sequence(options: _Options) -> None:
    """Fit the head that reads the sequence of a slice (T1, T2, ...) on the frozen encoder of the run's model."""
    from sslmri.training.report import report_sequences
    from sslmri.training.sequence import run_sequence

    print(report_sequences(run_sequence(options)))


def label_efficiency(
    options: _Options, label_efficiency: LabelEfficiencySettings = _COMPARE, start: _Start = None
) -> None:
    """Compare the run's pre-trained encoder with an untrained one and plain pixels, by labels per class."""
    from sslmri.training.label_efficiency import run_label_efficiency
    from sslmri.training.report import report_efficiency

    print(report_efficiency(run_label_efficiency(options, label_efficiency, start)))


def all_steps(
    options: _Options,
    pretrain: PretrainSettings = _PRETRAIN_2,
    finetune: FinetuneSettings = _FINETUNE_1,
    precision: _Precision = "auto",
    start: _Start = None,
) -> None:
    """All three steps, one after the other; without the first where a start is given.

    Without options the simulated cohort is used, for two epochs of pre-training and one of fine-tuning, so that a first
    model is there in about five minutes on two CPU cores. Real data need more: set ``--data``, ``--pretrain.epochs``
    and ``--finetune.epochs``.
    """
    from sslmri.training import report, steps

    settings = replace(pretrain, precision=precision), replace(finetune, precision=precision)
    print(report.report_metrics(steps.run_all(options, *settings, start)))


_COMMANDS: dict[str, Callable[..., None]] = {
    "crossvalidate": crossvalidate,
    "final": final,
    "pretrain": pretrain,
    "finetune": finetune,
    "evaluate": evaluate,
    "controls": controls,
    "bank": bank,
    "sequence": sequence,
    "label-efficiency": label_efficiency,
    "all": all_steps,
}


def main() -> int:
    """Runs the command and returns its exit code."""

    def start() -> None:
        if sys.argv[1:2] != ["pretrain"] and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise TrainingError("Expected one process, got several: torchrun is for `train.py pretrain` alone.")
        tyro.extras.subcommand_cli_from_dict(_COMMANDS, description=__doc__)

    return exit_code(start)


if __name__ == "__main__":
    sys.exit(main())
