"""What is measured of a classifier: typed values, which check themselves when they are made and when they are read."""

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from sslmri.text import proportion

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=STRICT)
class Estimate:
    """A metric with its 95 % interval.

    Attributes:
        value, low, high: the metric and its interval; None where it cannot be estimated.
        raw: what the test slices give, None where even that does not exist.
        reason: why it cannot be estimated, or None.
    """

    value: float | None
    low: float | None
    high: float | None
    raw: float | None
    reason: str | None

    def __str__(self) -> str:
        """Returns the metric with its interval, or why it cannot be estimated."""
        if self.value is None or self.low is None or self.high is None:
            return self.reason or "not estimable"
        return f"{proportion(self.value)} ({proportion(self.low)} to {proportion(self.high)})"


@dataclass(frozen=True, config=STRICT)
class Rate:
    """A fraction of slices with the slices and groups that it rests on."""

    rate: Estimate
    n_slices: int
    n_groups: int


@dataclass(frozen=True, config=STRICT)
class ReliabilityBin:
    """The cases whose highest probability lies above ``low`` and not above ``high``: its mean, and their accuracy."""

    low: float
    high: float
    probability: float
    accuracy: float
    n_cases: int
    n_groups: int


@dataclass(frozen=True, config=STRICT)
class ClassMetrics:
    """Metrics of one class against the rest; recall is its sensitivity."""

    n_cases: int
    n_groups: int
    precision: Estimate
    recall: Estimate
    specificity: Estimate
    f1: Estimate
    auroc: Estimate
    average_precision: Estimate


@dataclass(frozen=True, config=STRICT)
class CaseMetrics:
    """Metrics of one kind of case: slices, or groups with all their slices.

    ``auroc`` and ``average_precision`` are of any disease against the reference class. Rows of the confusion matrix
    are the truth, columns what was predicted.
    """

    n_cases: int
    n_groups: int
    accuracy: Estimate
    balanced_accuracy: Estimate
    auroc: Estimate
    average_precision: Estimate
    brier: Estimate
    ece: Estimate
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[ReliabilityBin, ...]
    per_class: dict[str, ClassMetrics]


@dataclass(frozen=True, config=STRICT)
class OperatingPoint:
    """Sensitivity and specificity of any disease at one threshold."""

    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True, config=STRICT)
class ThresholdMetrics:
    """A threshold on the probability of any disease, that of groups where it is another, and what both reach."""

    threshold: float
    slices: OperatingPoint
    groups: OperatingPoint
    group_threshold: float | None = None


@dataclass(frozen=True, config=STRICT)
class Thresholds:
    """Below ``low`` nothing is flagged; from ``high`` on it is."""

    low: ThresholdMetrics
    high: ThresholdMetrics


@dataclass(frozen=True, config=STRICT)
class SetCoverage:
    """How often prediction sets hold the true class, by class, and how large they are."""

    coverage: dict[str, Estimate]
    mean_size: Estimate
    empty: Estimate


@dataclass(frozen=True, config=STRICT)
class SetMetrics:
    """Prediction sets: a class is in the set from its threshold on; no sets where a class has none."""

    thresholds: dict[str, float | None]
    slices: SetCoverage
    groups: SetCoverage


@dataclass(frozen=True, config=STRICT)
class TypeMetrics:
    """Metrics among the types of a disease: the slices with disease, the reference class left out."""

    n_slices: int
    n_groups: int
    accuracy: Estimate
    balanced_accuracy: Estimate
    confusion: tuple[tuple[int, ...], ...]
    per_class: dict[str, ClassMetrics]


@dataclass(frozen=True, config=STRICT)
class LaterStages:
    """The stages after the first against the reference class, the first stage left out."""

    classes: tuple[str, ...]
    n_slices: int
    n_groups: int
    auroc: Estimate
    group_auroc: Estimate


@dataclass(frozen=True, config=STRICT)
class OlderMetrics:
    """AUROC of any disease against the reference class in people of at least an age: without the healthy young."""

    from_age: int
    n_groups: int
    n_slices: int
    group_auroc: Estimate


@dataclass(frozen=True, config=STRICT)
class BaselineMetrics:
    """What a method reaches that learns nothing from images, or next to nothing; None where a metric does not exist."""

    accuracy: float | None
    balanced_accuracy: float | None
    auroc: float | None
    group_accuracy: float | None
    group_auroc: float | None
    types_accuracy: float | None = None
    types_balanced_accuracy: float | None = None
    later_stages_auroc: float | None = None
    group_later_stages_auroc: float | None = None
    older_group_auroc: float | None = None


@dataclass(frozen=True, config=STRICT)
class Gain:
    """The difference between a classifier and its best baseline, by a paired bootstrap over groups."""

    measure: str
    baseline: str
    difference: Estimate


@dataclass(frozen=True, config=STRICT)
class Grade:
    """How far the metrics of a classifier can be trusted, with the reason in a sentence."""

    grade: Literal["strong", "limited", "insufficient"]
    reason: str


@dataclass(frozen=True, config=STRICT)
class DiseaseMetrics:
    """All metrics of one classifier on test groups; ``unit`` is what to call a group."""

    classes: tuple[str, ...]
    unit: str
    slices: CaseMetrics
    groups: CaseMetrics
    thresholds: Thresholds | None
    sets: SetMetrics | None
    types: TypeMetrics | None
    later_stages: LaterStages | None
    baselines: dict[str, BaselineMetrics]
    grade: Grade
    notes: tuple[str, ...]
    n_shared_groups: int = 0
    older: OlderMetrics | None = None
    gains: tuple[Gain, ...] = ()


@dataclass(frozen=True, config=STRICT)
class ShortcutMetrics:
    """Metrics of the model, or of a control that sees little or nothing of the disease, with its verdict."""

    balanced_accuracy: Estimate
    auroc: Estimate
    verdict: str | None = None


@dataclass(frozen=True, config=STRICT)
class PointingGame:
    """How often the maps of one class point at the lesion, and how much of their sum lies in it."""

    pointing: Estimate
    energy: Estimate
    n_flat: int


@dataclass(frozen=True, config=STRICT)
class RandomPoint:
    """How often a random point hits the lesion: of the slice, and of the head in it."""

    slice: float
    head: float


@dataclass(frozen=True, config=STRICT)
class RandomHeads:
    """What classifiers with random weights do on the same slices."""

    n_heads: int
    pointing: Estimate
    rank_correlation: Estimate


@dataclass(frozen=True, config=STRICT)
class Localisation:
    """Whether the maps of one classifier point at annotated lesions."""

    n_slices: int
    n_groups: int
    n_left_out: int
    random_point: RandomPoint
    predicted: PointingGame
    true: PointingGame
    random_head: RandomHeads
    messages: tuple[str, ...]


@dataclass(frozen=True, config=STRICT)
class DiseaseControls:
    """The controls of one classifier; ``healthy_flagged`` is of healthy slices of other diseases, by cohort."""

    n_slices: int
    n_groups: int
    chance: float
    model: ShortcutMetrics
    shortcuts: dict[str, ShortcutMetrics]
    messages: tuple[str, ...]
    healthy_flagged: dict[str, Rate]
    localisation: Localisation | None


@dataclass(frozen=True, config=STRICT, kw_only=True)
class SameSource:
    """Tumour or none on slices of the same patients and scanners: AUROC over all slices, and within a patient."""

    disease: str
    created: str
    data: str
    n_with: int
    n_without: int
    n_groups: int
    n_groups_with_both: int
    auroc: Estimate
    auroc_within_group: Estimate
    message: str
