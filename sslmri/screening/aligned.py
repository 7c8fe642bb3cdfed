"""Findings of classifiers that learned from aligned brains: which need one, and how they join the others."""

from collections.abc import Sequence
from dataclasses import replace

from sslmri.diseases import DISEASES, Notice
from sslmri.evidence.verdict import Verdict
from sslmri.scans.atlas import HEAD_MM
from sslmri.scans.scan import Scan
from sslmri.scans.slices import Preparation, PreparedScan, prepare_scan
from sslmri.scans.volume import AXIAL
from sslmri.screening.outcome import Screening

CLASSIFYING = "classifying"
ALIGNED = (
    "Answered from the extracted brain, aligned with an average brain as the training slices are. On such scans the "
    "shipped model was compared with another group's measurement of the ventricles of 12 people (rank correlation "
    "0.95, on the scans that the alignment was chosen on), never with diagnoses: it mostly measures the ventricles."
)


def to_align(screening: Screening) -> list[str]:
    """Returns the diseases whose classifier needs the brain of this scan aligned.

    Another sequence rules a classifier out. A stack of slices that is too low for a head and that its classifier
    accepts is in that form already.
    """
    summary, found = screening.unrestricted, screening.summary.findings
    if summary.reason or summary.spacing_mm is None or summary.n_file_slices < 2 or summary.orientation != AXIAL:
        return []
    is_head = summary.n_file_slices * summary.spacing_mm[0] >= HEAD_MM
    return [
        key
        for key, finding in summary.findings.items()
        if DISEASES[key].form == "atlas" and found[key] == finding and (is_head or not finding.is_assessed)
    ]


def prepare_aligned(brain: Scan, preparation: Preparation) -> PreparedScan:
    """Returns all slices of an aligned brain as the encoder sees them."""
    return prepare_scan(brain, replace(preparation, slice_fraction=1.0))


def with_aligned(screening: Screening, aligned: Screening, brain: Scan, diseases: Sequence[str]) -> Screening:
    """Returns a screening, unrestricted by sequence, whose findings of these diseases are of the aligned brain."""
    found = aligned.unrestricted.findings
    findings = {key: replace(found[key], is_aligned=True) for key in diseases}
    arrays = replace(
        screening.arrays,
        saliency={**screening.arrays.saliency, **{key: aligned.arrays.saliency[key] for key in diseases}},
        slice_probabilities={
            **screening.arrays.slice_probabilities,
            **{key: aligned.arrays.slice_probabilities[key] for key in diseases},
        },
        aligned=replace(aligned.arrays, volume=brain.voxels),
    )
    before = screening.unrestricted
    warnings = (*before.warnings, *(Notice(key, ALIGNED) for key in diseases))
    summary = replace(before, findings={**before.findings, **findings}, warnings=warnings)
    return Screening(summary, arrays, summary)


def without_aligned(screening: Screening, diseases: Sequence[str], reason: str) -> Screening:
    """Returns a screening, unrestricted by sequence, in which these diseases are not assessed for that reason."""
    found = screening.unrestricted.findings
    findings = {key: replace(found[key], verdict=Verdict.NOT_ASSESSED, reason=reason) for key in diseases}
    summary = replace(screening.unrestricted, findings={**found, **findings})
    return replace(screening, summary=summary, unrestricted=summary)
