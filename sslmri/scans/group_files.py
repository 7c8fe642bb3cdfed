"""The loose DICOM files of one series are one scan; any other file is a scan by itself."""

from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import TypeVar

from sslmri.scans.file_type import file_type
from sslmri.scans.limits import MAX_BYTES
from sslmri.scans.sandbox import series_key

_START_BYTES = 1024  # which determine the type of a file
_File = TypeVar("_File")


def group_by_series(files: Iterable[_File], key_of: Callable[[_File], Hashable | None]) -> list[tuple[_File, ...]]:
    """Returns the files of each scan, at the position of the first of them.

    Args:
        files: in any order.
        key_of: returns what the files of one series share, or None for a file that is a scan by itself.
    """
    scans: dict[Hashable, list[_File]] = {}
    for number, file in enumerate(files):
        key = key_of(file)
        scans.setdefault(number if key is None else key, []).append(file)
    return [tuple(files) for files in scans.values()]


def group_paths(paths: Iterable[Path]) -> list[tuple[Path, ...]]:
    """Returns the files of each scan; a series is in one folder.

    A file that cannot be read stays alone, so that it is refused at its position.
    """
    return group_by_series(paths, _key_of_path)


def _key_of_path(path: Path) -> tuple[Path, str] | None:
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        with path.open("rb") as file:
            start = file.read(_START_BYTES)
            key = series_key(start + file.read()) if file_type(start) == "DICOM" else None
            return (path.parent, key) if key else None
    except OSError:
        return None
