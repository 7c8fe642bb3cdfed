"""What a report needs of a scan: its screening without pixels and maps, small pictures, and a clinician's review."""

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from sslmri.screening.screener import Finding, Screening

OPACITY = 0.7  # of the top of a map's scale
_SIDE = 256  # pixels along the longer side of a picture: 190 a inch at the size of the report
_QUALITY = 90


@dataclass(frozen=True)
class Review:
    """What a clinician said of a finding.

    Attributes:
        agrees: whether they agree with it; None where they have not said so.
        override: the class that they see instead, by disease.
        reason: why, in their words.
        reviewed_at: when, UTC, ISO 8601.
    """

    agrees: bool | None
    override: Mapping[str, str]
    reason: str
    reviewed_at: str


@dataclass(frozen=True)
class Pictures:
    """The key slice of a finding, alone and under the map of the predicted class: JPEG both."""

    scan: bytes
    overlay: bytes


@dataclass(frozen=True)
class Sheet:
    """What a report tells of one scan; some 0.1 MB, whatever the size of the scan.

    Attributes:
        screening: without slices, features and maps.
        pictures: by disease, of the findings that apply.
        reviews: by disease.
    """

    screening: "Screening"
    pictures: Mapping[str, Pictures]
    reviews: Mapping[str, Review]


@dataclass(frozen=True)
class Refusal:
    """A file that was not screened.

    Attributes:
        sha256: its hash, or None where it could not be read.
        reason: why, in a sentence that does not name the file.
    """

    sha256: str | None
    reason: str


Reported = Sheet | Refusal


def make_sheet(screening: "Screening", reviews: Mapping[str, Review] | None = None) -> Sheet:
    """Returns what a report needs of a screening."""
    pictures = {f.disease: _pictures(screening, f) for f in screening.findings if f.applicable}
    nothing = np.empty((0, 0, 0, 0), np.float32)
    thin = replace(
        screening,
        name="",
        slices=np.empty((0, 0, 0), np.uint8),
        features=np.empty((0, 0), np.float32),
        findings=tuple(replace(finding, saliency=nothing) for finding in screening.findings),
    )
    return Sheet(thin, pictures, dict(reviews or {}))


def make_refusal(names: Iterable[str], sentence: str, sha256: str | None) -> Refusal:
    """Returns a refusal whose sentence no longer names the file.

    Args:
        names: of the files that the sentence may name.
        sentence: as the reader gave it: what was expected, preceded by a name.
        sha256: of the file.
    """
    for name in names:
        sentence = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "this file", sentence)
    _, expected, rest = sentence.partition("Expected ")
    return Refusal(sha256, expected + rest or sentence)


def paint_key_slice(screening: "Screening", finding: "Finding", opacity: float = OPACITY) -> np.ndarray:
    """Returns the key slice of a finding under the map of its predicted class: (H, W, 3) uint8."""
    from sslmri.screening.saliency import enlarge, paint  # torch, which only this picture needs

    best = list(finding.probabilities).index(finding.predicted)
    slice_ = screening.slices[finding.key_slice]
    height, width = slice_.shape
    level = enlarge(finding.saliency[finding.key_slice, best], (height, width)) / finding.saliency_scale
    return paint(slice_, level, opacity)


def scaled(picture: np.ndarray, side: int) -> Image.Image:
    """Returns a picture (H, W) or (H, W, 3) uint8 with that many pixels along its longer side."""
    image = Image.fromarray(picture)
    factor = side / max(image.size)
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def _pictures(screening: "Screening", finding: "Finding") -> Pictures:
    key_slice = screening.slices[finding.key_slice]
    return Pictures(_jpeg(key_slice), _jpeg(paint_key_slice(screening, finding)))


def _jpeg(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    scaled(picture, _SIDE).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
