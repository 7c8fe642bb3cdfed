"""Voxels whose number and type a header states: sizes are compared with the bytes before anything is allocated."""

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.limits import MAX_VOXELS, check_decompressed, check_size

_BLOCK = 2**19  # voxels converted at once


@dataclass(frozen=True)
class VoxelLayout:
    """How the voxels of a volume lie in a file.

    Attributes:
        source: the format, for messages.
        shape: (z, y, x), the order in which the voxels lie in the file.
        n_volumes: how many volumes of that shape follow each other; the first is read.
        kind: the type of a voxel, in the file's byte order.
        scaling: (slope, intercept) of the intensities, or None where they are stored unscaled.
    """

    source: str
    shape: tuple[int, int, int]
    n_volumes: int
    kind: np.dtype[Any]
    scaling: tuple[float, float] | None = None

    @property
    def n_bytes(self) -> int:
        """Size of all volumes."""
        return math.prod(self.shape) * self.n_volumes * self.kind.itemsize

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence where only the first of several volumes is read."""
        if self.n_volumes == 1:
            return ()
        return (f"The file holds {self.n_volumes} volumes (time points, maps or directions): only the first was read.",)


def volume_sizes(sizes: list[int], damaged: str) -> tuple[tuple[int, int, int], int]:
    """Returns (z, y, x) and the number of volumes, by the sizes of a header, x first.

    Raises:
        ScanError: the volume is too large, or the sizes are none: in the words of ``damaged``.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ScanError(f"{damaged}: it has no valid dimensions.")
    x, y, z = (*sizes, 1)[:3]
    if x * y * z > MAX_VOXELS:
        check_size((z, y, x))
    return (z, y, x), math.prod(sizes[3:])


def read_voxels(file: io.BufferedIOBase, n_compressed: int, offset: int, layout: VoxelLayout) -> np.ndarray:
    """Returns the voxels (z, y, x) float32 that begin so many bytes further in a file of so many.

    They are converted as they are read: memory is taken only for what arrives. Compressed data are read to their end,
    where their checksum is compared.

    Raises:
        ScanError: the file ends before, or expands too much.
    """
    n_bytes = offset + layout.n_bytes
    is_plain = isinstance(file, io.BytesIO)
    check_decompressed(n_bytes, n_bytes if is_plain else n_compressed)
    if is_plain and n_bytes > n_compressed - file.tell():
        raise _incomplete(layout)
    while offset > 0 and (block := file.read(min(offset, _BLOCK))):  # what precedes the voxels, in small steps
        offset -= len(block)
    voxels = np.empty(math.prod(layout.shape), np.float32)
    kind, scaling = layout.kind, layout.scaling
    for start in range(0, voxels.size, _BLOCK):
        part = voxels[start : start + _BLOCK]
        block = file.read(part.size * kind.itemsize)
        if len(block) < part.size * kind.itemsize:
            raise _incomplete(layout)
        values = np.frombuffer(block, kind)
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is replaced later
            part[:] = values if scaling is None else values * np.float64(scaling[0]) + scaling[1]
    while file.read(_BLOCK):
        pass
    return voxels.reshape(layout.shape)


def _incomplete(layout: VoxelLayout) -> ScanError:
    return ScanError(f"The {layout.source} file is incomplete. Upload it again.")
