"""What a user gives the pages: a file, the loose files of one DICOM series, or a simulated patient."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from sslmri.dashboard.screening import gallery
from sslmri.scans import read_scan, read_series, series_key
from sslmri.scans.group_files import group_by_series
from sslmri.scans.scan import Scan
from sslmri.text import count


@dataclass(frozen=True)
class FileUpload:
    """One file."""

    name: str
    data: bytes
    n_files: ClassVar[int] = 1

    @cached_property
    def sha256(self) -> str:
        """Hash of the content; it distinguishes uploads."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def series(self) -> str | None:
        """What the files of one DICOM series have in common; None for any other file."""
        return series_key(self.data)

    @property
    def n_bytes(self) -> int:
        """Size of the content."""
        return len(self.data)

    def read(self) -> Scan:
        """Returns the scan.

        Raises:
            ScanError: it cannot be read.
        """
        return read_scan(self.data, self.name)


@dataclass(frozen=True)
class SeriesUpload:
    """The loose files of one DICOM series, sorted by their hashes: however the browser orders them, one hash."""

    parts: tuple[FileUpload, ...]

    @property
    def name(self) -> str:
        """What stands for the names of the files."""
        return f"DICOM series of {count(len(self.parts), 'file')}"

    @property
    def n_files(self) -> int:
        """How many files there are."""
        return len(self.parts)

    @cached_property
    def sha256(self) -> str:
        """Hash of the hashes of the files."""
        return hashlib.sha256("".join(part.sha256 for part in self.parts).encode()).hexdigest()

    @property
    def n_bytes(self) -> int:
        """Size of all files."""
        return sum(part.n_bytes for part in self.parts)

    def read(self) -> Scan:
        """Returns the scan; see ``FileUpload.read``."""
        return read_series([(part.name, part.data) for part in self.parts])


@dataclass(frozen=True)
class PatientUpload:
    """A simulated patient."""

    patient: str
    n_files: ClassVar[int] = 1
    n_bytes: ClassVar[int] = 0

    @property
    def name(self) -> str:
        """Its title."""
        return f"Simulated patient, {gallery.title_of(self.patient)}"

    @cached_property
    def sha256(self) -> str:
        """Hash of its key."""
        return hashlib.sha256(self.patient.encode()).hexdigest()

    def read(self) -> Scan:
        """Returns the scan."""
        return gallery.load(self.patient)[0]

    def true_mask(self) -> np.ndarray | None:
        """Returns where the lesion was drawn, bool (D, H, W); None in a healthy patient."""
        mask = gallery.load(self.patient)[1]
        return mask if mask.any() else None


Upload = FileUpload | SeriesUpload | PatientUpload


def join_series(files: Sequence[FileUpload]) -> list[FileUpload | SeriesUpload]:
    """Returns files in their order, the loose files of one DICOM series as one upload."""
    return [
        parts[0] if len(parts) == 1 else SeriesUpload(tuple(sorted(parts, key=lambda part: part.sha256)))
        for parts in group_by_series(files, lambda file: file.series)
    ]
