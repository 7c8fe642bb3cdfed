"""DICOM files to pydicom's data sets, and what tells of a file to which series it belongs."""

import hashlib
import io

from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from sslmri.errors import ScanError
from sslmri.scans.file_type import file_type
from sslmri.scans.scan import SeriesKey

_PREAMBLE = bytes(128) + b"DICM"
_STACK_TAGS = [
    "StudyInstanceUID", "PatientID", "SeriesNumber", "EchoTime", "Rows", "Columns", "PixelSpacing",
    "ImageOrientationPatient",
]  # fmt: skip

config.settings.reading_validation_mode = config.IGNORE


def read_file(data: bytes, stop_before_pixels: bool = False) -> Dataset:
    """Returns the data set of a file, with or without a preamble.

    Raises:
        ScanError: it does not state its compression.
        Exception: whatever pydicom raises on damaged data.
    """
    if data[128:132] != b"DICM" and file_type(data) == "DICOM":
        data = _PREAMBLE + data
    dataset = dcmread(io.BytesIO(data), stop_before_pixels=stop_before_pixels)
    if not dataset.file_meta.get("TransferSyntaxUID"):
        dataset.file_meta.TransferSyntaxUID = _apparent_syntax(dataset)
    return dataset


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


def read_series_key(data: bytes) -> SeriesKey:
    """Returns what tells to which series a file belongs.

    Raises:
        Exception: whatever pydicom raises on damaged data.
    """
    return series_key_of(read_file(data, stop_before_pixels=True))


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
