"""The headers of a DICOM scan, read again, and only when results are to be written into its study."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from sslmri.errors import ScanError
from sslmri.scans.dicom import read_dicom
from sslmri.scans.dicom_file import read_file
from sslmri.scans.scan import DicomHeaders

_SERIES = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "StudyDescription", "AccessionNumber",
    "ReferringPhysicianName", "FrameOfReferenceUID", "PositionReferenceIndicator", "Rows", "Columns", "PixelSpacing",
    "ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices",
)  # fmt: skip
_FILE = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "ImagePositionPatient")
_NEEDED = ("StudyInstanceUID", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")
_SEXES = ("M", "F", "O", "")


def read_headers(files: Iterable[bytes | None]) -> DicomHeaders:
    """Returns the headers of the series that ``read_dicom`` finds in these files.

    Values that DICOM does not allow are left out, as results with them would be refused.

    Raises:
        ScanError: as ``read_dicom``; or the files are of several patients or studies, or have no identifiers.
        Exception: likewise.
    """
    contents = list(files)
    volume = read_dicom(contents)
    numbers = sorted({number for number, _ in volume.origins})
    datasets = [read_file(contents[number - 1] or b"", stop_before_pixels=True) for number in numbers]
    _check_identifiers(datasets)
    return DicomHeaders(
        series=_values(datasets[0], _SERIES),
        files=[_values(dataset, _FILE) for dataset in datasets],
        origins=[(numbers.index(number), frame) for number, frame in volume.origins],
        axes=volume.axes,
    )


def _check_identifiers(datasets: Sequence[Dataset]) -> None:
    if len({(str(dataset.get("StudyInstanceUID")), str(dataset.get("PatientID"))) for dataset in datasets}) > 1:
        raise ScanError("The DICOM files are of several studies or patients: their results cannot be written into one.")
    known = [_values(dataset, _NEEDED) for dataset in datasets]
    are_complete = all(len(values) == len(_NEEDED) and all(map(_is_set, values.values())) for values in known)
    if not are_complete or len({str(dataset.SOPInstanceUID) for dataset in datasets}) < len(datasets):
        raise ScanError(
            "The DICOM files do not each state valid UIDs of their study, series and image: results cannot refer to "
            "them. Export the scan again from the archive."
        )


def _is_set(value: dict[str, Any]) -> bool:
    return bool(value.get("Value"))


def _values(dataset: Dataset, keywords: Sequence[str]) -> dict[str, Any]:
    """Returns the valid values of these tags as DICOM JSON."""
    kept = Dataset()
    for keyword in keywords:
        tag = tag_for_keyword(keyword) or 0
        kind = dictionary_VR(tag)
        mode = config.IGNORE if kind == "DS" else config.RAISE  # scanners write numbers of more than 16 digits
        with suppress(Exception):  # any class, whatever the value is
            kept.add(DataElement(tag, kind, dataset.get(keyword), validation_mode=mode))
    if kept.get("PatientSex", "") not in _SEXES:
        del kept.PatientSex
    return kept.to_json_dict()
