"""A scan: what a file holds once it is read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_SHOWN = 10  # numbers that a sentence lists


@dataclass(frozen=True)
class Scan:
    """Voxels with what is known of them. A picture is a volume of one slice. No other tag of the file is kept.

    Attributes:
        voxels: (D, H, W) float32, finite, grey values in the units of the file.
        spacing_mm: (slice, row, column) spacing, or None where the file does not say.
        orientation: three letters, the directions of the patient in which slice, row and column index grow: ``"SPL"``
            for every volume that can be turned so, other letters for a lone slice of another plane, None where the
            file does not say.
        modality: ``"MR"``, ``"CT"`` ..., or None where the file does not say.
        source: the format read: ``"PNG"``, ``"JPEG"``, ``"TIFF"``, ``"DICOM"``, ``"NIfTI"``, ``"zip"``.
        name: the file's own name, without folders.
        sha256: hash of the file's bytes; of a series in several files, of the sorted hashes of all.
        warnings: plain sentences that the reader must see.
    """

    voxels: np.ndarray
    spacing_mm: tuple[float, float, float] | None
    orientation: str | None
    modality: str | None
    source: str
    name: str
    sha256: str
    warnings: tuple[str, ...] = ()


def left_out(numbers: Sequence[int], n_files: int, why: str) -> tuple[str, ...]:
    """Returns a sentence on files left out, by number and never by name: names may tell who the patient is."""
    if not numbers:
        return ()
    listed = ", ".join(str(number) for number in numbers[:_SHOWN]) + (" ..." if len(numbers) > _SHOWN else "")
    return (f"{len(numbers)} of {n_files} files {why}, left out: number {listed} in the order of their names.",)
