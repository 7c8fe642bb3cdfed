"""What became of a scan, screened or refused, and the one document that every export writes of it. No torch here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sslmri.diseases import DISEASES, Notice
from sslmri.evidence.verdict import Verdict, finds_disease
from sslmri.models.cards import INTENDED_USE
from sslmri.scans.atlas.ventricles import Ventricles
from sslmri.scans.group_files import ZippedSeries

SequenceSource = Literal["dicom", "image", "reader"]

OTHER, CANNOT_TELL = "other", "cannot_tell"  # readings that are no class of the disease
NOTABLE_PEAK = 0.1  # of the class's scale; a map whose peak is lower shows no notable saliency


@dataclass(frozen=True)
class Finding:
    """The answer of one classifier to one scan.

    Attributes:
        disease: key of the disease.
        verdict: see ``evidence.verdict``.
        reason: why the classifier was not assessed, else None.
        flagged_from, not_flagged_below: thresholds on the probability of any disease class.
        probabilities: calibrated, by class in clinical order, averaged over the slices.
        prediction_set: classes of the 90 % prediction set, or None where no class can be excluded.
        key_slice: number of the slice with the highest probability of the top class, in the file, or among the aligned
            slices where ``is_aligned``.
        coverage: fraction of the head region above half of the map's own peak, for the map of the top class in the key
            slice; None where nothing in it is notable.
        peak: highest value of that map as a fraction of the class's scale.
        peak_xy: position of the peak, as fractions of width and height of the key slice; None in an empty map.
        is_aligned: whether it is of the brain that was extracted and aligned, not of the slices as they were acquired.
        ventricles: what they measure in the aligned brain, where it is of that.
        site_patients: how many patients of this site the thresholds were chosen on; None for those of the model.
    """

    disease: str
    verdict: Verdict
    reason: str | None
    flagged_from: float
    not_flagged_below: float
    probabilities: dict[str, float]
    prediction_set: tuple[str, ...] | None
    key_slice: int
    coverage: float | None
    peak: float
    peak_xy: tuple[float, float] | None
    is_aligned: bool = False
    ventricles: Ventricles | None = None
    site_patients: int | None = None

    @property
    def is_assessed(self) -> bool:
        """Whether the classifier applies to the scan; where it does not, none of its numbers is shown or exported."""
        return self.verdict != Verdict.NOT_ASSESSED

    @property
    def top_class(self) -> str:
        """The class with the highest probability."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability_any(self) -> float:
        """The probability of any class but the reference."""
        return 1 - self.probabilities[DISEASES[self.disease].reference]


@dataclass(frozen=True)
class ScreeningSummary:
    """The facts of one screening, without arrays and without the name of the file.

    Attributes:
        sha256: hash of the file.
        model_sha256: hash of the model.
        created: when, UTC, ISO 8601.
        slice_numbers: of the slices screened, in the file, from 1 on.
        n_file_slices: how many slices the file has.
        spacing_mm, orientation, modality, source: as in the scan.
        sequence: ``T1``, ``T1ce``, ``T2`` or ``FLAIR``; None where it is not known.
        sequence_from: what says so: the DICOM file, the image as the encoder sees it, or the reader.
        is_brain_mri: None where the model has nothing to decide it by.
        reason: why it is not recognised as brain MRI, else None.
        findings: by disease, in the order of the diseases.
        warnings: what a reader must see.
        sequence_seen: the mean probability over the slices of each sequence, as the encoder sees them; None without a
            head for it.
    """

    sha256: str
    model_sha256: str
    created: str
    slice_numbers: tuple[int, ...]
    n_file_slices: int
    spacing_mm: tuple[float, float, float] | None
    orientation: str | None
    modality: str | None
    source: str
    sequence: str | None
    sequence_from: SequenceSource | None
    is_brain_mri: bool | None
    reason: str | None
    findings: Mapping[str, Finding]
    warnings: tuple[Notice, ...]
    sequence_seen: Mapping[str, float] | None = None

    @property
    def assessed(self) -> dict[str, Finding]:
        """The findings of the classifiers that apply, by disease."""
        return {key: finding for key, finding in self.findings.items() if finding.is_assessed}

    def key_index(self, disease: str) -> int:
        """Returns the position of a finding's key slice among the slices that it is of."""
        finding = self.findings[disease]
        return finding.key_slice - 1 if finding.is_aligned else self.slice_numbers.index(finding.key_slice)


@dataclass(frozen=True)
class ScreeningArrays:
    """What a screening was made from: large, never exported.

    Attributes:
        slices: what the encoder saw, (S, H, W) uint8.
        features: (S, D) float32, for similar cases.
        saliency: Grad-CAM of every slice and class in logits, by disease: (S, C, h, w) float32.
        slice_probabilities: calibrated, by disease: (S, C).
        aligned: the same of the aligned brain, for the findings that are of it; None where there are none.
        volume: (S, H, W) float32, the aligned brain itself, which the encoder saw turned by 180 degrees; None for the
            slices as acquired.
        to_scan: (4, 4), from (slice, row, column) of the aligned brain to those of the scan; None for the latter.
    """

    slices: np.ndarray
    features: np.ndarray
    saliency: Mapping[str, np.ndarray]
    slice_probabilities: Mapping[str, np.ndarray]
    aligned: "ScreeningArrays | None" = None
    volume: np.ndarray | None = None
    to_scan: np.ndarray | None = None

    def of(self, finding: Finding) -> "ScreeningArrays":
        """Returns the arrays that a finding was made from."""
        return self.aligned if finding.is_aligned and self.aligned else self


@dataclass(frozen=True)
class Screening:
    """One screening with its arrays; ``unrestricted`` is its summary before the sequence ruled any classifier out."""

    summary: ScreeningSummary
    arrays: ScreeningArrays
    unrestricted: ScreeningSummary


@dataclass(frozen=True)
class Refusal:
    """A scan that was not screened: one plain sentence that does not name the file, and its hash where it was read."""

    reason: str
    sha256: str | None


Outcome = ScreeningSummary | Refusal


@dataclass(frozen=True)
class Review:
    """A clinician's own reading of a scan for one disease, whatever the model found.

    The reading is the class that they see, ``OTHER`` or ``CANNOT_TELL``; the time is UTC, ISO 8601.
    """

    reading: str
    text: str
    initials: str
    reviewed_at: str

    def agrees_with(self, finding: Finding) -> bool | None:
        """Returns whether reading and verdict agree on disease or none; None where one of them leaves it open."""
        sees, finds = sees_disease(finding.disease, self.reading), finds_disease(finding.verdict)
        return None if sees is None or finds is None else sees == finds


def sees_disease(disease: str, reading: str) -> bool | None:
    """Returns whether a reader sees the disease on a scan; None where the reading leaves it open."""
    return None if reading in (OTHER, CANNOT_TELL) else reading != DISEASES[disease].reference


@dataclass(frozen=True)
class KeyImages:
    """The key slice of a finding, alone and under the map of its top class, as JPEG; no map of the reference class."""

    scan: bytes
    overlay: bytes | None


@dataclass(frozen=True)
class Entry:
    """One scan of a list or a report; about 0.1 MB with images, whatever the size of the scan.

    Attributes:
        number: in the list, from 1 on.
        outcome: what became of it.
        file: its path on the command line; None on the pages, whose exports name no file.
        n_files: how many files the scan consists of.
        paths: of these, on the command line, or a series of a zip file.
        images: by disease, of the assessed findings.
        reviews: by disease.
    """

    number: int
    outcome: Outcome
    file: str | None = None
    n_files: int = 1
    paths: Sequence[Path] | ZippedSeries = ()
    images: Mapping[str, KeyImages] = field(default_factory=dict)
    reviews: Mapping[str, Review] = field(default_factory=dict)


def document(entry: Entry, model_sha256: str, grades: Mapping[str, str]) -> dict[str, Any]:
    """Returns the export document of one scan: a line of the command line, an item of a report, rows of a CSV.

    Grades of the evidence are by disease, none where a classifier was not measured on unseen patients.
    """
    outcome = entry.outcome
    summary = outcome if isinstance(outcome, ScreeningSummary) else None
    findings = summary.findings.values() if summary else ()
    return {
        "scan": entry.number,
        **({} if entry.file is None else {"file": entry.file}),
        "n_files": entry.n_files,
        "sha256": outcome.sha256,
        "status": "screened" if summary else "refused",
        "reason": outcome.reason,
        "is_brain_mri": summary.is_brain_mri if summary else None,
        "sequence": {
            "name": summary.sequence if summary else None,
            "from": summary.sequence_from if summary else None,
        },
        "findings": [_finding_document(finding, grades.get(finding.disease)) for finding in findings],
        "warnings": [notice_line(notice) for notice in summary.warnings] if summary else [],
        "model_sha256": model_sha256,
        "notice": INTENDED_USE,
    }


def _finding_document(finding: Finding, grade: str | None) -> dict[str, Any]:
    measured = finding.ventricles
    answer = {
        "probability_any": round(finding.probability_any, 6),
        "flagged_from": finding.flagged_from,
        "not_flagged_below": finding.not_flagged_below,
        "site_patients": finding.site_patients,
        "probabilities": {label: round(value, 6) for label, value in finding.probabilities.items()},
        "top_class": finding.top_class,
        "prediction_set": None if finding.prediction_set is None else list(finding.prediction_set),
        "coverage": None if finding.coverage is None else round(finding.coverage, 4),
        "peak": round(finding.peak, 4),
        "peak_xy": None if finding.peak_xy is None else [round(value, 4) for value in finding.peak_xy],
        "key_slice": finding.key_slice,
        "ventricles": None if measured is None else round(measured.fraction, 4),
        "evans_index": None if measured is None or measured.evans_index is None else round(measured.evans_index, 3),
    }
    thresholds = {key: answer[key] for key in ("flagged_from", "not_flagged_below", "site_patients")}
    return {
        "disease": finding.disease,
        "verdict": str(finding.verdict),
        "reason": finding.reason,
        **(answer if finding.is_assessed else dict.fromkeys(answer) | thresholds),
        "evidence": grade,
    }


def notice_line(notice: Notice) -> str:
    """Returns a notice as one sentence that names its disease."""
    return notice.text if notice.disease is None else f"{DISEASES[notice.disease].title}: {notice.text}"
