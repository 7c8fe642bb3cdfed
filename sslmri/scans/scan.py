"""A scan: what a file holds once it is read."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scan:
    """Voxels with what is known of them. A picture is a volume of one slice.

    Attributes:
        voxels: (D, H, W) float32, finite, grey values in the units of the file.
        spacing_mm: (slice, row, column) spacing, or None where the file does not say.
        orientation: orientation code such as ``"LPS"``, or None where the file does not say.
        modality: ``"MR"``, ``"CT"`` ..., or None where the file does not say.
        source: the format read: ``"PNG"``, ``"JPEG"``, ``"TIFF"``.
        name: the file's own name, without folders.
        sha256: hash of the file's bytes.
    """

    voxels: np.ndarray
    spacing_mm: tuple[float, float, float] | None
    orientation: str | None
    modality: str | None
    source: str
    name: str
    sha256: str
