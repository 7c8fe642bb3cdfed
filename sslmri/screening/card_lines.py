"""What a card says of one finding, and the line above all cards. No torch here."""

from collections.abc import Collection, Iterable

from sslmri.diseases import DISEASES, class_title
from sslmri.evidence.verdict import Verdict
from sslmri.models.metrics import DiseaseControls, DiseaseMetrics
from sslmri.screening.messages import NOT_EVALUATED, site_line
from sslmri.screening.outcome import Finding, ScreeningSummary
from sslmri.text import proportion

_VERDICTS = list(Verdict)  # the most urgent first
INSUFFICIENT = "insufficient"


def urgency(finding: Finding) -> tuple[int, float]:
    """Returns what sorts findings, the most urgent first: by verdict, then by the probability of any disease class."""
    return _VERDICTS.index(finding.verdict), -finding.probability_any


def by_urgency(findings: Iterable[Finding], folded: Collection[str] = ()) -> list[Finding]:
    """Returns findings, the most urgent first; those of folded diseases come last."""
    return sorted(findings, key=lambda finding: (finding.disease in folded, *urgency(finding)))


def insufficient(metrics: dict[str, DiseaseMetrics]) -> set[str]:
    """Returns the diseases whose classifiers have insufficient evidence."""
    return {key for key, result in metrics.items() if result.grade.grade == INSUFFICIENT}


def headline(summary: ScreeningSummary, folded: Collection[str]) -> str:
    """Returns the verdicts of a scan in one line of Markdown, flagged ones in bold; folded diseases are only named."""
    shown = by_urgency(finding for key, finding in summary.assessed.items() if key not in folded)
    parts = [f"**{_verdict(each)}**" if each.verdict is Verdict.FLAGGED else _verdict(each) for each in shown]
    hidden = [DISEASES[key].title for key in summary.assessed if key in folded]
    absent = [DISEASES[key].title for key, finding in summary.findings.items() if not finding.is_assessed]
    parts += [f"Insufficient evidence, not shown: {', '.join(hidden)}."] if hidden else []
    parts += [f"Not assessed: {', '.join(absent)}."] if absent else []
    return " ".join(parts)


def _verdict(finding: Finding) -> str:
    return f"{DISEASES[finding.disease].title} {finding.verdict} ({proportion(finding.probability_any)})."


def type_line(finding: Finding, evidence: DiseaseMetrics | None) -> str | None:
    """Returns the disease classes of a finding, as settled as its prediction set leaves them; None where it has one.

    Not flagged findings have none either: there is no disease whose type could be told.
    """
    disease = DISEASES[finding.disease]
    if len(disease.classes) < 3 or finding.verdict is Verdict.NOT_FLAGGED:
        return None
    word = "Stage" if disease.is_ordinal else "Type"
    classes = sorted(disease.classes[1:], key=lambda label: -finding.probabilities[label])
    listed = ", ".join(
        f"{class_title(label)} {proportion(finding.probabilities[label])}"
        for label in classes
        if finding.probabilities[label] > 0
    )
    right = ""
    if evidence and evidence.types and evidence.types.accuracy.value is not None:
        right = f" ({word.lower()} correct in {proportion(evidence.types.accuracy.value)} of slices with disease)"
    return f"{word}: {listed}{right}" if is_settled(finding) else f"{word} not settled: {listed}{right}"


def is_settled(finding: Finding) -> bool:
    """Returns whether a disease is flagged, and one class of it the only one that the prediction set leaves."""
    diseased = DISEASES[finding.disease].classes[1:]
    best = max(diseased, key=finding.probabilities.__getitem__)
    return finding.verdict is Verdict.FLAGGED and finding.prediction_set == (best,)


def operating_line(finding: Finding, evidence: DiseaseMetrics | None, is_volume: bool) -> str:
    """Returns sensitivity and specificity on unseen patients at the threshold that the verdict was reached by."""
    if site := site_line(finding):
        return f"{site} Not measured on other patients"
    if evidence is None or evidence.thresholds is None:
        return NOT_EVALUATED.removesuffix(".")
    is_low = finding.verdict is Verdict.NOT_FLAGGED
    limit = evidence.thresholds.low if is_low else evidence.thresholds.high
    point = limit.groups if is_volume else limit.slices
    which = "the lower" if is_low and finding.not_flagged_below < finding.flagged_from else "this"
    unit = "Unseen patients" if is_volume else "Slices of unseen patients"
    return f"{unit}, at {which} threshold: sensitivity {point.sensitivity}, specificity {point.specificity}"


def map_rate_line(controls: DiseaseControls | None) -> tuple[str, bool]:
    """Returns how often the maps of a classifier point at the lesion, and whether that is a warning."""
    found = controls.localisation if controls else None
    if found is None or found.true.pointing.value is None:
        return "Whether its map points at the disease was not measured.", False
    rate = f"Its map peaks inside the lesion in {found.true.pointing} of test slices"
    is_chance = (found.true.pointing.low or 0) <= found.random_point.head
    return f"{rate}: do not read it as a location." if is_chance else f"{rate}.", is_chance


def shortcut_line(controls: DiseaseControls | None) -> tuple[str, bool]:
    """Returns in one line what shortcuts alone explain of a classifier's results, and whether that is a warning."""
    from sslmri.evidence.shortcuts import CARRIES, CONTROLS, PART  # with scikit-learn, which nothing else here needs

    if controls is None:
        return "Shortcuts were not measured.", False
    carrying, part = (
        [CONTROLS[name] for name, metrics in controls.shortcuts.items() if metrics.verdict == verdict]
        for verdict in (CARRIES, PART)
    )
    if carrying:
        return f"The classifier does as well on {' or '.join(carrying)}: the result may not reflect the disease.", True
    if part:
        return f"The classifier is above chance on {' or '.join(part)}: this may explain a part of the result.", False
    return "No sign of a shortcut.", False
