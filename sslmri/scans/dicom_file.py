"""DICOM files to pydicom's data sets, and what tells of a file to which series it belongs."""

import hashlib
import io
import zlib

from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from sslmri.errors import ScanError
from sslmri.scans.file_type import file_type
from sslmri.scans.gunzip import inflated
from sslmri.scans.scan import SeriesKey

_MAX_READS = 300_000  # pydicom reads each tag on its own: of millions it would make a gigabyte
_PREAMBLE = bytes(128) + b"DICM"
_STACK_TAGS = [
    "StudyInstanceUID", "PatientID", "SeriesNumber", "EchoTime", "Rows", "Columns", "PixelSpacing",
    "ImageOrientationPatient",
]  # fmt: skip

config.settings.reading_validation_mode = config.IGNORE


class _CountedBytes(io.BytesIO):
    """Bytes that refuse to be read in too many small pieces."""

    n_reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.n_reads += 1
        if self.n_reads > _MAX_READS:
            raise ScanError("The DICOM file holds too many tags. Export the scan again.")
        return super().read(size)


def read_file(data: bytes, stop_before_pixels: bool = False) -> Dataset:
    """Returns the data set of a file, with or without a preamble.

    Raises:
        ScanError: it has too many tags, inflates to too much, or does not state its compression.
        Exception: whatever pydicom raises on damaged data.
    """
    if data[128:132] != b"DICM" and file_type(data) == "DICOM":
        data = _PREAMBLE + data
    if DeflatedExplicitVRLittleEndian.encode() in data[:4096]:
        _check_inflated(data)
    dataset = dcmread(_CountedBytes(data), stop_before_pixels=stop_before_pixels)
    if not dataset.file_meta.get("TransferSyntaxUID"):
        dataset.file_meta.TransferSyntaxUID = _apparent_syntax(dataset)
    return dataset


def _check_inflated(data: bytes) -> None:
    """Checks what a deflated data set, which pydicom inflates without a limit, inflates to."""
    file = io.BytesIO(data)
    read_preamble(file, False)
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        inflated(file.read(), -zlib.MAX_WBITS)


def _apparent_syntax(dataset: Dataset) -> UID:
    """Returns the transfer syntax in which pydicom found a data set whose header does not state it."""
    if "PixelData" in dataset and dataset["PixelData"].is_undefined_length:
        raise ScanError(
            "The DICOM header does not state how the pixels are compressed (Transfer Syntax UID is missing). "
            "Export the scan again."
        )
    is_implicit, is_little_endian = dataset.original_encoding
    if is_implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if is_little_endian else ExplicitVRBigEndian


def series_key_of(dataset: Dataset) -> SeriesKey:
    """Returns what tells to which series a data set belongs, as hashes that say nothing of its tags."""
    uid, number, orientation = (
        dataset.get(tag) for tag in ("SeriesInstanceUID", "InstanceNumber", "ImageOrientationPatient")
    )
    values = {tag: str(dataset.get(tag)) for tag in _STACK_TAGS}
    is_slice = bool(orientation) and int(dataset.get("NumberOfFrames") or 1) == 1
    if is_slice:
        values["ImageOrientationPatient"] = str([round(float(cosine), 2) + 0.0 for cosine in orientation])
    return SeriesKey(
        series=_hash(str(uid)) if uid else None,
        stack=_hash(str(values)) if is_slice else None,
        number=None if number is None else int(number),
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
