"""Voxels as a header describes them: sizes are compared with the bytes before anything is allocated."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.limits import MAX_VOXELS, check_size
from sslmri.scans.volume import Volume, axial_volume, directions_of

FIELD_MM = (40.0, 1000.0)  # of the longest side of a plausible field of view
_BLOCK = 2**19  # voxels scaled at once
_UNKNOWN_ORIENTATION = (
    "The file does not state the orientation of the patient: the plane of its slices, left and right are unknown. "
    "They are shown as axial; of another plane, they give no valid result."
)


@dataclass(frozen=True)
class VolumeHeader:
    """What the header of a volume says, whatever the format.

    Attributes:
        source: the format, for messages.
        sizes: along x, y, z and further dimensions; voxels lie in the file with x growing first.
        kind: the type of a voxel, in the file's byte order.
        steps: (3, 3), row i from one voxel to the next along axis i, in mm to the right, anterior and superior of the
            patient; None where the file does not say.
        spacing_mm: along x, y and z; needed where there are no steps, None where it is unknown.
        scaling: (slope, intercept) of the intensities, or None where they are stored unscaled.
        warnings: sentences about the header.
    """

    source: str
    sizes: Sequence[int]
    kind: np.dtype[Any]
    steps: np.ndarray | None
    spacing_mm: Sequence[float] | None = None
    scaling: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def n_bytes(self) -> int:
        """Size of the voxels of all volumes."""
        return math.prod(self.sizes) * self.kind.itemsize


def read_volume(content: bytes, offset: int, header: VolumeHeader) -> Volume:
    """Returns the volume, the first of several, whose voxels begin at an offset of a file's content; -1: at its end.

    Raises:
        ScanError: the sizes are none, the volume is too large, or the file ends before.
    """
    if len(header.sizes) < 2 or min(header.sizes) < 1:
        raise ScanError(f"The header of the {header.source} file is damaged: it has no valid dimensions.")
    x, y, z = (*header.sizes, 1)[:3]
    if x * y * z > MAX_VOXELS:
        check_size((z, y, x))
    n_volumes, warnings = math.prod(header.sizes[3:]), header.warnings
    if n_volumes > 1:
        several = f"The file holds {n_volumes} volumes (time points, maps or directions): only the first was read."
        warnings = (several, *warnings)
    offset = len(content) - header.n_bytes if offset == -1 else offset
    if offset < 0 or offset + header.n_bytes > len(content):
        raise ScanError(f"The {header.source} file is incomplete. Upload it again.")
    voxels = _scaled(np.frombuffer(content, header.kind, x * y * z, offset), header.scaling).reshape(z, y, x)
    if header.steps is None:
        check_size((z, y, x))
        x_mm, y_mm, z_mm = header.spacing_mm or (0.0, 0.0, 0.0)
        is_known = all(np.isfinite(mm) and mm > 0 for mm in (x_mm, y_mm, z_mm))
        spacing_mm = (z_mm, y_mm, x_mm) if is_known else None
        # y grows to anterior by custom, so rows are flipped
        return Volume(voxels[:, ::-1], spacing_mm, warnings=(_UNKNOWN_ORIENTATION, *warnings))
    directions, spacing = directions_of(header.steps[::-1])
    longest = max(mm * n for mm, n in zip(spacing, (z, y, x), strict=True))
    if 0 < longest < FIELD_MM[0] or FIELD_MM[1] < longest < np.inf:
        raise ScanError(f"No head has a field of view of {longest:,.1f} mm. Export the scan in millimetres.")
    return axial_volume(voxels, directions, spacing, warnings)


def _scaled(stored: np.ndarray, scaling: tuple[float, float] | None) -> np.ndarray:
    """Returns stored voxels (N,) as float32."""
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is replaced later
        if scaling is None:
            return stored.astype(np.float32)
        voxels = np.empty(len(stored), np.float32)
        for start in range(0, len(stored), _BLOCK):
            values = stored[start : start + _BLOCK]
            voxels[start : start + _BLOCK] = values * np.float64(scaling[0]) + scaling[1]
    return voxels
