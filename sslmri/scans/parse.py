"""Files of unknown content to a volume; ``sandbox`` calls this in a process of its own, within limits."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from sslmri.errors import ScanError
from sslmri.scans.file_type import FORMATS, IMAGES, SOURCES, file_type, natural_order
from sslmri.scans.limits import MAX_BYTES, MAX_SERIES_BYTES, check_bytes
from sslmri.scans.scan import NOT_DICOM, DicomHeaders, Scan, ScanInfo, SeriesKey
from sslmri.scans.volume import Volume
from sslmri.scans.volume_files import VOLUMES, pair_up, read_volume_file


@dataclass(frozen=True)
class ScanFiles:
    """The files of one scan, before anything in them is decoded.

    Attributes:
        name, source, sha256: as in ``ScanInfo``; the content determines the source, never the extension.
        contents: the bytes of each file; of a series in the natural order of their names, of a pair the header first.
        series: which of the DICOM series of a zip file is meant, from 1 on, or None.
    """

    name: str
    source: str
    sha256: str
    contents: tuple[bytes, ...]
    series: int | None = None

    @classmethod
    def of_file(cls, data: bytes, name: str, series: int | None = None) -> "ScanFiles":
        """Returns a single file, or one of the DICOM series of a zip file, which has a name and a hash of its own.

        Raises:
            ScanError: it is too large, or of a type that is not read.
        """
        name, source = bare_name(name), file_type(data)
        check_bytes(len(data), MAX_BYTES, name)
        if source not in SOURCES:
            raise ScanError(f"This is {source}. Upload {FORMATS}.", name)
        sha256 = hashlib.sha256(data).hexdigest()
        if series is not None:
            name, sha256 = f"{name}, series {series}", hashlib.sha256(f"{sha256}, series {series}".encode()).hexdigest()
        return cls(name, source, sha256, (data,), series)

    @classmethod
    def of_files(cls, files: Sequence[tuple[str, bytes]]) -> "ScanFiles":
        """Returns the files of one DICOM series, or a header and its voxels, named by the first of them.

        Raises:
            ScanError: they are too large together.
        """
        files = sorted(files, key=lambda file: natural_order(file[0]))
        source, name = "DICOM", series_name([file_name for file_name, _ in files])
        check_bytes(sum(len(data) for _, data in files), MAX_SERIES_BYTES, name)
        for header, voxels in pair_up([file_name for file_name, _ in files]).items() if len(files) == 2 else ():
            source, files = file_type(files[header][1]), [files[header], files[voxels]]
        if source not in ("DICOM", *VOLUMES):
            raise ScanError(f"This is {source}. Upload {FORMATS}.", name)
        hashes = sorted(hashlib.sha256(data).hexdigest() for _, data in files)
        return cls(name, source, hashlib.sha256("".join(hashes).encode()).hexdigest(), tuple(d for _, d in files))

    def scan(self, volume: Volume) -> Scan:
        """Returns the scan whose volume was read from these files."""
        others = ("voxels", "source", "origins", "axes")
        facts = {name: value for name, value in vars(volume).items() if name not in others}
        source = volume.source or self.source if self.source == "NIfTI" else self.source  # gzip may hold MGH
        return Scan(ScanInfo(self.name, source, self.sha256, len(volume.voxels), **facts), volume.voxels)


def parse_volume(source: str, contents: Sequence[bytes], series: int | None = None) -> Volume:
    """Returns the volume, of finite voxels, in a file of that source or in the DICOM files of one series.

    The contents are the bytes of each file; ``series`` is as in ``ScanFiles``.

    Raises:
        ScanError: the files cannot be read as one scan.
        MemoryError: there is too little memory to read them.
    """
    with _one_sentence(source):
        volume = _read_volume(source, contents, series)
        _replace_non_finite(volume.voxels)
        return volume


def parse_headers(source: str, contents: Sequence[bytes], series: int | None = None) -> DicomHeaders:
    """Returns the headers of the DICOM files that ``parse_volume`` reads, arguments and errors as there.

    Raises:
        ScanError: also where they are not DICOM, or results could not refer to them.
    """
    with _one_sentence(source):
        if source == "DICOM":
            from sslmri.scans.dicom_headers import read_headers

            return read_headers(contents)
        if source != "zip":
            raise ScanError(NOT_DICOM)
        from sslmri.scans.archive import read_archive_headers

        return read_archive_headers(contents[0], series)


@contextmanager
def _one_sentence(source: str) -> Iterator[None]:
    """Turns whatever is raised into a sentence, but for the lack of memory: that says nothing of the file."""
    try:
        yield
    except (ScanError, MemoryError):
        raise
    except Exception:  # decoders of untrusted bytes raise any class, and their texts quote tags: none is passed on
        raise ScanError(f"The {source} file is incomplete or damaged. Upload it again.") from None


def parse_outline(source: str, data: bytes) -> SeriesKey | int | None:
    """Returns what the files of a series share, of DICOM, or how many scans a zip file holds; None where neither is."""
    try:
        if source == "zip":
            from sslmri.scans.archive import count_series

            return count_series(data)
        from sslmri.scans.dicom_file import read_file, series_key_of

        key = series_key_of(read_file(data, stop_before_pixels=True))
        return key if key.series or key.stack else None
    except MemoryError:
        raise
    except Exception:  # zipfile and pydicom raise any class on untrusted bytes; reading the file says why
        return None


def bare_name(name: str) -> str:
    """Returns a file's name without folders."""
    return PurePosixPath(name.replace("\\", "/")).name or "unnamed file"


def series_name(names: Sequence[str]) -> str:
    """Returns the name of a scan in several files: that of the first of them and how many more there are."""
    return bare_name(names[0]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _read_volume(source: str, contents: Sequence[bytes], series: int | None) -> Volume:
    """Returns what the reader of this source finds; its libraries are loaded when it is needed."""
    if source == "DICOM":
        from sslmri.scans.dicom import read_dicom

        return read_dicom(contents)
    if source in IMAGES:
        from sslmri.scans.image_content import check_content
        from sslmri.scans.images import read_image

        pages = read_image(contents[0], source)
        return Volume(pages, warnings=check_content(pages))
    if source in VOLUMES:
        return read_volume_file(source, contents)
    from sslmri.scans.archive import read_archive

    return read_archive(contents[0], series)


def _replace_non_finite(voxels: np.ndarray) -> None:
    """Sets values that are not finite to the lowest one of the scan, in place."""
    finite = np.isfinite(voxels)
    if finite.all():
        return
    if not finite.any():
        raise ScanError("The scan contains no valid intensities (all NaN).")
    voxels[~finite] = voxels.min(where=finite, initial=np.inf)
