"""DICOM to a volume: one file, its frames, or the files of one series."""

import hashlib
import io
import math
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset, read_preamble
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from sslmri.errors import ScanError
from sslmri.scans.dicom_frames import checked_size
from sslmri.scans.dicom_rules import has_picture, refusal
from sslmri.scans.dicom_slices import slice_images
from sslmri.scans.gunzip import max_decompressed_size
from sslmri.scans.images import MAX_PIXELS
from sslmri.scans.scan import left_out
from sslmri.scans.series import SliceImage, assemble
from sslmri.scans.suppress_warnings import suppress_warnings
from sslmri.scans.volume import Volume

_MAX_READS = 300_000  # pydicom reads each tag on its own: a file of millions of empty tags would take minutes
_MAX_INFLATED = 160 * 2**20  # of all files together: 64 million voxels of 16 bits, and their tags
_STEP = 2**20  # bytes inflated at once
_SHOWN = 10  # counts that a sentence lists
_BURNED_IN = "The file says that text is burned into its pixels: it may name the patient and mislead the heads."


class _CountedBytes(io.BytesIO):
    """Bytes that refuse to be read in too many small pieces."""

    n_reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.n_reads += 1
        if self.n_reads > _MAX_READS:
            raise ScanError("Expected a DICOM image, got a file of endless tags: export it again.")
        return super().read(size)


@dataclass
class _Found:
    """What was found so far in the files of an upload."""

    images: list[SliceImage] = field(default_factory=list)
    slices: Counter[str | None] = field(default_factory=Counter)  # of each series
    n_pixels: int = 0
    n_inflated: int = 0  # bytes, of files that were refused too
    modality: str | None = None
    is_burned_in: bool = False
    refused: str | None = None
    without_picture: list[int] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    error: Exception | None = None


def read_dicom(files: Iterable[tuple[str, bytes | None]]) -> Volume:
    """Returns the volume that the files of one series hold, or a single file with one frame or many.

    Values are rescaled by slope and intercept, MONOCHROME1 is turned over. Window and level tags clip nothing:
    preparation scales by percentiles of the head, and a viewer sets a window of its own. Of the tags nothing is kept
    but spacing, orientation and modality.

    Args:
        files: name and content of each, in the order by which warnings number them; None where the content is lost.

    Raises:
        ScanError: one sentence; no text of a tag is in it but words of known lists.
        Exception: whatever the decoder raises on the damage of a single file.
    """
    suppress_warnings()
    found, n_files = _Found(), 0
    for n_files, (_, data) in enumerate(files, start=1):
        try:
            _add(found, n_files, data)
        except MemoryError:
            raise
        except Exception as error:  # decoders of untrusted bytes raise any class; the other slices may be sound
            found.unreadable.append(n_files)
            found.error = error.with_traceback(None)  # which would hold what was found, and so itself
    _check(found, n_files)
    volume = assemble(found.images)
    warnings = (
        *left_out(found.unreadable, n_files, "cannot be read"),
        *left_out(found.without_picture, n_files, "hold no picture"),
        *((_BURNED_IN,) if found.is_burned_in else ()),
    )
    return replace(volume, modality=found.modality, warnings=(*warnings, *volume.warnings))


def series_key(data: bytes) -> str | None:
    """Returns a hash that all files of one DICOM series share, or None for anything else."""
    suppress_warnings()
    try:
        file = _opened(data, _Found())
        return _key(dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"]))
    except Exception:  # a file that cannot be read belongs to no series; read_scan says why it is refused
        return None


def _add(found: _Found, number: int, data: bytes | None) -> None:
    """Adds what one file holds. Nothing is decoded any more once it is clear that the upload is refused."""
    if data is None:
        raise ScanError("Expected a complete entry, got a damaged one: send the archive again.")
    dataset = dcmread(_opened(data, found))
    refused = refusal(dataset)
    if refused and not has_picture(dataset):
        found.without_picture.append(number)
        found.error = ScanError(refused)
        return
    found.slices[_key(dataset)] += int(dataset.get("NumberOfFrames") or 1)
    found.refused = found.refused or refused
    if found.refused or len(found.slices) > 1:
        return
    size = checked_size(dataset)
    found.n_pixels += math.prod(size)
    if found.n_pixels <= MAX_PIXELS:
        found.images += slice_images(dataset, size)
    found.modality = "MR" if dataset.get("Modality") else found.modality  # anything else was refused
    found.is_burned_in |= str(dataset.get("BurnedInAnnotation")).upper() == "YES"


def _check(found: _Found, n_files: int) -> None:
    """Raises ScanError, or the error of a single file, where the files are not one readable series."""
    if len(found.slices) > 1:
        counts = [str(count) for _, count in found.slices.most_common(_SHOWN)]
        raise ScanError(
            f"Expected one series, got {len(found.slices)} series of {', '.join(counts[:-1])} and {counts[-1]} slices: "
            "upload one of them."
        )
    if found.refused:
        raise ScanError(found.refused)
    if found.n_pixels > MAX_PIXELS:
        raise ScanError(
            f"Expected at most {MAX_PIXELS // 1_000_000} million voxels, got {found.n_pixels / 1e6:.0f} million: "
            "export it at a coarser resolution."
        )
    if not found.images:
        if found.error is not None and (n_files == 1 or found.without_picture):
            raise found.error
        raise ScanError(f"Expected a readable DICOM series, got {n_files} files that are all damaged: send it again.")


def _key(dataset: Dataset) -> str | None:
    uid = dataset.get("SeriesInstanceUID")
    return hashlib.sha256(str(uid).encode()).hexdigest() if uid else None


def _opened(data: bytes, found: _Found) -> _CountedBytes:
    """Returns a file to read; one that is deflated as one that is not, for pydicom itself inflates without a limit."""
    if DeflatedExplicitVRLittleEndian.encode() not in data[:4096]:
        return _CountedBytes(data)
    file = io.BytesIO(data)
    read_preamble(file, False)
    meta = FileMetaDataset(read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2))
    if meta.TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
        return _CountedBytes(data)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    start = DicomBytesIO()
    start.write(bytes(128) + b"DICM")
    write_file_meta_info(start, meta, enforce_standard=False)
    plain = _CountedBytes()
    plain.write(start.getvalue())
    _inflate(data[file.tell() :], plain, max_decompressed_size(len(data)), found)
    plain.seek(0)
    return plain


def _inflate(packed: bytes, into: io.BytesIO, most: int, found: _Found) -> None:
    stream, is_within = zlib.decompressobj(-zlib.MAX_WBITS), True
    while is_within and not stream.eof and (piece := stream.decompress(packed, _STEP)):
        into.write(piece)
        packed = stream.unconsumed_tail
        found.n_inflated += len(piece)
        is_within = into.tell() <= most and found.n_inflated <= _MAX_INFLATED
    if not (stream.eof and is_within):
        raise ScanError("Expected a complete deflated DICOM file, got one that breaks off or swells without end.")
