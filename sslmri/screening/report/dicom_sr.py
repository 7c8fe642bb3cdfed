"""A screening as a DICOM structured report: template TID 1500, measurement report."""

from collections.abc import Mapping, Sequence

from highdicom import UID
from highdicom.sr import (
    AlgorithmIdentification,
    DeviceObserverIdentifyingAttributes,
    EnhancedSR,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from sslmri.diseases import DISEASES, class_title
from sslmri.models.cards import INTENDED_USE, ModelCard
from sslmri.models.evidence import Metrics
from sslmri.screening import messages
from sslmri.screening.outcome import Entry, Finding, ScreeningSummary, notice_line
from sslmri.screening.report.dicom_images import MANUFACTURER, coded, equipment
from sslmri.screening.report.dicom_map import Acquired
from sslmri.text import capital

_SERIES_NUMBER = 9001


def structured_report(
    card: ModelCard,
    entry: Entry,
    summary: ScreeningSummary,
    metrics: Metrics | None,
    acquired: Acquired,
    tracking: Mapping[str, str],
    note: str | None,
) -> EnhancedSR:
    """Returns the report, in a series of its own.

    Tracking has an identifier of each finding, by disease, which the segments repeat; a note is a sentence on the other
    objects.
    """
    device = DeviceObserverIdentifyingAttributes(
        generate_uid(entropy_srcs=[card.sha256]), MANUFACTURER, MANUFACTURER, card.name[:64], card.sha256
    )
    groups = []
    for key in summary.findings:
        group = _group(card, entry, summary, acquired, key, tracking[key])
        lines = _lines(entry, summary, summary.findings[key], metrics)
        group[0].ContentSequence.extend(map(_comment, lines))
        groups.append(group)
    report = MeasurementReport(
        ObservationContext(observer_device_context=ObserverContext(codes.DCM.Device, device)),
        procedure_reported=coded("screening", "Screening of a brain MRI by classifiers"),
        imaging_measurements=groups,
    )
    said = (INTENDED_USE, summary.reason, *map(notice_line, summary.warnings), note)
    report[0].ContentSequence.extend(map(_comment, dict.fromkeys(filter(None, said))))
    return EnhancedSR(
        acquired.images, report, UID(), _SERIES_NUMBER, UID(), 1, is_complete=True, **equipment(card, "findings")
    )


def _comment(text: str) -> TextContentItem:
    return TextContentItem(codes.DCM.Comment, text, RelationshipTypeValues.CONTAINS)


def _group(
    card: ModelCard, entry: Entry, summary: ScreeningSummary, acquired: Acquired, disease: str, tracking: str
) -> MeasurementsAndQualitativeEvaluations:
    """Returns what a classifier found; of one that was not assessed only that."""
    finding, title = summary.findings[disease], DISEASES[disease].title
    thresholds = [f"flagged from {finding.flagged_from:g}", f"not flagged below {finding.not_flagged_below:g}"]
    return MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(tracking, title),
        finding_type=coded(disease, title),
        algorithm_id=AlgorithmIdentification(f"{MANUFACTURER} {card.name}: {title}", card.sha256, thresholds),
        measurements=_probabilities(finding, card.heads[disease].untrained) if finding.is_assessed else None,
        qualitative_evaluations=_evaluations(entry, finding),
        source_images=_key_image(acquired, summary, finding),
    )


def _key_image(
    acquired: Acquired, summary: ScreeningSummary, finding: Finding
) -> list[SourceImageForMeasurementGroup] | None:
    origin = acquired.key_origin(summary, finding) if finding.is_assessed else None
    if origin is None:
        return None
    image, frames = acquired.images[origin[0]], [origin[1]] if acquired.has_frames else None
    return [SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID, frames)]


def _lines(entry: Entry, summary: ScreeningSummary, finding: Finding, metrics: Metrics | None) -> list[str]:
    """Returns what a reader must know of a finding, in sentences."""
    review = entry.reviews.get(finding.disease)
    lines = [finding.reason, messages.review_line(review, finding) if review else None]
    if finding.is_assessed:
        evidence = messages.evidence_line(messages.evidence_of(metrics, finding.disease))
        lines = [messages.set_line(finding), messages.map_line(summary, finding), evidence, *lines]
    return [line for line in lines if line]


def _probabilities(finding: Finding, untrained: Sequence[str]) -> list[Measurement]:
    named = {"any": (DISEASES[finding.disease].any_title, finding.probability_any)}
    named |= {label: (class_title(label), value) for label, value in finding.probabilities.items()}
    return [
        Measurement(coded(f"probability_{key}", f"Probability of {title}"), round(value, 6), codes.UCUM.NoUnits)
        for key, (title, value) in named.items()
        if key not in untrained
    ]


def _evaluations(entry: Entry, finding: Finding) -> list[QualitativeEvaluation]:
    found = [("verdict", "Verdict", finding.verdict.name.lower(), str(finding.verdict))]
    if finding.is_assessed:
        found.append(("top_class", "Most probable class", finding.top_class, class_title(finding.top_class)))
        members = finding.prediction_set or ()
        found += [("prediction_set", "In the 90 % prediction set", label, class_title(label)) for label in members]
    if review := entry.reviews.get(finding.disease):
        reading = review.reading
        found.append(("reading", "Reading of a clinician", reading, messages.reading_title(reading)))
    return [
        QualitativeEvaluation(coded(name, title), coded(value, capital(meaning)))
        for name, title, value, meaning in found
    ]
