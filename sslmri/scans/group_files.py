"""Loose DICOM files of one series in one folder are one scan; any other file is a scan of its own."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from sslmri.errors import ScanError
from sslmri.scans.file_type import kind_of
from sslmri.scans.prepare import Prepared, prepare_file, prepare_read
from sslmri.scans.reading import MAX_BYTES, MAX_SERIES_BYTES
from sslmri.scans.sandbox import read_series, series_key
from sslmri.scans.scan import Scan
from sslmri.scans.slices import Preparation

_START = 1024  # bytes that say what kind a file is


def gather(paths: Iterable[Path]) -> list[tuple[Path, ...]]:
    """Returns the files of each scan, in the place of the first of them.

    A file that cannot be read stays alone, to be refused in its place.
    """
    scans: dict[object, list[Path]] = {}
    for number, path in enumerate(paths):
        key = _series_of(path)
        scans.setdefault((path.parent, key) if key else number, []).append(path)
    return [tuple(files) for files in scans.values()]


def prepare_scans(scans: Sequence[tuple[Path, ...]], preparation: Preparation) -> list[Prepared]:
    """Returns what ``prepare_file`` returns, for each scan with its files."""
    return [
        prepare_file(files[0], preparation) if len(files) == 1 else _prepare_series(files, preparation)
        for files in scans
    ]


def _series_of(path: Path) -> str | None:
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        with path.open("rb") as file:
            start = file.read(_START)
            return series_key(start + file.read()) if kind_of(start) == "DICOM" else None
    except OSError:
        return None


def _prepare_series(files: Sequence[Path], preparation: Preparation) -> Prepared:
    name = f"{files[0].name} and {len(files) - 1} more"

    def read() -> Scan:
        if sum(path.stat().st_size for path in files) > MAX_SERIES_BYTES:
            raise ScanError(f"{name}: Expected at most {MAX_SERIES_BYTES >> 20} MB, got more: send fewer.")
        return read_series([(path.name, path.read_bytes()) for path in files])

    return prepare_read(read, name, preparation)
