"""The cards of a model: typed, and checked by the same rules when they are made, written and read. No torch here."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy.special import softmax

from sslmri.cohorts.protocols import Protocol
from sslmri.diseases import DISEASES, Disease
from sslmri.models.architecture import Architecture
from sslmri.models.metrics import STRICT
from sslmri.scans.slices import Preparation

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT: Literal["sslmri-3"] = "sslmri-3"
INTENDED_USE = "Research use only. Not a medical device, not for diagnosis or treatment decisions."
THRESHOLD_RULE = (
    "Chosen on slices of groups that training left out: the lower threshold is the highest with a sensitivity of at "
    "least 90 %, the upper one the lowest with a specificity of at least 90 %; where the lower would exceed the upper, "
    "both are set to their midpoint."
)
SET_RULE = (
    "Each class has its own probability threshold, chosen on left-out slices of that class with every group weighted "
    "equally, so that the sets contain the true class for 90 % of the slices of new groups. With 5 to 8 left-out "
    "groups of a class only 83 to 89 % are guaranteed; a class with fewer is in every set."
)

MASKED = -6e4  # the logit of a class without training slices: probability 0 at any temperature; float16 can hold it

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Pooling = Literal["mean", "log-mean-exp", "halves"]
Settings = dict[str, Any]  # JSON, as a step was given them
_SIDES = range(16, 1025)  # pixels of a prepared slice: what fits into the memory of any host
_MAX_FILES = 64  # of a model; four heads and a gate bank are 12
_FILE_NAME = re.compile(r"(\w+/)?\w+\.(json|safetensors)", re.ASCII)


@dataclass(frozen=True, config=STRICT)
class Counts:
    """Number of groups and of their slices."""

    groups: Annotated[int, Field(ge=0)]
    slices: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class TrainingData:
    """What a training step learned from, and the terms of each cohort by its name.

    The hashes are of the sorted names of all training groups and, where the split is by image, of all training images.
    """

    protocol: Protocol
    groups_sha256: Sha256
    images_sha256: Sha256 | None
    counts: Counts
    cohorts: dict[str, str]


@dataclass(frozen=True, config=STRICT)
class EncoderCard:
    """What an encoder is and where it comes from.

    Attributes:
        architecture: its layers.
        preparation: how slices are prepared for it.
        pretraining: settings of the SimCLR run, with its precision, the preparation of its slices, and ``start``.
        data: what it was pre-trained on.
        knn: last kNN probe, balanced accuracy by disease on validation groups; None without validation groups.
        versions: of the packages that made it.
        created: when, UTC, ISO 8601.
    """

    architecture: Architecture
    preparation: Preparation
    pretraining: Settings
    data: TrainingData
    knn: dict[str, float] | None
    versions: dict[str, str]
    created: str

    @property
    def start(self) -> str:
        """What its training started from, in a sentence that says whom that may have seen; empty for random weights."""
        return str(self.pretraining.get("start", ""))

    def __post_init__(self) -> None:
        """Refuses a preparation that no host could hold, and settings that are not JSON."""
        used = self.preparation
        low, high = used.intensity_percentiles
        if not all(side in _SIDES for side in used.image_size) or not 0 < used.slice_fraction <= 1:
            raise ValueError("the preparation has slices of 16 to 1024 pixels per side and a fraction of a scan")
        if not 0 <= low < high <= 100 or used.std <= 0 or used.slice_spacing_mm <= 0:
            raise ValueError("the preparation has percentiles in order, and a positive deviation and spacing")
        json.dumps(self.pretraining, allow_nan=False)


@dataclass(frozen=True, config=STRICT)
class Decisions:
    """How the logits of a case become probabilities, a verdict and a prediction set.

    Attributes:
        bias: (C,) added to the logits, for the class frequencies met.
        temperature: the logits are then divided by it, before the softmax.
        threshold_low: below this probability of any disease class a case is not flagged.
        threshold_high: from this one on it is.
        set_thresholds: from these probabilities on a class is in the prediction set, by class; None: in every set.
    """

    bias: tuple[float, ...]
    temperature: Positive
    threshold_low: Probability
    threshold_high: Probability
    set_thresholds: dict[str, float | None]

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Returns the calibrated probabilities of logits: (N, C) -> (N, C)."""
        return np.asarray(softmax((logits + np.array(self.bias)) / self.temperature, axis=1))


@dataclass(frozen=True, config=STRICT)
class HeadCard:
    """What a disease head is and how its logits become probabilities, a verdict and a prediction set.

    Attributes:
        disease: key of the disease.
        classes: class keys in the order of the logits.
        encoder_sha256: hash of the encoder file that the head belongs to.
        regime: how it was trained.
        finetuning: settings of the fine-tuning run, with its precision.
        calibration_temperature, threshold_low, threshold_high, set_thresholds: the ``Decisions`` for a slice.
        threshold_rule: how both thresholds were chosen.
        threshold_metrics: what each threshold reached where it was chosen; empty in models made since the evidence has
            what it reaches on unseen people.
        set_rule: how those of sets were chosen.
        saliency_scale: value of the saliency map, in logits, at the top of the colour scale.
        counts: groups and slices by class and split.
        created: when, UTC, ISO 8601.
        pooling: which feature maps the head reads and how the logits of a slice are pooled from those of locations.
        volume: the decisions for the pooled logits of a volume, fitted on people; None: those for a slice.
        definition: of a disease of one's own; None for one that is built in.
    """

    disease: str
    classes: tuple[str, ...]
    encoder_sha256: Sha256
    regime: Literal["fine-tune", "linear-probe"]
    finetuning: Settings
    calibration_temperature: Positive
    threshold_low: Probability
    threshold_high: Probability
    threshold_rule: str
    threshold_metrics: Settings
    set_thresholds: dict[str, float | None]
    set_rule: str
    saliency_scale: Positive
    counts: dict[str, dict[str, Counts]]
    created: str
    pooling: Pooling = "mean"
    volume: Decisions | None = None
    definition: Disease | None = None

    def __post_init__(self) -> None:
        """Refuses classes that are not those of the disease, thresholds out of order and missing counts."""
        known = self.definition or DISEASES.get(self.disease)
        if known is None or (self.disease, self.classes) != (known.key, known.classes):
            got = f"{self.disease:.40} with {', '.join(self.classes):.120}"
            raise ValueError(f"a head has a known disease with its classes in order, not {got}")
        if not self.set_thresholds.keys() == self.counts.keys() == set(self.classes):
            raise ValueError("set_thresholds and counts name each class of the disease")
        if not all("train" in counts for counts in self.counts.values()):
            raise ValueError("counts name the training split of each class")
        volume = self.volume
        if volume and (len(volume.bias), {*volume.set_thresholds}) != (len(self.classes), {*self.classes}):
            raise ValueError("the decisions for a volume name each class of the disease")
        if self.threshold_low > self.threshold_high or (volume and volume.threshold_low > volume.threshold_high):
            raise ValueError("threshold_low is not above threshold_high")
        json.dumps(self.finetuning, allow_nan=False)

    @property
    def untrained(self) -> tuple[str, ...]:
        """Classes without a single training slice: the head cannot predict them."""
        return tuple(label for label in self.classes if self.counts[label]["train"].slices == 0)


@dataclass(frozen=True, config=STRICT)
class ModelFile:
    """The content of ``model.json``, which makes a folder a model.

    ``evidence_note`` is what a reader of its stored results must know, ``files`` has the hash of each file by its name.
    """

    format: Literal["sslmri-3"]
    name: str
    intended_use: str
    created: str
    training: TrainingData
    evidence_note: str | None
    files: dict[str, Sha256]

    def __post_init__(self) -> None:
        """Refuses a list of files that is too long or leads out of the folder."""
        if len(self.files) > _MAX_FILES:
            raise ValueError(f"a model has at most {_MAX_FILES} files, not {len(self.files)}")
        if odd := [name for name in self.files if not _FILE_NAME.fullmatch(name)]:
            raise ValueError(f"files have names within the folder, not {odd[0]:.120}")


def recorded(settings: "DataclassInstance") -> Settings:
    """Returns settings as a card records them."""
    content: Settings = json.loads(json.dumps(asdict(settings)))
    return content


@dataclass(frozen=True, config=STRICT, kw_only=True)
class ModelCard(ModelFile):
    """A model folder whose files were all checked: its cards, heads by disease, without the weights.

    ``sha256`` is the hash of the list of hashes of all its weights and cards.
    """

    folder: Path
    sha256: str
    encoder: EncoderCard
    heads: dict[str, HeadCard]
