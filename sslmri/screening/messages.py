"""The sentences about a screening, the same on pages, in reports and in exports. No torch here."""

from collections.abc import Sequence

from sslmri.cohorts.registry import caveat_of
from sslmri.diseases import DISEASES, Notice, class_title
from sslmri.evidence.verdict import Verdict, abstaining
from sslmri.models.cards import INTENDED_USE, HeadCard, ModelCard
from sslmri.models.evidence import Metrics
from sslmri.models.metrics import DiseaseMetrics
from sslmri.screening.outcome import CANNOT_TELL, OTHER, Entry, Finding, Review, ScreeningSummary
from sslmri.text import capital, count, format_timestamp, percent, proportion

NOT_REVIEWED = "Not reviewed by a clinician."
NOT_EVALUATED = "Not evaluated on unseen patients."
PLANES = {"SPL": "axial", "PIL": "coronal", "LIP": "sagittal"}  # of a slice, by orientation
_OPPOSITE = {"S": "I", "I": "S", "A": "P", "P": "A", "L": "R", "R": "L"}

_SEQUENCE_TITLES = {"T1": "T1", "T1ce": "T1 with contrast agent", "T2": "T2", "FLAIR": "FLAIR"}
_SEQUENCE_SOURCES = {"dicom": "as stated by DICOM", "image": "by its appearance", "reader": "as chosen by the reader"}
SEQUENCE_UNKNOWN = "The sequence is not known. Each classifier answers as if it were the one it was trained on."


def one_sided(card: HeadCard) -> str | None:
    """Returns why a classifier can give no result for any scan: it was trained on one side of its question only."""
    reference = class_title(card.classes[0])
    if card.classes[0] in card.untrained:
        return f"Trained without any example of {reference}, so it cannot exclude disease."
    if set(card.classes[1:]) <= set(card.untrained):
        return f"Trained on examples of {reference} only, so it cannot recognise disease."
    return None


def left_out(numbers: Sequence[int], n_file_slices: int) -> list[Notice]:
    """Returns which slices of a file were analysed, unless all were."""
    if len(numbers) == n_file_slices:
        return []
    if len(numbers) == 1:
        return [Notice(None, f"Analysed slice {numbers[0]} of {n_file_slices}.")]
    if len(numbers) < numbers[-1] - numbers[0] + 1:  # slices between them are closer than in training, or show no head
        between = f"between slices {numbers[0]} and {numbers[-1]}"
        return [Notice(None, f"Analysed {len(numbers)} of {n_file_slices} slices, {between}.")]
    return [Notice(None, f"Analysed slices {numbers[0]} to {numbers[-1]} of {n_file_slices}.")]


def untrained_notices(card: ModelCard) -> list[Notice]:
    """Returns a sentence for each class without a training example."""
    return [Notice(key, _untrained(label)) for key, head in card.heads.items() for label in head.untrained]


def _untrained(label: str) -> str:
    return f"{capital(class_title(label))} cannot be predicted: no training example."


def head_line(card: ModelCard) -> str:
    """Returns the line at the top of every page of a report."""
    return f"{INTENDED_USE} Model {card.name}, trained on {count(card.training.counts.groups, 'group')}."


def facts(summary: ScreeningSummary) -> list[tuple[str, str]]:
    """Returns what is known of a scan, as pairs of name and value."""
    spacing = summary.spacing_mm
    return [
        ("SHA-256 of the file", summary.sha256),
        ("Source", ", ".join(filter(None, (summary.source, summary.modality, sequence_line(summary))))),
        ("Slices", f"{len(summary.slice_numbers)} of {summary.n_file_slices} analysed"),
        ("Spacing", " x ".join(f"{mm:.2f}" for mm in spacing) + " mm (slice, row, column)" if spacing else "unknown"),
        ("Orientation", PLANES.get(summary.orientation or "", "unknown: left and right cannot be distinguished")),
        ("Screened", format_timestamp(summary.created)),
    ]


def orientation_labels(orientation: str | None) -> tuple[str, str, str, str] | None:
    """Returns the letters at the top, right, bottom and left of a slice, or None where the orientation is unknown."""
    if orientation is None:
        return None
    rows, columns = orientation[1], orientation[2]
    return _OPPOSITE[rows], columns, rows, _OPPOSITE[columns]


def probability_line(finding: Finding) -> str:
    """Returns the probability that the verdict follows from, next to its threshold."""
    name = capital(DISEASES[finding.disease].any_title)
    return f"{name} {proportion(finding.probability_any)} \u00b7 flagged from {proportion(finding.flagged_from)}"


def threshold_help(finding: Finding, head: HeadCard) -> str:
    """Returns how the verdict follows from the probability."""
    reference, low, high = class_title(head.classes[0]), finding.not_flagged_below, finding.flagged_from
    bands = (
        f"One threshold, {proportion(high)}: flagged from it on; below it not flagged"
        if low == high
        else f"Flagged from {proportion(high)} on; not flagged below {proportion(low)}"
    )
    return (
        f"{bands}, provided that {reference} is the most probable class; otherwise inconclusive, as where the 90 % set "
        f"says otherwise. {site_line(finding) or head.threshold_rule}"
    )


def site_line(finding: Finding) -> str | None:
    """Returns that the thresholds of a finding are those of this site, None where they are those of the model."""
    if finding.site_patients is None:
        return None
    return f"Thresholds of this site, chosen by the model's rule on {count(finding.site_patients, 'patient')}."


def set_line(finding: Finding) -> str | None:
    """Returns the 90 % prediction set of a finding, None where it excludes no class."""
    if finding.prediction_set is None:
        return None
    if not finding.prediction_set:
        return "90 % set: empty, the scan resembles none of the classes"
    return f"90 % set: {', '.join(class_title(label) for label in finding.prediction_set)}"


def never_excluded(head: HeadCard) -> str | None:
    """Returns which classes are in every prediction set of a classifier, None where each can be excluded."""
    few = ", ".join(class_title(label) for label in abstaining(head.set_thresholds))
    return f"In every 90 % set, with too few calibration patients: {few}." if few else None


def map_line(summary: ScreeningSummary, finding: Finding) -> str:
    """Returns how strong and how large the saliency of the top class is in the key slice."""
    where = f" on slice {finding.key_slice}" if summary.n_file_slices > 1 else ""
    where += " of the aligned brain" if finding.is_aligned else ""
    name = f"{class_title(finding.top_class)}{where}"
    if finding.coverage is None:
        return f"No notable saliency for {name}: peak {proportion(finding.peak)} of the scale."
    return (
        f"Saliency for {name}: above half of its peak in {percent(finding.coverage)} of the head; "
        f"peak {proportion(finding.peak)} of the scale."
    )


def key_slice_line(summary: ScreeningSummary, finding: Finding) -> str:
    """Returns which slice is the key slice, for a line below its image."""
    if finding.is_aligned:
        return f"Aligned brain, slice {finding.key_slice}"
    return f"Slice {finding.key_slice} of {summary.n_file_slices}"


def evidence_of(metrics: Metrics | None, disease: str) -> DiseaseMetrics | None:
    """Returns the results of a classifier on unseen patients, or None where it was not evaluated on any."""
    return metrics.diseases.get(disease) if metrics else None


def evidence_line(evidence: DiseaseMetrics | None) -> str:
    """Returns the grade of a classifier's evidence and its results on unseen patients, with intervals and counts."""
    if evidence is None:
        return NOT_EVALUATED
    unseen = f"{count(evidence.slices.n_groups, evidence.unit)}, {count(evidence.slices.n_cases, 'slice')}"
    auroc = evidence.groups.auroc if evidence.groups.auroc.value is not None else "unknown"
    return (
        f"{capital(evidence.grade.grade)} evidence. On unseen patients ({unseen}): AUROC of any disease {auroc}; "
        f"accuracy of slices {evidence.slices.accuracy}."
    )


def limits(card: ModelCard, disease: str) -> list[str]:
    """Returns what a reader must know of a classifier before believing its result."""
    untrained = [_untrained(label) for label in card.heads[disease].untrained]
    return [*untrained, caveat_of(disease, card.training.cohorts)]


def other_sequence(needed: str, sequence: str, *, is_seen: bool) -> str:
    """Returns why the classifier of a sequence is not run on a scan of another one, stated or seen in the image."""
    trained, is_one = f"Trained on {_SEQUENCE_TITLES[needed]}", "looks like" if is_seen else "is"
    return f"{trained}, this {is_one} {_SEQUENCE_TITLES[sequence]}."


def disagreement(summary: ScreeningSummary, seen: str) -> str:
    """Returns that a scan looks like another sequence than the file or the reader says."""
    return f"The sequence is {sequence_line(summary)}, but the image looks like {_SEQUENCE_TITLES[seen]}."


def agent_unknown(needed: str) -> str:
    """Returns that a T1 is answered although the image does not reliably show whether a contrast agent was given."""
    title = _SEQUENCE_TITLES[needed]
    return f"Trained on {title}. The image does not reliably show whether this T1 is with contrast agent."


def sequence_line(summary: ScreeningSummary) -> str:
    """Returns the sequence of a scan and what says so."""
    source = _SEQUENCE_SOURCES.get(summary.sequence_from or "", "")
    return f"{sequence_title(summary.sequence)} {source}".strip()


def sequence_title(sequence: str | None) -> str:
    """Returns the name of a sequence for display."""
    return "sequence not known" if sequence is None else _SEQUENCE_TITLES[sequence]


def reading_title(reading: str) -> str:
    """Returns a reading for display."""
    return {OTHER: "other", CANNOT_TELL: "cannot tell"}.get(reading) or class_title(reading)


def agreement_line(review: Review, finding: Finding) -> str:
    """Returns how a reading compares with the verdict."""
    agrees = review.agrees_with(finding)
    if agrees is None:
        return "Not compared with the model: one of the two leaves it open."
    return f"{'Agrees' if agrees else 'Disagrees'} with the model ({finding.verdict})."


def review_line(review: Review | None, finding: Finding) -> str:
    """Returns a clinician's reading of a scan for one disease, and how it compares with the verdict."""
    if review is None:
        return NOT_REVIEWED
    text = f" {review.text.strip()}" if review.text.strip() else ""
    who = f"{review.initials}, {format_timestamp(review.reviewed_at)}"
    return f"Reading of {who}: {reading_title(review.reading)}. {agreement_line(review, finding)}{text}"


def reviewed_line(entry: Entry, n_findings: int) -> str:
    """Returns how many of the findings of a scan a clinician has reviewed."""
    done = len(entry.reviews)
    return f"{done} of {n_findings} findings reviewed by a clinician." if done else NOT_REVIEWED


def short_verdict(finding: Finding) -> str:
    """Returns the verdict with the probability of any disease class, for a table of scans."""
    if finding.verdict == Verdict.NOT_ASSESSED:
        return finding.verdict
    return f"{finding.verdict} {proportion(finding.probability_any)}"
