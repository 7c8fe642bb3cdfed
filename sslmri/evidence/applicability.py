"""Whom each head answers, by cohort: what the stored table says, summed up."""

from collections.abc import Mapping, Sequence
from typing import Any

APPLICABILITY_FILE = "applicability.json"
OWN, SAME_DISEASE, SAME_CONTRASTS, OTHER, NO_BRAIN = "own", "same disease", "same contrasts", "other", "no brain"


def shares(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns for the rows of one head the shares of slices: own refused, others and pictures kept away.

    ``kept_other`` leaves out the cohorts that may rightly be taken for the head's kind, ``kept_all`` holds them.
    """

    def answered(*relations: str) -> float:
        chosen = [row for row in rows if row["relation"] in relations]
        n_slices = sum(row["n_slices"] for row in chosen)
        answered = sum(row["n_slices"] * row["share_applies"] for row in chosen)
        return float(answered / n_slices) if n_slices else float("nan")

    return {
        "refused_own": 1 - answered(OWN),
        "kept_other": 1 - answered(OTHER),
        "kept_all": 1 - answered(SAME_DISEASE, SAME_CONTRASTS, OTHER),
        "kept_pictures": 1 - answered(NO_BRAIN),
    }
