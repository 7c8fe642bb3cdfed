"""From files to prepared slices: what worker processes run for the store and for the screening of folders."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.reading import MAX_BYTES
from sslmri.scans.sandbox import read_scan
from sslmri.scans.scan import Scan
from sslmri.scans.slices import Preparation, numbered_slices

Prepared = tuple[Scan, np.ndarray, tuple[int, ...]] | str


def prepare_files(paths: Sequence[Path], preparation: Preparation) -> list[Prepared]:
    """Returns what ``prepare_file`` returns, for each of the files."""
    return [prepare_file(path, preparation) for path in paths]


def prepare_file(path: Path, preparation: Preparation) -> Prepared:
    """Returns a file's scan, its prepared slices (S, H, W) uint8 and their numbers, or the sentence why it is refused.

    The scan's voxels have become (D, 0, 0), so that it is small enough to wait in a queue or to be sent between
    processes and still says how many slices the file has.
    """

    def read() -> Scan:
        if path.stat().st_size > MAX_BYTES:
            raise ScanError(f"{path.name}: Expected at most {MAX_BYTES >> 20} MB, got more: send a smaller file.")
        return read_scan(path.read_bytes(), path.name)

    return prepare_read(read, path.name, preparation)


def prepare_read(read: Callable[[], Scan], name: str, preparation: Preparation) -> Prepared:
    """Returns what ``prepare_file`` returns, for a scan that is read by a function; ``name`` is told where it fails."""
    try:
        scan = read()
        slices, numbers = numbered_slices(scan, preparation)
    except OSError as error:
        return f"{name}: Expected a readable file, got: {error.strerror}."
    except ScanError as error:
        return str(error)
    return replace(scan, voxels=np.empty((len(scan.voxels), 0, 0), np.float32)), slices, numbers
