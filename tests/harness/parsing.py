"""Scans read in this process, without the limits of the sandbox."""

from collections.abc import Sequence

from sslmri.errors import ScanError
from sslmri.scans.parse import ScanFiles, parse_volume
from sslmri.scans.scan import Scan


def parse_scan(data: bytes, name: str) -> Scan:
    """Returns the scan that a file holds.

    Raises:
        ScanError: the file cannot be read as a scan.
        MemoryError: there is too little memory to read it.
    """
    return _parse_files(ScanFiles.of_file(data, name))


def parse_series(files: Sequence[tuple[str, bytes]]) -> Scan:
    """Returns the scan that the files of a series, or a header and its voxels, hold; raises as ``parse_scan``."""
    return _parse_files(ScanFiles.of_files(files))


def _parse_files(files: ScanFiles) -> Scan:
    try:
        return files.scan(parse_volume(files.source, files.contents))
    except ScanError as error:
        raise ScanError(error.reason, files.name) from None
