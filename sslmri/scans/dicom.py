"""DICOM to a volume: one file, its frames, or the files of one series."""

import hashlib
import io
import math
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pydicom import config, dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset, read_preamble
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from sslmri.errors import ScanError
from sslmri.scans.dicom_frames import TOO_MANY_TAGS, checked_size
from sslmri.scans.dicom_rules import has_image, refusal, stated_sequence
from sslmri.scans.dicom_slices import slice_images
from sslmri.scans.limits import MAX_VOXELS, max_decompressed_size
from sslmri.scans.scan import left_out
from sslmri.scans.series import SliceImage, assemble
from sslmri.scans.suppress_warnings import suppress_warnings
from sslmri.scans.volume import Volume

_MAX_READS = 300_000  # pydicom reads each tag on its own: a file of millions of empty tags would take minutes
_MAX_INFLATED = 160 * 2**20  # of all files together: 64 million voxels of 16 bits, and their tags
_OUTPUT_BYTES = 2**20  # inflated at once
_MAX_LISTED = 10  # counts that a message lists
_BURNED_IN = "Text is burned into the image: it may identify the patient and mislead the classifiers."

config.settings.reading_validation_mode = config.IGNORE


class _CountedBytes(io.BytesIO):
    """Bytes that refuse to be read in too many small pieces."""

    n_reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.n_reads += 1
        if self.n_reads > _MAX_READS:
            raise ScanError(TOO_MANY_TAGS)
        return super().read(size)


@dataclass
class _Upload:
    """What the files of an upload hold, as far as they were read."""

    images: list[SliceImage] = field(default_factory=list)
    slices: Counter[str | None] = field(default_factory=Counter)  # of each series
    n_pixels: int = 0
    n_inflated: int = 0  # bytes, of files that were refused too
    modality: str | None = None
    sequences: set[str | None] = field(default_factory=set)
    is_burned_in: bool = False
    refused: str | None = None
    without_image: list[int] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    error: Exception | None = None


def read_dicom(files: Iterable[bytes | None]) -> Volume:
    """Returns the volume that the files of one series hold, or a single file with one frame or many.

    Values are rescaled by slope and intercept, MONOCHROME1 is inverted. Window and level tags are ignored: preparation
    scales by percentiles of the head, and a viewer sets its own window. Of the tags nothing is kept but spacing,
    orientation and modality.

    Args:
        files: content of each, in the order by which warnings number them; None where the content is lost.

    Raises:
        ScanError: one sentence; of the text of tags it holds only words of known lists.
        Exception: whatever the decoder raises on the damage of a single file.
    """
    suppress_warnings()
    upload, n_files = _Upload(), 0
    for n_files, data in enumerate(files, start=1):
        try:
            _add(upload, n_files, data)
        except MemoryError:
            raise
        except Exception as error:  # decoders of untrusted bytes raise any class; the other slices may be sound
            upload.unreadable.append(n_files)
            upload.error = error.with_traceback(None)  # which would hold the upload, and so itself
    _check(upload, n_files)
    volume = assemble(upload.images)
    warnings = (
        *left_out(upload.unreadable, n_files, "cannot be read"),
        *left_out(upload.without_image, n_files, "hold no image"),
        *((_BURNED_IN,) if upload.is_burned_in else ()),
    )
    sequence = upload.sequences.pop() if len(upload.sequences) == 1 else None
    return replace(volume, modality=upload.modality, sequence=sequence, warnings=(*warnings, *volume.warnings))


def series_key(data: bytes) -> str | None:
    """Returns a hash that all files of one DICOM series share, or None for anything else."""
    suppress_warnings()
    try:
        file = _opened(data, _Upload())
        return _key(dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"]))
    except Exception:  # a file that cannot be read belongs to no series; reading it says why
        return None


def _add(upload: _Upload, number: int, data: bytes | None) -> None:
    """Adds what one file holds. Nothing is decoded any more once it is clear that the upload is refused."""
    if data is None:
        raise ScanError("The zip file is damaged. Upload it again.")
    dataset = dcmread(_opened(data, upload))
    refused = refusal(dataset)
    if refused and not has_image(dataset):
        upload.without_image.append(number)
        upload.error = ScanError(refused)
        return
    upload.slices[_key(dataset)] += int(dataset.get("NumberOfFrames") or 1)
    upload.refused = upload.refused or refused
    if upload.refused or len(upload.slices) > 1:
        return
    size = checked_size(dataset)
    upload.n_pixels += math.prod(size)
    if upload.n_pixels <= MAX_VOXELS:
        upload.images += slice_images(dataset, size)
    upload.modality = "MR" if dataset.get("Modality") else upload.modality  # anything else was refused
    upload.sequences.add(stated_sequence(dataset))
    upload.is_burned_in |= str(dataset.get("BurnedInAnnotation")).upper() == "YES"


def _check(upload: _Upload, n_files: int) -> None:
    """Raises ScanError, or the error of a single file, where the files are not one readable series."""
    if len(upload.slices) > 1:
        counts = [str(count) for _, count in upload.slices.most_common(_MAX_LISTED)]
        raise ScanError(
            f"These are {len(upload.slices)} series, of {', '.join(counts[:-1])} and {counts[-1]} slices. "
            "Upload one of them."
        )
    if upload.refused:
        raise ScanError(upload.refused)
    if upload.n_pixels > MAX_VOXELS:
        raise ScanError(
            f"The series is too large: {upload.n_pixels / 1e6:.0f} million voxels, over {MAX_VOXELS // 1_000_000} "
            "million. Export it at a lower resolution."
        )
    if not upload.images:
        if upload.error is not None and (n_files == 1 or upload.without_image):
            raise upload.error
        raise ScanError(f"All {n_files} DICOM files are damaged. Upload them again.")


def _key(dataset: Dataset) -> str | None:
    uid = dataset.get("SeriesInstanceUID")
    return hashlib.sha256(str(uid).encode()).hexdigest() if uid else None


def _opened(data: bytes, upload: _Upload) -> _CountedBytes:
    """Returns a file to read, inflated where it is deflated: pydicom itself would inflate without a limit."""
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
    _inflate(data[file.tell() :], plain, max_decompressed_size(len(data)), upload)
    plain.seek(0)
    return plain


def _inflate(compressed: bytes, into: io.BytesIO, max_bytes: int, upload: _Upload) -> None:
    stream, is_within = zlib.decompressobj(-zlib.MAX_WBITS), True
    while is_within and not stream.eof and (piece := stream.decompress(compressed, _OUTPUT_BYTES)):
        into.write(piece)
        compressed = stream.unconsumed_tail
        upload.n_inflated += len(piece)
        is_within = into.tell() <= max_bytes and upload.n_inflated <= _MAX_INFLATED
    if not (stream.eof and is_within):
        raise ScanError("The deflated DICOM file is incomplete or expands too much. Export it uncompressed.")
