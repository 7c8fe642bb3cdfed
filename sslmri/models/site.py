"""Thresholds that a site chose on labelled scans of its own, in place of those of a model."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from sslmri.errors import ModelError
from sslmri.files import write_json
from sslmri.models.cards import Probability, Sha256
from sslmri.models.integrity import parse_as, read_bounded
from sslmri.models.metrics import STRICT

VARIABLE = "SSLMRI_THRESHOLDS"  # names the file whose thresholds the dashboard and the command line use
_ADVICE = f"write it again with `python -m sslmri validate`, or unset {VARIABLE}"
Patients = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=STRICT)
class SiteThresholds:
    """The thresholds of one classifier at a site.

    Attributes:
        is_volume: whether they hold for volumes, else for single slices; the others keep those of the model.
        threshold_low, threshold_high: as in ``Decisions``.
        n_disease, n_reference: the patients with and without the disease that they were chosen on.
    """

    is_volume: bool
    threshold_low: Probability
    threshold_high: Probability
    n_disease: Patients
    n_reference: Patients

    def __post_init__(self) -> None:
        """Refuses thresholds out of order."""
        if self.threshold_low > self.threshold_high:
            raise ValueError("threshold_low is not above threshold_high")


@dataclass(frozen=True, config=STRICT)
class _File:
    model_sha256: Sha256
    diseases: dict[str, SiteThresholds]


def write_site(path: Path, model_sha256: str, thresholds: Mapping[str, SiteThresholds]) -> None:
    """Writes the thresholds of a site for a model, by disease."""
    write_json(path, asdict(_File(model_sha256, dict(thresholds))))


def read_site(model_sha256: str) -> dict[str, SiteThresholds]:
    """Returns the thresholds of this site for a model, by disease; none where ``SSLMRI_THRESHOLDS`` names no file.

    Raises:
        ModelError: the file is missing, damaged or of another model.
    """
    if not (named := os.environ.get(VARIABLE)):
        return {}
    path = Path(os.path.realpath(named))
    site = parse_as(_File, read_bounded(path.parent, path.name, _ADVICE), path, "thresholds of a site", _ADVICE)
    if site.model_sha256 != model_sha256:
        raise ModelError(
            f"Expected thresholds of the model {model_sha256[:12]} in {path}, got those of {site.model_sha256[:12]}: "
            f"{_ADVICE}."
        )
    return site.diseases
