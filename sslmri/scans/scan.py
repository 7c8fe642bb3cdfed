"""A scan: what a file holds once it is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import numpy as np

from sslmri.diseases import MriSequence

NOT_DICOM = "This scan is not DICOM: there is no study that its results could be written into."
_MAX_LISTED = 10  # numbers that a warning lists

Spacing = tuple[float, float, float]

SEQUENCES: tuple[str, ...] = get_args(MriSequence)


class SeriesKey(NamedTuple):
    """What tells to which series a DICOM file belongs; hashes, which say nothing of its tags.

    Attributes:
        series: common to the files of one series, or None where the file names none.
        stack: common to the slices of one stack even where each names a series of its own, or None for anything else.
        number: of the file in its series, or None where it does not say.
    """

    series: str | None
    stack: str | None
    number: int | None


class DicomHeaders(NamedTuple):
    """What objects in the study of a scan need of its files, as DICOM JSON (PS3.18, annex F): it names the patient.

    Attributes:
        series: what the files have in common: patient, study, and how pixels lie.
        files: identifiers and position of each file that holds slices of the scan.
        origins: of each slice as acquired, in order of position: the index of its file, and its frame from 1 on.
        axes: as in ``Volume``.
        sha256: as in ``ScanInfo``.
    """

    series: dict[str, Any]
    files: list[dict[str, Any]]
    origins: list[tuple[int, int]]
    axes: tuple[tuple[float, float], ...] | None
    sha256: str = ""


@dataclass(frozen=True)
class ScanInfo:
    """What is known of a scan besides its voxels. No other tag of the file is kept.

    Attributes:
        name: name of the file, without folders.
        source: format of the file, one of ``file_type.SOURCES``.
        sha256: hash of the file's bytes; for a series in several files, of the sorted hashes of all.
        n_slices: of the whole file.
        spacing_mm: (slice, row, column) spacing, or None where the file does not say.
        orientation: three letters, the directions of the patient in which slice, row and column index grow: ``"SPL"``
            for every volume that can be reoriented, other letters for a single slice of another plane, None where the
            file does not say.
        modality: ``"MR"``, or None where the file does not say.
        sequence: ``"T1"``, ``"T1ce"``, ``"T2"`` or ``"FLAIR"`` where a DICOM file states it, else None.
        decade: of the patient's age where a DICOM file states it, 80 for all older ones, else None.
        warnings: plain sentences that the reader must see.
    """

    name: str
    source: str
    sha256: str
    n_slices: int
    spacing_mm: Spacing | None = None
    orientation: str | None = None
    modality: str | None = None
    sequence: str | None = None
    decade: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scan:
    """A scan with its voxels: (D, H, W) float32, finite, in the units of the file. An image is one slice."""

    info: ScanInfo
    voxels: np.ndarray


def left_out(numbers: Sequence[int], n_files: int, why: str) -> tuple[str, ...]:
    """Returns a warning about files left out, by number and never by name: names may identify the patient."""
    if not numbers:
        return ()
    listed = ", ".join(map(str, numbers[:_MAX_LISTED])) + (" ..." if len(numbers) > _MAX_LISTED else "")
    return (f"{len(numbers)} of {n_files} files {why} and were left out: number {listed} in the order of their names.",)
