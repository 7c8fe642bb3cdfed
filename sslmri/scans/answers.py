"""What the process that reads files answers: parts of voxels, and answers that are checked before they are believed."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sslmri.scans.limits import MAX_SLICES
from sslmri.scans.scan import SeriesKey, Spacing
from sslmri.scans.volume import Volume

_PART_BYTES = 2**20  # of voxels sent at once, or one row of them
_TEXT = r"(?s).+"


def parts(voxels: np.ndarray) -> Iterator[np.ndarray]:
    """Returns views of at most 1 MB of the voxels (D, H, W), in order: both ends copy what is sent at once."""
    depth, height, width = voxels.shape
    n_rows = max(1, _PART_BYTES // (width * voxels.itemsize))
    n_planes = max(1, n_rows // height)
    starts = itertools.product(range(0, depth, n_planes), range(0, height, n_rows))
    return (voxels[plane : plane + n_planes, row : row + n_rows] for plane, row in starts)


def interpret_key(answer: dict[str, Any], _: np.ndarray | None) -> SeriesKey | None:
    """Returns the key in an answer; anything else raises."""
    if answer["key"] is None:
        return None
    *hashes, number = answer["key"]
    series, stack = (None if text is None else _matching("[0-9a-f]{64}", text) for text in hashes)
    return SeriesKey(series, stack, None if number is None else int(number))


def interpret_count(answer: dict[str, Any], _: np.ndarray | None) -> int:
    """Returns the number of scans in an answer; anything else raises."""
    count = answer["count"]
    if not isinstance(count, int) or not 0 < count <= MAX_SLICES:
        raise ValueError("Expected a number of scans, got something else.")
    return count


def interpret_volume(answer: dict[str, Any], voxels: np.ndarray | None) -> Volume | str:
    """Returns the volume or the refusal in an answer; anything else raises."""
    if "refused" in answer:
        return _matching(_TEXT, answer["refused"])
    if voxels is None or not all(np.isfinite(part).all() for part in parts(voxels)):
        raise ValueError("Expected finite voxels, got others.")
    texts = {"orientation": "[LRPAIS]{3}", "modality": "[A-Z]+", "sequence": "T1|T1ce|T2|FLAIR"}
    known = {key: _matching(pattern, answer[key]) for key, pattern in texts.items() if answer[key] is not None}
    warnings = tuple(_matching(_TEXT, warning) for warning in answer["warnings"])
    source = "MGH" if answer.get("source") == "MGH" else None
    return Volume(voxels, _spacing_of(answer["spacing_mm"]), warnings=warnings, source=source, **known)


def _spacing_of(values: Sequence[float] | None) -> Spacing | None:
    if values is None:
        return None
    slice_mm, row_mm, column_mm = map(float, values)
    if not all(0 < value < math.inf for value in (slice_mm, row_mm, column_mm)):
        raise ValueError("Expected distances in space, got others.")
    return slice_mm, row_mm, column_mm


def _matching(pattern: str, text: Any) -> str:
    if not isinstance(text, str) or not re.fullmatch(pattern, text):
        raise ValueError("Expected text of another form.")
    return text
