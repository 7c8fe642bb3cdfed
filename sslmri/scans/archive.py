"""A zip file to a volume: the DICOM files of one series, images of one size, or one file or pair of another format."""

import io
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import ParamSpec, TypeVar

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.file_type import IMAGES, SOURCES, TEXT, file_type, natural_order
from sslmri.scans.gunzip import gunzipped_start
from sslmri.scans.image_names import check_one_scan
from sslmri.scans.images import read_image, stacked
from sslmri.scans.limits import MAX_SLICES, MAX_VOXELS, check_decompressed
from sslmri.scans.scan import NOT_DICOM, DicomHeaders, left_out
from sslmri.scans.volume import Volume
from sslmri.scans.volume_files import VOLUMES, pair_up, read_volume_file

_MAX_ENTRIES = 1_000
_START_BYTES = 1024  # of an entry, which determine its type
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile decompresses the others in pieces of any size
_ENTRY_SIGNATURE = b"PK\x01\x02"  # before each entry of the directory
_TOO_MANY = f"The zip file holds over {_MAX_ENTRIES:,} files. Upload one series."
_TOO_MUCH = f"The zip file holds over {MAX_SLICES:,} images or {MAX_VOXELS // 1_000_000} million pixels. Upload fewer."

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Entry:
    """A file in the archive, with its type by its first bytes."""

    info: zipfile.ZipInfo
    type: str


def read_archive(data: bytes, series: int | None = None) -> Volume:
    """Returns the volume in a zip file: one DICOM series, images in the natural order of their names, or one scan of
    another format.

    Args:
        data: the file.
        series: which of its DICOM series is read, from 1 on, in the order of their first files; None for the only one.

    Names are compared and never used as paths. Folders, hidden files and texts are skipped; a warning lists anything
    else that is not read by its number.

    Raises:
        ScanError: the archive is encrypted, too large, or holds no scan or several.
        Exception: whatever zipfile or a decoder raises on damaged data.
    """
    with _opened(data) as archive:
        entries = _entries(archive)
        by_name = pair_up([entry.info.filename for entry in entries])
        pairs = {entries[header]: entries[own] for header, own in by_name.items() if entries[header].type in VOLUMES}
        paired = set(pairs.values())  # voxels may begin like a text or like any other file
        if series is not None:
            entries = _series(archive, entries)[series - 1]
        return _volume(archive, [entry for entry in entries if entry.type != TEXT or entry in paired] or entries, pairs)


def read_archive_headers(data: bytes, series: int | None = None) -> DicomHeaders:
    """Returns the headers of the DICOM series that ``read_archive`` reads, arguments and errors as there.

    Raises:
        ScanError: also where it holds no DICOM.
    """
    from sslmri.scans.dicom_headers import read_headers

    with _opened(data) as archive:
        entries = _entries(archive)
        entries = entries if series is None else _series(archive, entries)[series - 1]
        if not any(entry.type == "DICOM" for entry in entries):
            raise ScanError(NOT_DICOM)
        return read_headers(_read_or_none(archive, entry) for entry in entries if entry.type != TEXT)


def count_series(data: bytes) -> int:
    """Returns how many DICOM series of a zip file are scans by themselves, 1 where it holds anything else.

    Raises:
        ScanError: the archive is encrypted or too large.
        Exception: whatever zipfile raises on damaged data.
    """
    with _opened(data) as archive:
        return max(1, len(_series(archive, _entries(archive))))


def _series(archive: zipfile.ZipFile, entries: Sequence[_Entry]) -> list[list[_Entry]]:
    """Returns the files of each DICOM series that is a scan by itself."""
    dicom = [entry for entry in entries if entry.type == "DICOM"]
    if len(dicom) < 2:
        return []
    from sslmri.scans.dicom import list_series

    found = list_series(_read_or_none(archive, entry) for entry in dicom)
    return [[dicom[index] for index in files] for files in found]


def _opened(data: bytes) -> zipfile.ZipFile:
    if data.count(_ENTRY_SIGNATURE) > 2 * _MAX_ENTRIES:  # the parser makes an object of each, however many
        raise ScanError(_TOO_MANY)
    return zipfile.ZipFile(io.BytesIO(data))


def _entries(archive: zipfile.ZipFile) -> list[_Entry]:
    """Returns the visible files of an archive in the natural order of their names.

    Raises:
        ScanError: the archive is encrypted or too large.
    """
    infos = [info for info in archive.infolist() if _is_visible(info)]
    _check_directory(infos)
    infos.sort(key=lambda info: natural_order(info.filename))
    return [_Entry(info, _type(archive, info)) for info in infos]


def _is_visible(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename.replace("\\", "/")).parts
    return not info.is_dir() and not any(part == "__MACOSX" or re.match(r"\.[^.]", part) for part in parts)


def _check_directory(infos: Sequence[zipfile.ZipInfo]) -> None:
    """Checks what the directory says of all entries, before any is decompressed."""
    if len(infos) > _MAX_ENTRIES:
        raise ScanError(_TOO_MANY)
    if any(info.flag_bits & 0x1 for info in infos):
        raise ScanError("The zip file is password-protected. Upload it without a password.")
    if any(info.compress_type not in _METHODS for info in infos):
        raise ScanError("The zip file uses an unusual compression. Create it again.")
    check_decompressed(sum(info.file_size for info in infos), sum(info.compress_size for info in infos))
    for info in infos:
        check_decompressed(info.file_size, info.compress_size)


def _type(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    path = PurePosixPath(info.filename.replace("\\", "/"))
    if ".." in path.parts or path.is_absolute() or stat.S_ISLNK(info.external_attr >> 16):
        return "a link or path that leads out of the archive"
    try:
        with archive.open(info) as file:
            start = file.read(_START_BYTES)
            found = file_type(gunzipped_start(start))
            is_packed = found in SOURCES and found not in (*VOLUMES, file_type(start))
            return f"a gzip-compressed file ({found})" if is_packed else file_type(start)
    except Exception:  # zipfile raises many classes on damaged entries; the others may be sound
        return "a damaged file"


def _volume(archive: zipfile.ZipFile, entries: Sequence[_Entry], pairs: dict[_Entry, _Entry]) -> Volume:
    types = Counter(entry.type for entry in entries)
    if types["DICOM"]:
        from sslmri.scans.dicom import read_dicom  # here, as pydicom takes a while that other files need not wait for

        return read_dicom(_read_or_none(archive, entry) for entry in entries)
    if any(types[source] for source in VOLUMES):
        return _single_volume(archive, entries, pairs)
    if any(types[image] for image in IMAGES):
        return _images(archive, entries)
    if types["zip"]:
        raise ScanError("The zip file holds another zip file. Upload the inner one.")
    if not entries:
        raise ScanError("The zip file is empty.")
    raise ScanError(f"The zip file holds {types.most_common(1)[0][0]} and no scan.")


def _single_volume(archive: zipfile.ZipFile, entries: Sequence[_Entry], pairs: dict[_Entry, _Entry]) -> Volume:
    voxel_files = set(pairs.values())
    volumes = [entry for entry in entries if entry.type in VOLUMES and entry not in voxel_files]
    sources = sorted({entry.type for entry in volumes})
    if len(volumes) > 1:
        raise ScanError(f"The zip file holds {len(volumes)} {' and '.join(sources)} files. Upload them one by one.")
    read = {*volumes, *voxel_files}
    others = [number for number, entry in enumerate(entries, start=1) if entry not in read]
    parts = [entry for entry in (volumes[0], pairs.get(volumes[0])) if entry]
    volume = read_volume_file(sources[0], [_read(archive, entry.info) for entry in parts])
    return replace(volume, warnings=(*left_out(others, len(entries), f"are not {sources[0]}"), *volume.warnings))


def _images(archive: zipfile.ZipFile, entries: Sequence[_Entry]) -> Volume:
    """Returns the images of the most common size as slices; a warning lists the others by number.

    Raises:
        ScanError: by their names the images are of several scans, or none is sound.
    """
    # here, as SciPy takes a while that other files need not wait for
    from sslmri.scans.image_content import check_content

    check_one_scan([entry.info.filename for entry in entries if entry.type in IMAGES])
    pages: dict[int, np.ndarray] = {}
    n_pages = n_pixels = 0
    for number, entry in enumerate(entries, start=1):
        data = _read_or_none(archive, entry) if entry.type in IMAGES else None
        image = None if data is None else _unless_damaged(read_image, data, entry.type)
        if image is not None:
            pages[number] = image
            n_pages, n_pixels = n_pages + len(image), n_pixels + image.size
            if n_pages > MAX_SLICES or n_pixels > MAX_VOXELS:
                raise ScanError(_TOO_MUCH)
    if not pages:
        raise ScanError("All images in the zip file are damaged. Upload it again.")
    size = Counter(page.shape[1:] for page in pages.values()).most_common(1)[0][0]
    odd = [number for number, page in pages.items() if page.shape[1:] != size]
    lost = [number for number in range(1, len(entries) + 1) if number not in pages]
    warnings = (
        *left_out(lost, len(entries), "cannot be read as images"),
        *left_out(odd, len(entries), "have another size"),
    )
    voxels = stacked([pages.pop(number) for number in sorted(pages) if number not in odd])
    return Volume(voxels, warnings=(*warnings, *check_content(voxels)))


def _unless_damaged(read: Callable[_Args, _Result], *args: _Args.args, **kwargs: _Args.kwargs) -> _Result | None:
    """Returns what ``read`` returns, None where it cannot read."""
    try:
        return read(*args, **kwargs)
    except MemoryError:
        raise
    except Exception:  # zipfile and decoders of untrusted bytes raise any class; the other files may be sound
        return None


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Returns an entry's bytes once its checksum was compared; never more than the directory declares."""
    with archive.open(info) as file:
        data = file.read(info.file_size)
        if len(data) < info.file_size or file.read(1):
            raise ScanError("The zip file is damaged. Upload it again.")
    return data


def _read_or_none(archive: zipfile.ZipFile, entry: _Entry) -> bytes | None:
    return _unless_damaged(_read, archive, entry.info) if entry.type in SOURCES else None
