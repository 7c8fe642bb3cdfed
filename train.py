"""The command line of training: ``python train.py crossvalidate`` and ``final``.

``pretrain | finetune | evaluate``, or ``all`` three, split the data once: for few groups, and for the published
protocol. Besides, ``bank`` builds what the out-of-distribution gate compares a scan with, and ``controls`` and
``label-efficiency`` measure what a run's results are based on.
"""

import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

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

# The steps are imported where they start: torch, pandas and scikit-learn take seconds that --help does not need.


@dataclass(frozen=True)
class TrainingOptions(RunOptions):
    """Options of the commands that train.

    Attributes:
        precision: of the forward pass; ``auto`` takes bfloat16 where the device has instructions for it.
    """

    precision: Precision = "auto"


@dataclass(frozen=True)
class Pretrain(TrainingOptions):
    """Pre-train an encoder on the training groups, without labels (SimCLR)."""

    pretrain: PretrainSettings = field(default_factory=PretrainSettings)

    def start(self) -> None:
        """Runs the step."""
        from sslmri.training.steps import run_pretrain

        run_pretrain(self, replace(self.pretrain, precision=self.precision))


@dataclass(frozen=True)
class Finetune(TrainingOptions):
    """Fine-tune the run's encoder on the four diseases and write the model."""

    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)

    def start(self) -> None:
        """Runs the step."""
        from sslmri.training.steps import run_finetune

        run_finetune(self, replace(self.finetune, precision=self.precision))


@dataclass(frozen=True)
class Recipe(TrainingOptions):
    """Options of the commands that train by the cross-validated recipe."""

    pretrain: PretrainSettings = field(default_factory=lambda: PretrainSettings(epochs=20))
    finetune: FinetuneSettings = field(default_factory=lambda: CROSSVALIDATED)

    @property
    def settings(self) -> tuple[PretrainSettings, FinetuneSettings]:
        """The settings of both steps, in the precision of the command."""
        return replace(self.pretrain, precision=self.precision), replace(self.finetune, precision=self.precision)


@dataclass(frozen=True)
class Crossvalidate(Recipe):
    """Train without each fold in turn and measure the recipe on the folds left out: every group is tested once.

    Attributes:
        folds: to train, all where none is named; the results are of all folds that were trained.
    """

    folds: tuple[int, ...] = ()

    def start(self) -> None:
        """Runs the step."""
        from sslmri.training import crossvalidation, report

        results = crossvalidation.run_crossvalidate(self, *self.settings, self.folds)
        print(report.report_metrics(results))


@dataclass(frozen=True)
class Final(Recipe):
    """Train on all groups by the recipe that the run cross-validated, and write the model with these results."""

    def start(self) -> None:
        """Runs the step."""
        from sslmri.training import final, report

        results, controls = final.run_final(self, *self.settings)
        print(f"{report.report_metrics(results)}\n\n{report.report_controls(controls)}")


@dataclass(frozen=True)
class Evaluate(RunOptions):
    """Measure the run's model and its baselines on the test split.

    Attributes:
        compare_to: a group-disjoint model that also gets a copy of as-published evidence, so that its pages show both.
        check: instead, measure again and compare with the stored results, which stay; exits 1 if one differs.
    """

    compare_to: Path | None = None
    check: bool = False

    def start(self) -> None:
        """Runs the step."""
        from sslmri.training import report, reproduce, steps

        if self.check and self.compare_to is not None:
            raise TrainingError("Expected one of --check and --compare-to, got both: give one.")
        if self.check:
            print(reproduce.run_reproduce(self))
        else:
            print(report.report_metrics(steps.run_evaluate(self, self.compare_to)))


@dataclass(frozen=True)
class Controls(RunOptions):
    """Measure shortcuts, false alarms on healthy scans, and where the saliency maps of the run's model point."""

    def start(self) -> None:
        """Runs the step."""
        from sslmri.training.controls import run_controls
        from sslmri.training.report import report_controls

        print(report_controls(run_controls(self)))


@dataclass(frozen=True)
class Bank(RunOptions):
    """Build the run's feature bank again and show by cohort which scans each classifier accepts."""

    def start(self) -> None:
        """Runs the step."""
        from sslmri.gate.measure import report_gate
        from sslmri.training.steps import run_bank

        print(report_gate(run_bank(self)))


@dataclass(frozen=True)
class LabelEfficiency(RunOptions):
    """Compare the run's pre-trained encoder with an untrained one and plain pixels, by labels per class."""

    label_efficiency: LabelEfficiencySettings = field(default_factory=LabelEfficiencySettings)

    def start(self) -> None:
        """Runs the step."""
        from sslmri.training.label_efficiency import run_label_efficiency
        from sslmri.training.report import report_efficiency

        print(report_efficiency(run_label_efficiency(self, self.label_efficiency)))


@dataclass(frozen=True)
class All(Recipe):
    """All three steps, one after the other.

    Without options the simulated cohort is used, for two epochs of pre-training and one of fine-tuning, so that a first
    model is there in about five minutes on two CPU cores. Real data need more: set ``--data``, ``--pretrain.epochs``
    and ``--finetune.epochs``.
    """

    pretrain: PretrainSettings = field(default_factory=lambda: PretrainSettings(epochs=2))
    finetune: FinetuneSettings = field(default_factory=lambda: FinetuneSettings(epochs=1))

    def start(self) -> None:
        """Runs the steps."""
        from sslmri.training import report, steps

        print(report.report_metrics(steps.run_all(self, *self.settings)))


def main() -> int:
    """Runs the command and returns its exit code."""
    commands = Crossvalidate | Final | Pretrain | Finetune | Evaluate | Controls | Bank | LabelEfficiency | All
    command = tyro.cli(commands, description=__doc__)

    def start() -> None:
        if not isinstance(command, Pretrain) and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise TrainingError("Expected one process, got several: torchrun is for `train.py pretrain` alone.")
        command.start()

    return exit_code(start)


if __name__ == "__main__":
    sys.exit(main())
