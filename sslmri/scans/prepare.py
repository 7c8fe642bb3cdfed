"""From files to prepared slices, for the store and for the screening of folders."""

from collections.abc import Sequence
from pathlib import Path

from sslmri.errors import ScanError
from sslmri.scans.group_files import ZippedSeries
from sslmri.scans.limits import MAX_BYTES, MAX_SERIES_BYTES, check_bytes
from sslmri.scans.parse import series_name
from sslmri.scans.sandbox import read_files, read_scan
from sslmri.scans.scan import Scan
from sslmri.scans.slices import Preparation, PreparedScan, prepare_scan


def prepare_files(scan: Sequence[Path] | ZippedSeries, preparation: Preparation) -> PreparedScan | ScanError:
    """Returns the prepared slices of a scan, given by its file or files, or why it is refused."""
    try:
        return prepare_scan(read_paths(scan), preparation)
    except ScanError as error:
        return error


def read_paths(scan: Sequence[Path] | ZippedSeries) -> Scan:
    """Returns the scan in a file, in the files of its series, or in a part of a zip file.

    Raises:
        ScanError: it cannot be read.
    """
    paths, series = ([scan.path], scan.number) if isinstance(scan, ZippedSeries) else (scan, None)
    name = series_name([path.name for path in paths])
    try:
        check_bytes(sum(path.stat().st_size for path in paths), MAX_SERIES_BYTES if len(paths) > 1 else MAX_BYTES, name)
        files = [(path.name, path.read_bytes()) for path in paths]
    except OSError as error:
        raise ScanError(f"The file cannot be read: {error.strerror}.", name) from error
    return read_scan(files[0][1], files[0][0], series) if len(files) == 1 else read_files(files)
