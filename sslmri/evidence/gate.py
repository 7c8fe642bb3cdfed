"""Whom each head answers: how many of its own slices it refuses and how many others are kept away, with intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sslmri.evidence.false_alarms import share_of_scans

APPLICABILITY_FILE = "applicability.json"
OWN, SAME_DISEASE, SAME_CONTRASTS, OTHER, NOT_BRAIN = "own", "same disease", "same contrasts", "other", "no brain"


def shares(applies: np.ndarray, relations: np.ndarray, cohorts: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Returns what share of slices one head refuses of its own, and keeps away of others and of pictures, for JSON.

    Each is as from ``share_of_scans``, None where there are no such slices. ``kept_other`` leaves out the cohorts that
    may rightly be taken for the head's kind, ``kept_all`` holds them.

    Args:
        applies: (N,) bool, whether the head answers each slice.
        relations: (N,) what each slice's cohort is to the head.
        cohorts: (N,) names.
        groups: (N,) names.
    """

    def silent(*kinds: str) -> dict[str, Any] | None:
        own = np.isin(relations, kinds)
        return share_of_scans(~applies[own], cohorts[own], groups[own]) if own.any() else None

    return {
        "refused_own": silent(OWN),
        "kept_other": silent(OTHER),
        "kept_all": silent(SAME_DISEASE, SAME_CONTRASTS, OTHER),
        "kept_pictures": silent(NOT_BRAIN),
    }


def exact_share(found: Mapping[str, Any] | None) -> str:
    """Returns one of the shares in per cent with its interval and how many groups it rests on."""
    if found is None:
        return "none to ask"
    rate, of = found["rate"], f"{found['n_groups']} groups"
    if rate["value"] is None:
        return str(rate["reason"])
    return f"{100 * rate['value']:.1f} % ({100 * rate['low']:.1f} to {100 * rate['high']:.1f}; {of})"
