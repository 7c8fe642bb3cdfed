"""Which loose files are one scan: those of one DICOM series, or a header and its voxels; any other is one by itself."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple, TypeVar

from sslmri.scans.file_type import file_type
from sslmri.scans.limits import MAX_BYTES
from sslmri.scans.sandbox import count_scans, series_key
from sslmri.scans.scan import SeriesKey
from sslmri.scans.volume_files import pair_up

_START_BYTES = 1024  # which determine the type of a file
_File = TypeVar("_File")


class ZippedSeries(NamedTuple):
    """One of the DICOM series of a zip file, by its number from 1 on."""

    path: Path
    number: int


def group_files(
    files: Iterable[_File],
    key_of: Callable[[_File], SeriesKey | None],
    name_of: Callable[[_File], str],
    folder_of: Callable[[_File], Hashable] = lambda _: None,
) -> list[tuple[_File, ...]]:
    """Returns the files of each scan, at the position of the first of them.

    The files of a series in one folder are one scan. Those in other folders continue it where no slice number occurs
    in both: otherwise they are a copy, or of another patient whose identifiers were replaced by the same ones. Slices
    that each name a series of their own, or none, are put together in the same way where they are of one stack. A
    header and the file of its voxels, by their names, are one scan. A DICOMDIR is left out where there are the files
    that it lists.

    Files are in any order; ``key_of`` returns what tells to which series one belongs, or None for a scan by itself.
    """
    parts: dict[Hashable, list[tuple[_File, SeriesKey | None]]] = defaultdict(list)
    files = list(files)
    pairs = pair_up([name_of(file) for file in files]).items()
    header_at = {position: header for header, voxels in pairs for position in (header, voxels)}
    for position, file in enumerate(files):
        key = key_of(file) if position not in header_at else None
        own = header_at.get(position, position)
        parts[(folder_of(file), key.series) if key and key.series else own].append((file, key))
    has_series = any(key for part in parts.values() for _, key in part)
    if has_series:
        parts = {own: part for own, part in parts.items() if PurePath(name_of(part[0][0])).name.upper() != "DICOMDIR"}
    return _joined(parts.values())


def _joined(parts: Iterable[list[tuple[_File, SeriesKey | None]]]) -> list[tuple[_File, ...]]:
    """Returns the files of each scan from those that have series and folder in common."""
    scans: list[list[_File]] = []
    open_scans: dict[str, list[tuple[list[_File], set[int]]]] = defaultdict(list)
    for part in parts:
        members, keys = [file for file, _ in part], [key for _, key in part if key]
        numbers = {key.number for key in keys if key.number is not None}
        names = _names(keys)
        known = [known for name in names for known in open_scans[name] if known[1].isdisjoint(numbers)]
        if known and len(numbers) == len(members):
            known[0][0].extend(members)
            known[0][1].update(numbers)
        else:
            scans.append(members)
            for name in names if numbers else ():
                open_scans[name].append((members, numbers))
    return [tuple(members) for members in scans]


def _names(keys: Sequence[SeriesKey]) -> list[str]:
    """Returns by what other files may belong to files of one key: their series and, of a single slice, its stack."""
    names = (keys[0].series, keys[0].stack if len(keys) == 1 else None) if keys else ()
    return [name for name in names if name]


def list_scans(paths: Iterable[Path]) -> list[tuple[Path, ...] | ZippedSeries]:
    """Returns the files of each scan as ``group_files`` does, and each series of a zip file of several.

    A series may lie in several folders, as on a disc. A file that cannot be read stays alone, so that it is refused at
    its position.
    """
    scans: list[tuple[Path, ...] | ZippedSeries] = []
    for files in group_files(paths, lambda path: series_key(_content(path, "DICOM")), str, lambda path: path.parent):
        count = count_scans(_content(files[0], "zip")) if len(files) == 1 else 1
        scans += [ZippedSeries(files[0], number + 1) for number in range(count)] if count > 1 else [files]
    return scans


def _content(path: Path, source: str) -> bytes:
    """Returns what a file of this type holds, nothing of one of another type, too large or unreadable."""
    try:
        with path.open("rb") as file:
            start = file.read(_START_BYTES)
            is_read = file_type(start) == source and path.stat().st_size <= MAX_BYTES
            return start + file.read() if is_read else b""
    except OSError:
        return b""
