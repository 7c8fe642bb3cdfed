"""The command line of training: ``python train.py pretrain | finetune | evaluate | all``."""

import os
import sys
from dataclasses import dataclass, field

import tyro

from sslmri.errors import SslmriError, TrainingError
from sslmri.learning.labels import FinetuneSettings
from sslmri.learning.pretrain import PretrainSettings
from sslmri.training.data import RunOptions
from sslmri.training.steps import report, run_evaluate, run_finetune, run_pretrain


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
    """Measure the run's model on the test groups, beside its floors."""

    def start(self) -> None:
        """Runs the step."""
        print(report(run_evaluate(self)))


@dataclass(frozen=True)
class All(RunOptions):
    """All three steps, one after the other."""

    pretrain: PretrainSettings = field(default_factory=PretrainSettings)
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)

    def start(self) -> None:
        """Runs the steps."""
        run_pretrain(self, self.pretrain)
        run_finetune(self, self.finetune)
        print(report(run_evaluate(self)))


def main() -> int:
    """Runs the command and returns its exit code."""
    command = tyro.cli(Pretrain | Finetune | Evaluate | All, description=__doc__)
    try:
        if not isinstance(command, Pretrain) and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise TrainingError("Expected one process, got several: torchrun is for `train.py pretrain` alone.")
        command.start()
    except SslmriError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
