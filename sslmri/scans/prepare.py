"""From files to prepared slices, as acquired or of an aligned brain: for the store and for screening."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.atlas import HEAD_MM, align
from sslmri.scans.group_files import ZippedSeries
from sslmri.scans.limits import MAX_BYTES, MAX_SERIES_BYTES, check_bytes
from sslmri.scans.parse import series_name
from sslmri.scans.sandbox import read_files, read_scan
from sslmri.scans.scan import Scan, Spacing
from sslmri.scans.slices import Preparation, PreparedScan, prepare_scan
from sslmri.scans.volume import AXIAL


def prepare_files(
    files: Sequence[Path] | ZippedSeries, preparation: Preparation, is_aligned: bool = False
) -> PreparedScan | ScanError:
    """Returns the prepared slices of a scan, given by its file or files, or why it is refused.

    With ``is_aligned`` the brain of a whole head is aligned too, in about 10 s.
    """
    try:
        scan = read_paths(files)
        prepared = prepare_scan(scan, preparation)
        if not (is_aligned and is_head(scan.info.n_slices, scan.info.spacing_mm, scan.info.orientation)):
            return prepared
        brain = align(scan, lambda step: None).scan
        return replace(prepared, aligned=prepare_aligned(brain, preparation).slices)
    except ScanError as error:
        return error


def is_head(n_slices: int, spacing_mm: Spacing | None, orientation: str | None) -> bool:
    """Returns whether a scan is an axial volume that is high enough for a whole head."""
    return spacing_mm is not None and orientation == AXIAL and n_slices * spacing_mm[0] >= HEAD_MM


def prepare_aligned(brain: Scan, preparation: Preparation) -> PreparedScan:
    """Returns all slices of an aligned brain as the encoder sees them: turned, as the training slices lie."""
    return prepare_scan(replace(brain, voxels=turned(brain.voxels)), replace(preparation, slice_fraction=1.0))


def turned(values: np.ndarray) -> np.ndarray:
    """Returns images or maps (..., H, W) turned by 180 degrees: from training to display and back."""
    return np.ascontiguousarray(values[..., ::-1, ::-1])


def read_paths(scan: Sequence[Path] | ZippedSeries) -> Scan:
    """Returns the scan in a file, in the files of its series, or in a part of a zip file.

    Raises:
        ScanError: it cannot be read.
    """
    files, series = contents_of(scan)
    return read_scan(files[0][1], files[0][0], series) if len(files) == 1 else read_files(files)


def contents_of(scan: Sequence[Path] | ZippedSeries) -> tuple[list[tuple[str, bytes]], int | None]:
    """Returns name and content of each file of a scan, and which series of a zip file it is, as ``read_headers`` takes.

    Raises:
        ScanError: a file cannot be read, or they are too large.
    """
    paths, series = ([scan.path], scan.number) if isinstance(scan, ZippedSeries) else (scan, None)
    name = series_name([path.name for path in paths])
    try:
        check_bytes(sum(path.stat().st_size for path in paths), MAX_SERIES_BYTES if len(paths) > 1 else MAX_BYTES, name)
        return [(path.name, path.read_bytes()) for path in paths], series
    except OSError as error:
        raise ScanError(f"The file cannot be read: {error.strerror}.", name) from error
