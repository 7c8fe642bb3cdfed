"""The evidence files next to a model, with one function that reads them and one that writes them.

The same rules check a value when it is made, written and read. No torch here.
"""

from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Literal, Self, TypeVar

from pydantic import JsonValue, model_validator
from pydantic.dataclasses import dataclass

from sslmri.cohorts.protocols import EVIDENCE_FOLDERS, GROUP_DISJOINT, Protocol
from sslmri.diseases import DISEASES
from sslmri.errors import ModelError
from sslmri.files import write_json
from sslmri.models.cards import FORMAT, ModelCard
from sslmri.models.history import read_history
from sslmri.models.integrity import parse_as, read_bounded
from sslmri.models.metrics import (
    STRICT,
    DiseaseControls,
    DiseaseMetrics,
    Estimate,
    Rate,
    SameSource,
)


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Evidence:
    """A file of evidence: the hash of the encoder that was measured, and when, UTC, ISO 8601."""

    FILE: ClassVar[str]
    TITLE: ClassVar[str]
    COMMAND: ClassVar[str]  # of train.py, that writes it
    format: Literal["sslmri-3"] = FORMAT
    encoder_sha256: str
    created: str


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Metrics(Evidence):
    """Metrics on the test split, by disease; ``n_shared_groups`` counts test groups that were also trained on."""

    FILE, TITLE, COMMAND = "metrics.json", "metrics", "evaluate"
    protocol: Protocol
    n_shared_groups: int
    diseases: dict[str, DiseaseMetrics]

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        for key, result in self.diseases.items():
            if key not in DISEASES or result.classes != DISEASES[key].classes:
                raise ValueError(f"the classes of {key:.40} are {', '.join(result.classes):.200}")
        return self


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Controls(Evidence):
    """Shortcuts, false alarms on healthy scans, localisation; ``same_source`` is None where it was not measured."""

    FILE, TITLE, COMMAND = "controls.json", "shortcut controls", "controls"
    rule: str
    diseases: dict[str, DiseaseControls]
    family_wise: Rate
    same_source: SameSource | None = None


@dataclass(frozen=True, config=STRICT, kw_only=True)
class SequenceMetrics(Evidence):
    """How often the sequence of a slice is predicted correctly, by heads that left its group out.

    The encoder below them may have seen the slice, but never its sequence.

    Attributes:
        names: of the sequences, in the order of the confusion matrix.
        accuracy: over all slices.
        same_source: over the slices of cohorts with several sequences, where the source cannot tell; None without any.
        confusion: rows are the truth, columns what was predicted.
    """

    FILE, TITLE, COMMAND = "sequence.json", "results of the sequence", "sequence"
    names: tuple[str, ...]
    accuracy: Rate
    same_source: Rate | None
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, config=STRICT)
class GateRow:
    """The slices of one cohort: how many the gate takes for brain MRI, and for in distribution of one classifier."""

    disease: str
    cohort: str
    relation: str
    n_slices: int
    n_groups: int
    fraction_brain: float
    fraction_in_distribution: float


@dataclass(frozen=True, config=STRICT)
class GateRates:
    """Rejected slices: in distribution, of unrelated and of all other cohorts, synthetic ones; None without slices."""

    in_distribution: Rate | None
    unrelated: Rate | None
    other_cohorts: Rate | None
    synthetic: Rate | None


@dataclass(frozen=True, config=STRICT, kw_only=True)
class GateTable(Evidence):
    """How many slices of each cohort the gate lets pass to each classifier, and how many it rejects."""

    FILE, TITLE, COMMAND = "gate.json", "measurements of the gate", "bank"
    rule: str
    n_cases: int
    rows: tuple[GateRow, ...]
    diseases: dict[str, GateRates]


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Point:
    """A measure of one regime at a number of labels per class; ``seeds`` are its values by draw of labels."""

    regime: str
    labels: int
    measure: str
    estimate: Estimate
    seeds: tuple[float, ...]


@dataclass(frozen=True, config=STRICT, kw_only=True)
class CurvePoint(Point):
    """A point on the curve of an encoder."""

    encoder: str


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Difference(Point):
    """How far the SimCLR encoder is above another one."""

    against: str


@dataclass(frozen=True, config=STRICT)
class DiseaseEfficiency:
    """The label-efficiency curves of one disease; ``labels_used`` by labels per class and class."""

    unit: str
    n_groups: int
    n_slices: int
    labels_used: dict[str, dict[str, int]]
    curves: tuple[CurvePoint, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, config=STRICT, kw_only=True)
class LabelEfficiency(Evidence):
    """What each encoder reaches by labels per class. The encoder is the pre-trained one, before fine-tuning."""

    FILE, TITLE, COMMAND = "label_efficiency.json", "label efficiency", "label-efficiency"
    protocol: Protocol
    encoder_created: str
    groups_sha256: str
    settings: dict[str, JsonValue]
    not_run: tuple[str, ...]
    notes: tuple[str, ...]
    diseases: dict[str, DiseaseEfficiency]


_Evidence = TypeVar("_Evidence", bound=Evidence)


def write_evidence(folder: Path, evidence: Evidence) -> None:
    """Writes a file of evidence, whole or not at all."""
    write_json(folder / evidence.FILE, asdict(evidence))


def read_evidence(folder: Path, kind: type[_Evidence]) -> _Evidence | None:
    """Returns the evidence of a kind in a folder, None where there is none.

    Raises:
        ModelError: it is damaged or of another format.
    """
    path = folder / kind.FILE
    if not path.exists():
        return None
    data = read_bounded(folder, kind.FILE, _advice(kind))
    return parse_as(kind, data, path, f"{kind.TITLE} of format {FORMAT}", _advice(kind))


def find_evidence(card: ModelCard, kind: type[_Evidence], protocol: Protocol | None = None) -> _Evidence | None:
    """Returns the evidence of a kind that lies next to a model, None where there is none.

    Evidence under another protocol than the model's is of another encoder, which it names: what was trained with
    people in both splits cannot be measured without, nor the other way round.

    Raises:
        ModelError: it is damaged, of another protocol, or should be of this model's classifiers and is not.
    """
    protocol = protocol or card.training.protocol
    folder = card.folder / EVIDENCE_FOLDERS[protocol]
    evidence = read_evidence(folder, kind)
    if evidence is None:
        return None
    measured = getattr(evidence, "protocol", protocol)
    if measured != protocol:
        raise ModelError(
            f"Expected {kind.TITLE} of the protocol {protocol} in {folder}, got {measured}: {_advice(kind)}."
        )
    if protocol == card.training.protocol:
        _check_model(card, evidence)
    return evidence


def find_unseen_metrics(card: ModelCard) -> Metrics | None:
    """Returns the metrics of a model on unseen patients, None where it was not measured on any.

    Raises:
        ModelError: see ``find_evidence``.
    """
    return find_evidence(card, Metrics) if card.training.protocol == GROUP_DISJOINT else None


def find_history(card: ModelCard, step: str, protocol: Protocol) -> list[dict[str, JsonValue]]:
    """Returns the epochs of a training step of the model measured by that protocol, none where they were not kept."""
    return read_history(card.folder / EVIDENCE_FOLDERS[protocol] / f"{step}.jsonl")


def is_of_model(card: ModelCard, evidence: Evidence) -> bool:
    """Returns whether evidence is of the model's encoder."""
    return evidence.encoder_sha256 in {head.encoder_sha256 for head in card.heads.values()}


def _check_model(card: ModelCard, evidence: Evidence) -> None:
    """Refuses evidence of another encoder than the model's, or from before its classifiers were trained."""
    if isinstance(evidence, LabelEfficiency):
        encoder = card.encoder
        if (evidence.encoder_created, evidence.groups_sha256) != (encoder.created, encoder.data.groups_sha256):
            raise ModelError(
                f"Expected {evidence.TITLE} of this model's pre-training, got another's: {_advice(evidence)}."
            )
        return
    if not is_of_model(card, evidence):
        raise ModelError(
            f"Expected {evidence.TITLE} of this model's encoder, got those of {evidence.encoder_sha256[:12]}: "
            f"{_advice(evidence)}."
        )
    measured = card.heads.keys() & getattr(evidence, "diseases", {}).keys()
    trained = max((card.heads[key].created for key in measured), default="")
    if evidence.created < trained:
        raise ModelError(
            f"Expected {evidence.TITLE} of this model's classifiers, trained {trained}, got older ones of "
            f"{evidence.created}: {_advice(evidence)}."
        )


def _advice(kind: type[Evidence] | Evidence) -> str:
    return f"run `python train.py {kind.COMMAND}` again"
