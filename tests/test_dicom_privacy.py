"""What DICOM tags say of the patient appears nowhere: not in a scan, a warning, an error or a log."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import (
    JPEG2000Lossless,
    RLELossless,
)

from sslmri.errors import ScanError
from sslmri.scans import read_files, read_scan
from sslmri.scans.parse import parse_outline
from sslmri.scans.scan import SeriesKey
from tests.harness.dicom_files import axial_series, dicom, encoded
from tests.harness.parsing import parse_scan

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def voxels() -> np.ndarray:
    """Returns slices that all differ, (12, 64, 72) uint16."""
    return np.random.default_rng(0).integers(0, 4000, (12, 64, 72), dtype=np.uint16)


CANARIES = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientAddress", "OtherPatientNames", "PatientComments",
    "PatientMotherBirthName", "MilitaryRank", "EthnicGroup", "Occupation", "AdditionalPatientHistory", "PatientState",
    "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "PhysiciansOfRecord", "RequestingPhysician",
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "AccessionNumber",
    "StudyDescription", "SeriesDescription", "ProtocolName", "StudyID", "ImageComments",
    "RequestedProcedureDescription",
)  # fmt: skip


@pytest.mark.parametrize("damage", ["none", "modality", "gap", "pixels", "date", "cut"])
def test_no_tag_of_the_patient_is_in_scan_warning_error_or_log(voxels, damage, caplog, capfd):
    tags: dict[str, object] = {keyword: f"CANARY{i}" for i, keyword in enumerate(CANARIES)}
    tags |= {"BodyPartExamined": "CANARY", "ImageType": ["DERIVED", "CANARY"]}
    tags["Modality"] = "CANARY" if damage == "modality" else "MR"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom writing such values
        files = [data for _, data in axial_series(voxels[[0, 1, 2, 4]], **tags)]
    files = files[:2] + files[3:] if damage == "gap" else files
    cut = {"pixels": 300, "cut": 64 * 72 * 2 + 200}.get(damage, 0)
    files = [data[: len(data) - cut] for data in files]
    capfd.readouterr()
    caplog.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        said = [said_of(file) for file in files]
        said += [said_of(*files)]
    printed = capfd.readouterr()
    everything = "".join([*said, caplog.text, printed.out, printed.err, *(str(one.message) for one in caught)])
    assert "CANARY" not in everything


def said_of(*files: bytes) -> str:
    """Returns all that reading says: the scan in words, or the error with what it was raised from."""
    try:
        read = read_scan(files[0], "scan") if len(files) == 1 else read_files([("", data) for data in files])
    except ScanError as error:
        return f"{error!r} {error.__cause__!r}"
    return repr(read) + repr(read.__dict__)


def test_reading_damaged_files_prints_nothing(voxels, tmp_path):
    data = dicom(voxels[0], PatientName="CANARY", PatientBirthDate="19991399")
    for i in range(0, 900, 13):
        flipped = bytearray(data)
        flipped[132 + i] ^= 0x15
        (tmp_path / str(i)).write_bytes(bytes(flipped))
    for syntax in (RLELossless, JPEG2000Lossless):
        (tmp_path / syntax).write_bytes(encoded(voxels[0], syntax)[:-700])
    code = (
        "import contextlib, pathlib, sys\n"
        "from sslmri.errors import ScanError\n"
        "from sslmri.scans import read_scan\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir():\n"
        "    with contextlib.suppress(ScanError):\n"
        "        read_scan(path.read_bytes(), 'scan')\n"
    )
    command = [sys.executable, "-W", "always", "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_burned_in_text_is_told(voxels):
    assert "burned into" in parse_scan(dicom(voxels[0], BurnedInAnnotation="YES"), "a").info.warnings[0]
    assert parse_scan(dicom(voxels[0], BurnedInAnnotation="NO"), "a").info.warnings == ()


def test_files_of_one_series_share_a_key_that_says_nothing(voxels):
    keys = [parse_outline("DICOM", data) for _, data in axial_series(voxels)]
    ((series, stack),) = {key[:2] for key in keys if isinstance(key, SeriesKey)}
    assert series is not None
    assert stack is not None
    assert len(series) == len(stack) == 64
    other = parse_outline("DICOM", dicom(voxels[0], SeriesInstanceUID="9.9", PatientID="9"))
    assert isinstance(other, SeriesKey)
    assert other.series != series
    assert other.stack != stack
    assert parse_outline("DICOM", b"\x89PNG") is None
    assert parse_outline("DICOM", bytes(128) + b"DICM" + b"\xff" * 60) is None


def test_a_modality_is_kept_as_one_of_the_list_only(voxels):
    assert parse_scan(dicom(voxels[0], Modality="MR 123"), "a").info.modality == "MR"
    assert parse_scan(dicom(voxels[0], Modality=None), "a").info.modality is None
