"""The sentences of a report, alike in PDF, CSV and JSON."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sslmri.diseases import DISEASES, class_title
from sslmri.models.cards import INTENDED_USE, HeadCard, ModelCard
from sslmri.screening.report.report_data import Review
from sslmri.text import count, format_timestamp, interval, percent, proportion

if TYPE_CHECKING:
    from sslmri.screening.screener import Finding, Screening

NOT_REVIEWED = "Not reviewed by a clinician."
NOT_EVALUATED = "This head has not been evaluated on data it never saw."
_DIRECTIONS = {
    "S": "superior",
    "I": "inferior",
    "A": "anterior",
    "P": "posterior",
    "L": "the patient's left",
    "R": "the patient's right",
}
_OPPOSITE = {"S": "I", "I": "S", "A": "P", "P": "A", "L": "R", "R": "L"}


def head_line(card: ModelCard) -> str:
    """Returns what stands at the head of every page: what the report is for."""
    return f"{INTENDED_USE} Model {card.name}, trained on {count(card.encoder.n_groups, 'group')}."


def facts(screening: "Screening") -> list[tuple[str, str]]:
    """Returns what is known of a scan, as pairs of name and value."""
    spacing = screening.spacing_mm
    return [
        ("SHA-256 of the file", screening.sha256),
        ("Source", ", ".join(filter(None, (screening.source, screening.modality)))),
        ("Slices", slices_line(screening)),
        ("Spacing", " x ".join(f"{mm:.2f}" for mm in spacing) + " mm (slice, row, column)" if spacing else "unknown"),
        ("Orientation", _orientation(screening.orientation)),
        ("Screened", format_timestamp(screening.created)),
    ]


def slices_line(screening: "Screening") -> str:
    """Returns how many slices of the file were screened, and which."""
    numbers, total = screening.slice_numbers, screening.n_file_slices
    if total == 1:
        return "1"
    which = f"number {numbers[0]}" if len(numbers) == 1 else f"numbers {numbers[0]} to {numbers[-1]}"
    return f"{len(numbers)} of {total} screened, {which}"


def orientation_labels(orientation: str | None) -> tuple[str, str] | None:
    """Returns the letters at the left and at the right of a slice, or None where the orientation is unknown."""
    return (_OPPOSITE[orientation[2]], orientation[2]) if orientation else None


def _orientation(code: str | None) -> str:
    if code is None:
        return "unknown: left and right cannot be told"
    names = zip(("slices", "rows", "columns"), code, strict=True)
    return f"{code} ({', '.join(f'{name} towards {_DIRECTIONS[letter]}' for name, letter in names)})"


def status_of(finding: "Finding") -> str:
    """Returns the status of a finding, ``does not apply`` where the head has no answer."""
    return finding.status if finding.applicable else "does not apply"


def answer_line(finding: "Finding") -> str:
    """Returns the predicted class with its probability, or why there is none."""
    if not finding.applicable:
        return finding.reason or "This head does not apply to this scan."
    return f"{class_title(finding.predicted)}, probability {proportion(finding.probabilities[finding.predicted])}"


def set_line(finding: "Finding", card: HeadCard) -> str:
    """Returns what the 90 % set of a finding says."""
    titles = ", ".join(class_title(label) for label in finding.prediction_set)
    if len(finding.prediction_set) == len(card.classes):
        return f"90 % set: {titles} (every class: not enough to say)."
    return f"90 % set: {titles}."


def threshold_line(finding: "Finding") -> str:
    """Returns the probability that the status goes by, beside the two thresholds."""
    reference = DISEASES[finding.disease].reference
    return (
        f"Any class but {class_title(reference)}: {proportion(1 - finding.probabilities[reference])}; flagged from "
        f"{proportion(finding.threshold_high)}, not flagged below {proportion(finding.threshold_low)}."
    )


def map_line(screening: "Screening", finding: "Finding") -> str:
    """Returns how much of the head the map covers."""
    number = screening.slice_numbers[finding.key_slice]
    where = f" on slice {number}" if screening.n_file_slices > 1 else ""
    return f"The map of {class_title(finding.predicted)} covers {percent(finding.coverage)} of the head{where}."


def evidence_of(metrics: Mapping[str, Any] | None, disease: str) -> dict[str, Any] | None:
    """Returns how good a head is known to be on groups it never saw, or None where it was not measured.

    Args:
        metrics: content of the model's ``metrics.json``.
        disease: key of the head.
    """
    result = metrics["diseases"].get(disease) if metrics else None
    if result is None:
        return None
    return {
        "grade": result["grade"]["grade"],
        "grade_reason": result["grade"]["reason"],
        "n_groups": result["n_groups"],
        "unit": result["unit"],
        "n_slices": result["n_slices"],
        "auroc_of_any_disease_per_group": result["subject"]["auroc"],
        "accuracy_of_slices": result["accuracy"],
    }


def evidence_lines(evidence: Mapping[str, Any] | None) -> list[str]:
    """Returns the grade of a head's evidence, its figures with intervals and counts, and the reason of the grade."""
    if evidence is None:
        return [NOT_EVALUATED]
    unseen = f"{count(evidence['n_groups'], evidence['unit'])}, {count(evidence['n_slices'], 'slice')} never seen"
    area = evidence["auroc_of_any_disease_per_group"]
    said = f"AUROC of any disease {interval(area)}" if area["value"] is not None else "AUROC of any disease unknown"
    return [
        f"{evidence['grade'].capitalize()} evidence. On {unseen}: {said}; "
        f"share of slices right {interval(evidence['accuracy_of_slices'])}.",
        evidence["grade_reason"],
    ]


def review_line(finding: "Finding", review: Review | None) -> str:
    """Returns what a clinician said of a finding."""
    if review is None:
        return NOT_REVIEWED
    other = review.override.get(finding.disease)
    if other is not None:
        said = f"Clinician's review: overridden to {class_title(other)}"
    elif review.agrees is not None:
        said = f"Clinician's review: {'agrees' if review.agrees else 'does not agree'}"
    else:
        return NOT_REVIEWED
    reason = review.reason.strip()
    return f"{said} ({format_timestamp(review.reviewed_at)}).{f' Reason: {reason}' if reason else ''}"


def is_reviewed(finding: "Finding", review: Review | None) -> bool:
    """Returns whether a clinician agreed with a finding, disagreed or overrode it."""
    return review_line(finding, review) != NOT_REVIEWED


def review_json(finding: "Finding", review: Review | None) -> dict[str, Any] | None:
    """Returns a review for JSON, None where there is none."""
    if review is None or not is_reviewed(finding, review):
        return None
    return {
        "agrees": review.agrees,
        "override": review.override.get(finding.disease),
        "reason": review.reason,
        "reviewed_at": review.reviewed_at,
    }


def limits_line(card: ModelCard, disease: str) -> str:
    """Returns what a reader must know of a disease's head before believing its number."""
    titles = [class_title(label).capitalize() for label in card.heads[disease].unlearned]
    never = [f"{title} was never learned and cannot be predicted." for title in titles]
    return " ".join([*never, DISEASES[disease].caveat_of(card.encoder.cohorts)])


def reviewed_line(screening: "Screening", reviews: Mapping[str, Review]) -> str:
    """Returns how many of a scan's findings a clinician has reviewed."""
    done = sum(is_reviewed(finding, reviews.get(finding.disease)) for finding in screening.findings)
    total = len(screening.findings)
    return NOT_REVIEWED if done == 0 else f"{done} of {total} findings reviewed by a clinician."


def unique(sentences: Sequence[str]) -> list[str]:
    """Returns sentences in their order, each once."""
    return list(dict.fromkeys(sentences))
