"""The results of a model on labelled scans of one's own, next to those on the patients that its training left out."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sslmri.cohorts.manifest import TRAIN_USE, Record
from sslmri.diseases import DISEASES, Disease
from sslmri.errors import ManifestError, ScanError
from sslmri.evidence.calibration import MIN_PEOPLE, fit_thresholds
from sslmri.evidence.decisions import operating_point
from sslmri.evidence.metrics import case_metrics
from sslmri.evidence.sample import draw_sample
from sslmri.evidence.tables import cells
from sslmri.evidence.verdict import Verdict
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Metrics
from sslmri.models.metrics import CaseMetrics, DiseaseMetrics, Estimate, OperatingPoint
from sslmri.models.site import SiteThresholds
from sslmri.screening.batch import record_of, screen_files
from sslmri.screening.outcome import Finding, Refusal, ScreeningSummary
from sslmri.screening.screener import Screener
from sslmri.text import count, in_order, markdown_table, printable_line

_COUNT = re.compile(r"\d+(?= of the \d+ slices)|\d+(?= slices)")  # in a reason: scans differ in it
_POSITIVE = {"high": (Verdict.FLAGGED,), "low": (Verdict.FLAGGED, Verdict.INCONCLUSIVE)}  # from each threshold on


@dataclass(frozen=True)
class LabelledScan:
    """A scan with its row of the manifest, and what became of it."""

    record: Record
    outcome: ScreeningSummary | Refusal

    @property
    def finding(self) -> Finding | None:
        """The finding of the labelled disease, None where the scan was refused."""
        return None if isinstance(self.outcome, Refusal) else self.outcome.findings[str(self.record.disease)]

    @property
    def is_volume(self) -> bool:
        """Whether several of its slices were screened."""
        return isinstance(self.outcome, ScreeningSummary) and len(self.outcome.slice_numbers) > 1


@dataclass(frozen=True)
class Validation:
    """The results of one classifier on the scans that it assessed.

    Attributes:
        scans: the labelled scans of the disease.
        is_volume: whether more of them are volumes than single slices.
        cases, groups: metrics of the assessed scans, and of their groups; None where none was assessed.
        points: sensitivity and specificity of the verdicts from each threshold on, by its name.
    """

    scans: Sequence[LabelledScan]
    is_volume: bool
    cases: CaseMetrics | None
    groups: CaseMetrics | None
    points: dict[str, OperatingPoint]


def labelled_records(card: ModelCard, records: Sequence[Record]) -> list[Record]:
    """Returns the records with a label that a classifier of the model predicts.

    Raises:
        ManifestError: there is none.
    """
    labelled = [record for record in records if record.disease in card.heads and record.use == TRAIN_USE]
    if not labelled:
        raise ManifestError(
            f"Expected scans labelled for {', '.join(in_order(card.heads))}, the classifiers of this model, got none: "
            "name a disease and a label in the manifest's rows."
        )
    return labelled


def screen_labelled(screener: Screener, records: Sequence[Record]) -> list[LabelledScan]:
    """Returns what became of each scan: DICOM files of one series, one row each, are one, and series of a zip several.

    Raises:
        ScanError: none can be read.
    """
    by_path = {str(record.path): record for record in records}
    screened = screen_files(screener, [record.path for record in records])
    scans = [LabelledScan(record, each.outcome) for each, _ in screened if (record := record_of(each, by_path))]
    if all(isinstance(scan.outcome, Refusal) for scan in scans):
        raise ScanError(f"Expected scans that can be read, got none: the first was refused. {scans[0].outcome.reason}")
    return scans


def measure(scans: Sequence[LabelledScan], disease: Disease) -> Validation:
    """Returns the results of the classifier of a disease, from the scans of all.

    Raises:
        ManifestError: a group with two classes.
    """
    own = sorted((s for s in scans if s.record.disease == disease.key), key=lambda scan: scan.record.group_key)
    assessed = [(scan.record, found) for scan in own if (found := scan.finding) and found.is_assessed]
    is_volume = 2 * sum(scan.is_volume for scan in own) > len(own)
    if not assessed:
        return Validation(own, is_volume, None, None, {})
    truth = np.array([disease.classes.index(str(record.label)) for record, _ in assessed], dtype=np.int64)
    probabilities = np.array([[found.probabilities[label] for label in disease.classes] for _, found in assessed])
    sample = draw_sample(truth, probabilities, np.array([record.group_key for record, _ in assessed]))
    verdicts = np.array([found.verdict for _, found in assessed], dtype=object)  # sorted by group, as the sample is
    points = {name: operating_point(sample, verdicts, positive) for name, positive in _POSITIVE.items()}
    groups = case_metrics(sample.by_group(), disease.classes)
    return Validation(own, is_volume, case_metrics(sample, disease.classes), groups, points)


def choose_thresholds(found: Validation, disease: Disease) -> SiteThresholds:
    """Returns thresholds by the rule of the model's own, for assessed volumes or for single slices, whichever are more.

    Raises:
        ManifestError: there are too few patients with the disease, or without.
    """
    scans = [
        (scan.record, finding)
        for scan in found.scans
        if (finding := scan.finding) and finding.is_assessed and scan.is_volume == found.is_volume
    ]
    is_disease = np.array([record.label != disease.reference for record, _ in scans], dtype=bool)
    groups = np.array([record.group_key for record, _ in scans])
    n_disease, n_reference = (len(set(groups[rows])) for rows in (is_disease, ~is_disease))
    if min(n_disease, n_reference) < MIN_PEOPLE:
        raise ManifestError(
            f"Expected assessed scans of {MIN_PEOPLE} patients with {disease.any_title} and {MIN_PEOPLE} without, got "
            f"those of {n_disease} and {n_reference}: add scans, or do without thresholds."
        )
    low, high = fit_thresholds(np.array([finding.probability_any for _, finding in scans]), is_disease)
    return SiteThresholds(found.is_volume, low, min(high, 1.0), n_disease, n_reference)


def report(validations: Mapping[str, Validation], unseen: Metrics | None) -> str:
    """Returns the tables of a validation next to the results on unseen patients, and why scans were not assessed."""
    columns = (
        *("task", "measure", "these scans", "95 % interval", "groups", "scans"),
        *("out of fold", "95 % interval", "groups"),
    )
    rows = [
        row
        for key, found in validations.items()
        for row in _rows(DISEASES[key].title, found, unseen.diseases.get(key) if unseen else None)
    ]
    counted = [(DISEASES[key].title, *_counts(found.scans)) for key, found in validations.items()]
    parts = (
        markdown_table(columns, rows) if rows else "",
        markdown_table(("task", "labelled scans", "assessed", "not assessed", "refused"), counted),
        "\n".join(line for key, found in validations.items() for line in _reasons(DISEASES[key].title, found)),
    )
    return "\n\n".join(filter(None, parts))


def _rows(title: str, found: Validation, unseen: DiseaseMetrics | None) -> Iterator[tuple[str, ...]]:
    n_groups, n_scans = (str(found.cases.n_groups), str(found.cases.n_cases)) if found.cases else ("0", "0")
    n_unseen = str(unseen.groups.n_groups) if unseen else "-"
    for measure, own, other in _measures(found, unseen):
        yield title, measure, *cells(own), n_groups, n_scans, *cells(other), n_unseen


def _measures(found: Validation, unseen: DiseaseMetrics | None) -> Iterator[tuple[str, Estimate, Estimate | None]]:
    """Yields each measure with its value here and, for cases of the same kind, on patients left out of training."""
    own, groups, kind = found.cases, found.groups, "groups" if found.is_volume else "slices"
    if own is None or groups is None:
        return
    other: CaseMetrics | None = getattr(unseen, kind) if unseen else None
    names = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "brier": "Brier score"}
    for key, name in names.items():
        yield name, getattr(own, key), getattr(other, key) if other else None
    yield "AUROC of any disease, groups", groups.auroc, unseen.groups.auroc if unseen else None
    for threshold, verdict in (("high", "flagged"), ("low", "flagged or inconclusive")):
        measured = getattr(getattr(unseen.thresholds, threshold), kind) if unseen and unseen.thresholds else None
        for key in ("sensitivity", "specificity"):
            yield f"{key.capitalize()}, {verdict}", getattr(found.points[threshold], key), getattr(measured, key, None)


def _counts(scans: Sequence[LabelledScan]) -> tuple[str, ...]:
    n_refused = sum(scan.finding is None for scan in scans)
    n_assessed = sum(bool(scan.finding and scan.finding.is_assessed) for scan in scans)
    return tuple(map(str, (len(scans), n_assessed, len(scans) - n_refused - n_assessed, n_refused)))


def _reasons(title: str, found: Validation) -> Iterator[str]:
    """Yields why scans were not assessed or refused, the most frequent reason first, without counts of slices."""
    reasons = [scan.outcome.reason if scan.finding is None else scan.finding.reason for scan in found.scans]
    kinds = Counter(_COUNT.sub("...", reason) for reason in reasons if reason)
    for reason, number in kinds.most_common():
        yield printable_line(f"- {title}: {count(number, 'scan')}: {reason}")
