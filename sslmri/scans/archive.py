"""A zip file to a volume: the DICOM files of one series, pictures of one size, or a single NIfTI, read in memory."""

import io
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TypeVar

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.file_type import PICTURES, SOURCES, TEXT, kind_of, natural_order
from sslmri.scans.gunzip import check_unpacked
from sslmri.scans.images import MAX_PAGES, MAX_PIXELS, declared_size, read_image
from sslmri.scans.scan import left_out
from sslmri.scans.volume import Volume

_MAX_ENTRIES = 1_000
_HEAD = 1024  # bytes of an entry that say what it is
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks the others in pieces of any size
_ENTRY_MARK = b"PK\x01\x02"  # before each entry of the directory
_Read = TypeVar("_Read")
_HOLDS = "DICOM slices, PNG, JPEG or TIFF pictures, or one NIfTI file"


@dataclass(frozen=True)
class _Entry:
    """A file in the archive, with what its first bytes say that it is."""

    info: zipfile.ZipInfo
    kind: str


def read_archive(data: bytes) -> Volume:
    """Returns the volume in a zip file: one DICOM series, pictures in the natural order of their names, or one NIfTI.

    Names are compared and never used as paths. Folders, hidden files and texts are passed over; anything else that is
    not read is told by its number.

    Raises:
        ScanError: the archive is encrypted, too large, or holds no scan or several.
        Exception: whatever zipfile or a decoder raises on damaged data.
    """
    if data.count(_ENTRY_MARK) > 2 * _MAX_ENTRIES:  # the parser makes an object of each, however many
        raise ScanError(f"Expected at most {_MAX_ENTRIES} files in a zip file, got more: send one series.")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = [info for info in archive.infolist() if _is_shown(info)]
        _check_directory(infos)
        infos.sort(key=lambda info: natural_order(info.filename))
        entries = [_Entry(info, _kind(archive, info)) for info in infos]
        return _volume(archive, [entry for entry in entries if entry.kind != TEXT] or entries)


def _is_shown(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename.replace("\\", "/")).parts
    return not info.is_dir() and not any(part == "__MACOSX" or re.match(r"\.[^.]", part) for part in parts)


def _check_directory(infos: Sequence[zipfile.ZipInfo]) -> None:
    """Checks what the directory tells of all entries, before any is unpacked."""
    if len(infos) > _MAX_ENTRIES:
        raise ScanError(f"Expected at most {_MAX_ENTRIES} files in a zip file, got {len(infos)}: send one series.")
    if any(info.flag_bits & 0x1 for info in infos):
        raise ScanError("Expected a zip file without a password, got an encrypted one: send it unlocked.")
    if any(info.compress_type not in _METHODS for info in infos):
        raise ScanError("Expected an ordinary zip file, got an unusual compression: pack it again.")
    check_unpacked(sum(info.file_size for info in infos), sum(info.compress_size for info in infos))
    for info in infos:
        check_unpacked(info.file_size, info.compress_size)


def _kind(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    path = PurePosixPath(info.filename.replace("\\", "/"))
    if ".." in path.parts or path.is_absolute() or stat.S_ISLNK(info.external_attr >> 16):
        return "a file that points out of the archive"
    try:
        with archive.open(info) as file:
            return kind_of(file.read(_HEAD))
    except Exception:  # zipfile raises many classes on damaged entries; the others may be sound
        return "a damaged file"


def _volume(archive: zipfile.ZipFile, entries: Sequence[_Entry]) -> Volume:
    kinds = Counter(entry.kind for entry in entries)
    if kinds["DICOM"]:
        from sslmri.scans.dicom import read_dicom  # here, as pydicom takes a while that other files need not wait for

        return read_dicom(("", _read_or_none(archive, entry)) for entry in entries)
    if kinds["NIfTI"]:
        return _nifti(archive, entries)
    if any(kinds[kind] for kind in PICTURES):
        return _pictures(archive, entries)
    found = "an empty one" if not entries else f"one with {kinds.most_common(1)[0][0]}"
    found = "one with another zip file inside" if kinds["zip"] else found
    raise ScanError(f"Expected a zip file of {_HOLDS}, got {found}: pack the scan alone.")


def _nifti(archive: zipfile.ZipFile, entries: Sequence[_Entry]) -> Volume:
    from sslmri.scans.nifti import read_nifti

    found = [entry for entry in entries if entry.kind == "NIfTI"]
    if len(found) > 1:
        raise ScanError(f"Expected one NIfTI file in a zip file, got {len(found)}: send them one by one.")
    others = [number for number, entry in enumerate(entries, start=1) if entry.kind != "NIfTI"]
    volume = read_nifti(_read(archive, found[0].info))
    return replace(volume, warnings=(*left_out(others, len(entries), "are no NIfTI"), *volume.warnings))


def _pictures(archive: zipfile.ZipFile, entries: Sequence[_Entry]) -> Volume:
    """Returns the pictures of the commonest size as slices; the others, and what is unreadable, are told by number."""
    pages = dict(_decoded(archive, entries))
    if not pages:
        raise ScanError("Expected readable pictures in a zip file, got none that is undamaged: send it again.")
    size = Counter(page.shape[1:] for page in pages.values()).most_common(1)[0][0]
    odd = [number for number, page in pages.items() if page.shape[1:] != size]
    lost = [number for number in range(1, len(entries) + 1) if number not in pages]
    warnings = (
        *left_out(lost, len(entries), "cannot be read as pictures"),
        *left_out(odd, len(entries), "have another size"),
    )
    return Volume(_stacked([pages.pop(n) for n in sorted(pages) if n not in odd]), None, None, None, warnings)


def _decoded(archive: zipfile.ZipFile, entries: Sequence[_Entry]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the pictures that can be read; all are counted by their headers before the first is decoded.

    Raises:
        ScanError: they have too many pages or pixels together.
    """
    sound: list[int] = []
    n_pages = n_pixels = 0
    for number, entry in enumerate(entries, start=1):
        data = _read_or_none(archive, entry) if entry.kind in PICTURES else None
        told = None if data is None else _unless_damaged(declared_size, data, entry.kind)
        if told is not None:
            sound.append(number)
            n_pages, n_pixels = n_pages + told[0], n_pixels + told[1]
            _check_together(n_pages, n_pixels)
    for number in sound:
        data = _read_or_none(archive, entries[number - 1])
        picture = None if data is None else _unless_damaged(read_image, data, entries[number - 1].kind)
        if picture is not None:
            yield number, picture


def _check_together(n_pages: int, n_pixels: int) -> None:
    if n_pages > MAX_PAGES or n_pixels > MAX_PIXELS:
        raise ScanError(
            f"Expected at most {MAX_PAGES:,} pictures of {MAX_PIXELS // 1_000_000} million pixels together in a "
            f"zip file, got {n_pages:,} of {n_pixels / 1e6:.0f} million or more: send fewer."
        )


def _unless_damaged(read: Callable[[bytes, str], _Read], data: bytes, kind: str) -> _Read | None:
    try:
        return read(data, kind)
    except MemoryError:
        raise
    except Exception:  # decoders of untrusted bytes raise any class; the other pictures may be sound
        return None


def _stacked(pictures: list[np.ndarray]) -> np.ndarray:
    """Returns pages (n, H, W) of several pictures in one array, each freed as it is copied; one picture as it is."""
    if len(pictures) == 1:
        return pictures[0]
    stacked = np.empty((sum(map(len, pictures)), *pictures[0].shape[1:]), dtype=np.float32)
    end = len(stacked)
    while pictures:
        pages = pictures.pop()
        stacked[end - len(pages) : end] = pages
        end -= len(pages)
        del pages
    return stacked


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Returns an entry's bytes once its checksum was compared; never more than its directory told."""
    with archive.open(info) as file:
        data = file.read(info.file_size)
        if len(data) < info.file_size or file.read(1):
            raise ScanError("Expected an entry of the size in its directory, got another: send the archive again.")
    return data


def _read_or_none(archive: zipfile.ZipFile, entry: _Entry) -> bytes | None:
    if entry.kind not in SOURCES:
        return None
    try:
        return _read(archive, entry.info)
    except MemoryError:
        raise
    except Exception:  # zipfile raises many classes on damaged entries; the others may be sound
        return None
