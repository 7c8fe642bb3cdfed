"""From files to prepared slices: what worker processes run for the store and for the screening of folders."""

from collections.abc import Sequence
from pathlib import Path

from sslmri.errors import ScanError
from sslmri.scans.group_files import ZippedSeries
from sslmri.scans.limits import MAX_BYTES, MAX_SERIES_BYTES, check_bytes
from sslmri.scans.parse import series_name
from sslmri.scans.sandbox import read_files, read_scan
from sslmri.scans.slices import Preparation, PreparedScan, prepare_scan


def prepare_files(
    scans: Sequence[Sequence[Path] | ZippedSeries], preparation: Preparation
) -> list[PreparedScan | ScanError]:
    """Returns the prepared slices of each scan, given by its file or files, or why it is refused."""
    return [
        _prepare_or_refuse([scan.path], preparation, scan.number)
        if isinstance(scan, ZippedSeries)
        else _prepare_or_refuse(scan, preparation)
        for scan in scans
    ]


def _prepare_or_refuse(
    paths: Sequence[Path], preparation: Preparation, series: int | None = None
) -> PreparedScan | ScanError:
    name = series_name([path.name for path in paths])
    try:
        check_bytes(sum(path.stat().st_size for path in paths), MAX_SERIES_BYTES if len(paths) > 1 else MAX_BYTES, name)
        files = [(path.name, path.read_bytes()) for path in paths]
        scan = read_scan(files[0][1], files[0][0], series) if len(files) == 1 else read_files(files)
        return prepare_scan(scan, preparation)
    except OSError as error:
        return ScanError(f"The file cannot be read: {error.strerror}.", name)
    except ScanError as error:
        return error
