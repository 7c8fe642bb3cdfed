"""Findings of classifiers that learned from aligned brains: which need one, and how they join the others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sslmri.diseases import DISEASES, Notice, SequenceChoice
from sslmri.evidence.verdict import Verdict
from sslmri.models.cards import ModelCard
from sslmri.models.folder import HEADS
from sslmri.scans.atlas import AlignedBrain
from sslmri.scans.prepare import is_head, turned
from sslmri.scans.volume import AXIAL
from sslmri.screening.outcome import Finding, Screening, ScreeningSummary
from sslmri.screening.sequences import SURE_OF_SLICE, seen_in_brain, with_sequence

CLASSIFYING = "classifying"
UNLIKE = "A brain was found, but the brightness or the noise of its slices is unlike those of the training data."
ALIGNED = (
    "Answered from the extracted brain, aligned with an average brain as the training slices are. On such scans this "
    "model was never compared with diagnoses."
)
_UNRECOGNISED = "The aligned slices are not recognised as brain MRI: motion or noise can be the reason."
# What ``python -m benchmarks.atlas`` measured, by the hash of the classifier's weights: it is true of no other.
COMPARED = {
    "5164d723b98c26d1fc3da383f813bd8f3266970b0ec42d3e90c66a3f3415813b": (
        "It mostly measures the ventricles: its probability was compared with another group's measurement of them in "
        "12 people (rank correlation 0.95, on the scans that the alignment was chosen on)."
    )
}


def to_align(screening: Screening, choice: SequenceChoice | None = None) -> list[str]:
    """Returns the diseases whose classifier needs the brain of this scan aligned.

    Another sequence rules a classifier out, an appearance only where it is beyond doubt: the aligned brain tells more.
    A stack of slices that is too low for a head and that its classifier accepts is in that form already.
    """
    summary, found = screening.unrestricted, with_sequence(screening, choice, SURE_OF_SLICE).summary.findings
    if summary.reason or summary.spacing_mm is None or summary.n_file_slices < 2 or summary.orientation != AXIAL:
        return []
    return [
        key
        for key, finding in summary.findings.items()
        if DISEASES[key].form == "atlas" and found[key] == finding and (is_whole(summary) or not finding.is_assessed)
    ]


def is_whole(summary: ScreeningSummary) -> bool:
    """Returns whether the scan of a screening is high enough for a whole head."""
    return is_head(summary.n_file_slices, summary.spacing_mm, summary.orientation)


def recognised(screening: Screening) -> Screening:
    """Returns the screening of a T1, unrestricted by sequence, that the gate rejects although its brain aligns.

    A strong coil bias has that effect. No classifier is assessed: none was trained on such slices.
    """
    seen = seen_in_brain(None, is_t1=True)
    summary = replace(screening.unrestricted, is_brain_mri=True, reason=None, sequence_seen=seen)
    return without_aligned(replace(screening, unrestricted=summary), list(summary.findings), UNLIKE)


def notice_of(card: ModelCard, disease: str) -> Notice:
    """Returns what a reader must know of an answer to an aligned brain, as far as it was measured of this model."""
    compared = COMPARED.get(card.files.get(f"{HEADS}/{disease}.safetensors", ""), "")
    return Notice(disease, f"{ALIGNED} {compared}".strip())


def with_aligned(
    screening: Screening, aligned: Screening, brain: AlignedBrain, notices: Mapping[str, Notice]
) -> Screening:
    """Returns a screening, unrestricted by sequence, whose findings of these diseases are of the aligned brain.

    ``aligned`` is the screening of that brain as the encoder saw it; notices are what a reader must know of a finding.
    """
    found = aligned.unrestricted.findings
    reason = _UNRECOGNISED if aligned.unrestricted.reason else None
    findings = {key: _of_brain(found[key], brain, reason) for key in notices}
    seen = replace(
        aligned.arrays,
        slices=turned(aligned.arrays.slices),
        saliency={key: turned(maps) for key, maps in aligned.arrays.saliency.items()},
        volume=brain.scan.voxels,
        to_scan=brain.to_scan,
    )
    arrays = replace(
        screening.arrays,
        saliency={**screening.arrays.saliency, **{key: seen.saliency[key] for key in notices}},
        slice_probabilities={
            **screening.arrays.slice_probabilities,
            **{key: seen.slice_probabilities[key] for key in notices},
        },
        aligned=seen,
    )
    before = screening.unrestricted
    warnings = (*before.warnings, *notices.values())
    summary = replace(
        before,
        findings={**before.findings, **findings},
        warnings=warnings,
        sequence_seen=seen_in_brain(before.sequence_seen, is_t1=brain.is_t1),
    )
    return Screening(summary, arrays, summary)


def _of_brain(finding: Finding, brain: AlignedBrain, reason: str | None) -> Finding:
    peak = finding.peak_xy and (1 - finding.peak_xy[0], 1 - finding.peak_xy[1])
    reason = reason or finding.reason
    return replace(finding, reason=reason, is_aligned=True, ventricles=brain.ventricles, peak_xy=peak)


def without_aligned(screening: Screening, diseases: Sequence[str], reason: str) -> Screening:
    """Returns a screening, unrestricted by sequence, in which these diseases are not assessed for that reason."""
    found = screening.unrestricted.findings
    findings = {key: replace(found[key], verdict=Verdict.NOT_ASSESSED, reason=reason) for key in diseases}
    summary = replace(screening.unrestricted, findings={**found, **findings})
    return replace(screening, summary=summary, unrestricted=summary)
