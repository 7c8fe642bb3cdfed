"""Findings and tables as files that a spreadsheet opens without running anything."""

import json
from typing import TYPE_CHECKING

import pandas as pd

from sslmri.files import neutralised
from sslmri.learning.cards import INTENDED_USE, ModelCard

if TYPE_CHECKING:
    from sslmri.screening.screener import Screening


def to_csv(frame: pd.DataFrame) -> bytes:
    """Returns a table as CSV; text that a spreadsheet would take for a formula is preceded by an apostrophe.

    A heading in two rows becomes one: ``train`` over ``groups`` is ``train groups``.
    """
    names = [" ".join(filter(None, name)) if isinstance(name, tuple) else name for name in frame.columns]
    safe = frame.map(neutralised).set_axis([neutralised(name) for name in names], axis=1)
    return safe.to_csv(index=False, lineterminator="\n").encode("utf-8")


def findings_json(card: ModelCard, screening: "Screening") -> bytes:
    """Returns the findings of a screening as JSON."""
    content = {
        "intended_use": INTENDED_USE,
        "model": card.name,
        "model_sha256": screening.model_sha256,
        "file": screening.name,
        "file_sha256": screening.sha256,
        "created": screening.created,
        "n_slices": len(screening.slices),
        "slice_numbers": list(screening.slice_numbers),
        "n_file_slices": screening.n_file_slices,
        "findings": [finding.to_json() for finding in screening.findings],
        "warnings": list(screening.warnings),
    }
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode("utf-8")


def findings_csv(card: ModelCard, screening: "Screening") -> bytes:
    """Returns the findings of a screening as CSV, one row a disease and class."""
    rows = [
        {
            "file": screening.name,
            "disease": finding.disease,
            "class": label,
            "probability": round(probability, 6),
            "is_learned": label not in card.heads[finding.disease].unlearned,
            "is_predicted": label == finding.predicted,
            "applicable": finding.applicable,
            "reason": finding.reason,
            "status": finding.status,
            "threshold_low": finding.threshold_low,
            "threshold_high": finding.threshold_high,
            "coverage_of_predicted": round(finding.coverage, 4),
            "warnings": " ".join(screening.warnings),
            "model": card.name,
            "model_sha256": screening.model_sha256,
            "created": screening.created,
            "intended_use": INTENDED_USE,
        }
        for finding in screening.findings
        for label, probability in finding.probabilities.items()
    ]
    return to_csv(pd.DataFrame(rows))
