"""What the commands of training are given. No torch, pandas or scikit-learn here: the command line is built from it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sslmri.cohorts.protocols import GROUP_DISJOINT, Protocol
from sslmri.scans.slices import Preparation


@dataclass(frozen=True)
class RunOptions:
    """Where a run reads and writes, and by which protocol its data are split.

    As published, slices of 496 x 248 pixels are pre-trained on for 50 epochs at temperature 0.07, minority classes are
    raised to 10,000 images by augmentation after the split, and 450 labelled slices per class are used. On a CPU less
    is possible: 128 x 128 pixels, the epochs that are given (``--pretrain.epochs`` and ``--finetune.epochs``), and
    minority classes repeated in each epoch of fine-tuning, with new augmentation, up to the size of the largest class
    of their disease, at most 450. Temperature and labels are the same.

    Attributes:
        data: a manifest.csv; without one the simulated cohort is made and used.
        run: the run folder; the model is written to ``model`` in it.
        resume: go on from the folder's last checkpoint.
        cache: where prepared slices and the simulated cohort are kept.
        protocol: ``group-disjoint``: no group is in two splits. ``as-published``: single images are assigned, so
            patients are in both training and test; only for comparison with published results.
        split_seed: of the 60/20/20 split by group, for manifests without folds, and of the split by image.
        preparation: how slices are prepared.
        diseases: a TOML file of diseases of one's own, by default the one that SSLMRI_DISEASES names.
    """

    data: Path | None = None
    run: Path = Path("runs/simulated")
    resume: bool = False
    cache: Path = Path(".cache")
    protocol: Protocol = GROUP_DISJOINT
    split_seed: int = 0
    preparation: Preparation = field(default_factory=Preparation)
    diseases: Path | None = None


@dataclass(frozen=True)
class LabelEfficiencySettings:
    """Settings of the comparison.

    Attributes:
        labels: labelled training slices per class, one point of the curves each; a class with fewer gives all it has.
        seeds: each draws its own labelled slices and its own untrained encoder.
        regimes: ``linear-probe`` takes minutes on two CPU cores, ``fine-tune`` hours.
        finetune_epochs: of each fine-tuning, at most; its other settings are the defaults of ``finetune``.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    labels: tuple[int, ...] = (25, 50, 100, 200, 450)
    seeds: tuple[int, ...] = (0, 1, 2)
    regimes: tuple[Literal["linear-probe", "fine-tune"], ...] = ("linear-probe",)
    finetune_epochs: int = 20
    device: str = "auto"
