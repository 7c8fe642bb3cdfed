"""Voxels as a header describes them: sizes are compared with the bytes before anything is allocated."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.limits import MAX_VOXELS, check_decompressed, check_size
from sslmri.scans.volume import Volume, axial_volume, directions_of, unoriented_volume

_BLOCK = 2**19  # voxels converted at once


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


def read_volume(file: io.BufferedIOBase, n_compressed: int, offset: int, header: VolumeHeader) -> Volume:
    """Returns the volume, the first of several, whose voxels begin so many bytes further in a file of so many.

    Raises:
        ScanError: the sizes are none, the volume is too large, the file ends before, or expands too much.
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
    voxels = _read_voxels(file, n_compressed, offset, header, x * y * z).reshape(z, y, x)
    if header.steps is None:
        x_mm, y_mm, z_mm = header.spacing_mm or (0.0, 0.0, 0.0)
        return unoriented_volume(voxels, (z_mm, y_mm, x_mm), warnings)
    directions, spacing = directions_of(header.steps[::-1])
    return axial_volume(voxels, directions, spacing, warnings)


def _read_voxels(
    file: io.BufferedIOBase, n_compressed: int, offset: int, header: VolumeHeader, n_voxels: int
) -> np.ndarray:
    """Returns the first voxels of a file as float32.

    They are converted as they are read: memory is taken only for what arrives. Compressed data are read to their end,
    where their checksum is compared.
    """
    n_bytes = offset + header.n_bytes
    is_plain = isinstance(file, io.BytesIO)
    check_decompressed(n_bytes, n_bytes if is_plain else n_compressed)
    if is_plain and n_bytes > n_compressed - file.tell():
        raise _incomplete(header)
    while offset > 0 and (block := file.read(min(offset, _BLOCK))):  # what precedes the voxels, in small steps
        offset -= len(block)
    voxels = np.empty(n_voxels, np.float32)
    kind, scaling = header.kind, header.scaling
    for start in range(0, n_voxels, _BLOCK):
        part = voxels[start : start + _BLOCK]
        block = file.read(part.size * kind.itemsize)
        if len(block) < part.size * kind.itemsize:
            raise _incomplete(header)
        values = np.frombuffer(block, kind)
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is replaced later
            part[:] = values if scaling is None else values * np.float64(scaling[0]) + scaling[1]
    while file.read(_BLOCK):
        pass
    return voxels


def _incomplete(header: VolumeHeader) -> ScanError:
    return ScanError(f"The {header.source} file is incomplete. Upload it again.")
