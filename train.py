"""The command line of training: ``python train.py pretrain | finetune | evaluate | all``.

Beside these, ``bank`` builds what a scan is compared with before any head speaks, and ``controls`` and
``label-efficiency`` ask what a run's figures rest on.
"""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from sslmri.errors import TrainingError
from sslmri.gate.measure import report_gate
from sslmri.learning.settings import FinetuneSettings, PretrainSettings
from sslmri.project import exit_code
from sslmri.training.controls import run_controls
from sslmri.training.crossvalidation import run_crossvalidation
from sslmri.training.data import RunOptions
from sslmri.training.gate import run_bank
from sslmri.training.label_efficiency import LabelEfficiencySettings, run_label_efficiency
from sslmri.training.report import report_controls, report_crossvalidation, report_efficiency, report_metrics
from sslmri.training.reproduce import run_reproduce
from sslmri.training.same_source import run_same_source
from sslmri.training.steps import run_all, run_evaluate, run_finetune, run_pretrain


@dataclass(frozen=True)
class Pretrain(RunOptions):
    """Learn an encoder from the training groups, without labels (SimCLR)."""

    pretrain: PretrainSettings = field(default_factory=PretrainSettings)

    def start(self) -> None:
        """Runs the step."""
        run_pretrain(self, self.pretrain)


@dataclass(frozen=True)
class Finetune(RunOptions):
    """Teach the run's encoder the four diseases and write the model."""

    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)

    def start(self) -> None:
        """Runs the step."""
        run_finetune(self, self.finetune)


@dataclass(frozen=True)
class Evaluate(RunOptions):
    """Measure the run's model and its baselines on the test split.

    Attributes:
        compare_to: a group-disjoint model that also gets a copy of as-published evidence, so that its pages show both.
        cross_validate: instead, measure linear probes on the run's encoder in five folds by group.
        check: instead, measure again and compare with the stored results, which stay; exits 1 if one differs.
    """

    compare_to: Path | None = None
    cross_validate: bool = False
    check: bool = False

    def start(self) -> None:
        """Runs the step."""
        if self.check + self.cross_validate + (self.compare_to is not None) > 1:
            raise TrainingError("Expected one of --check, --cross-validate and --compare-to, got several: give one.")
        if self.check:
            print(run_reproduce(self))
        elif self.cross_validate:
            print(report_crossvalidation(run_crossvalidation(self)))
        else:
            print(report_metrics(run_evaluate(self, self.compare_to)))


@dataclass(frozen=True)
class Controls(RunOptions):
    """Measure shortcuts, false alarms on healthy scans, and where the saliency maps of the run's model point.

    Attributes:
        only_same_source: measure tumour or none on the same patients alone, and add it to the stored controls; for a
            model that was never trained on these patients, whatever its split.
    """

    only_same_source: bool = False

    def start(self) -> None:
        """Runs the step."""
        print(report_controls(run_same_source(self) if self.only_same_source else run_controls(self)))


@dataclass(frozen=True)
class Bank(RunOptions):
    """Build the run's feature bank anew and show by cohort which scans each head applies to."""

    def start(self) -> None:
        """Runs the step."""
        print(report_gate(run_bank(self)))


@dataclass(frozen=True)
class LabelEfficiency(RunOptions):
    """Compare the run's pre-trained encoder with an untrained one and plain pixels, by labels a class."""

    label_efficiency: LabelEfficiencySettings = field(default_factory=LabelEfficiencySettings)

    def start(self) -> None:
        """Runs the step."""
        print(report_efficiency(run_label_efficiency(self, self.label_efficiency)))


@dataclass(frozen=True)
class All(RunOptions):
    """All three steps, one after the other."""

    pretrain: PretrainSettings = field(default_factory=PretrainSettings)
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)

    def start(self) -> None:
        """Runs the steps."""
        print(report_metrics(run_all(self, self.pretrain, self.finetune)))


def main() -> int:
    """Runs the command and returns its exit code."""
    command = tyro.cli(Pretrain | Finetune | Evaluate | Controls | Bank | LabelEfficiency | All, description=__doc__)

    def start() -> None:
        if not isinstance(command, Pretrain) and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise TrainingError("Expected one process, got several: torchrun is for `train.py pretrain` alone.")
        command.start()

    return exit_code(start)


if __name__ == "__main__":
    sys.exit(main())
