"""DICOM that is no brain MRI, no single series or not what its header says: one plain sentence."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from sslmri.scans.parse import parse_outline
from tests.harness.dicom_files import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    as_bytes,
    axial_series,
    dataset,
    dicom,
    encoded,
    refusal_of,
)
from tests.harness.parsing import parse_scan

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def voxels() -> np.ndarray:
    """Returns slices that all differ, (12, 64, 72) uint16."""
    return np.random.default_rng(0).integers(0, 4000, (12, 64, 72), dtype=np.uint16)


REFUSED = {
    "CT": ({"Modality": "CT"}, "This is a CT. Only brain MRI is supported."),
    "CT named MR": ({"KVP": 120}, "This is a CT. Only brain MRI is supported."),
    "Hounsfield units": ({"RescaleType": "HU"}, "This is a CT. Only brain MRI is supported."),
    "ultrasound": ({"Modality": "US"}, "This is an ultrasound (US)"),
    "unknown modality": ({"Modality": "CANARY"}, "another type of DICOM file"),
    "CT by its class": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "This is a CT"),
    "PET of unnamed modality": ({"Modality": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128"}, "This is a PET"),
    "knee": ({"BodyPartExamined": "KNEE"}, "another part of the body (KNEE)"),
    "spine": ({"BodyPartExamined": "C SPINE"}, "another part of the body (CSPINE)"),
    "lumbar spine": ({"BodyPartExamined": "LUMBAR SPINE"}, "another part of the body (SPINE)"),
    "localiser": ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "This is a localiser"),
    "ADC": ({"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND"]}, "(ADC)"),
    "perfusion": ({"ImageType": ["DERIVED", "PRIMARY", "PERFUSION", "RELCBF"]}, "(RELCBF)"),
    "MIP": ({"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE", "CSA MIP"]}, "(PROJECTION)"),
    "phase": ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "phase image"),
    "mosaic": ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "mosaic"),
    "floats": ({"PixelData": None, "FloatPixelData": b"CANARY.."}, "floating-point numbers"),
    "no pixels": ({"PixelData": None}, "holds no image"),
    "colours": ({"PhotometricInterpretation": "RGB"}, "colour image"),
    "palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour image"),
    "bits": ({"BitsAllocated": 12}, "Pixels of 12 bits"),
    "slope": ({"RescaleSlope": 0, "RescaleIntercept": 0}, "rescale slope"),
    "mouse": ({"PixelSpacing": [0.1, 0.1]}, "6 x 7 mm is too small for a head"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_brain_mri_is_refused_by_name(voxels, case):
    tags, sentence = REFUSED[case]
    made = dataset(voxels[0], **tags)
    if tags.get("PixelData", b"") is None:
        del made.PixelData
    refused = refusal_of(as_bytes(made))
    assert sentence in refused
    assert "CANARY" not in refused
    assert refusal_of(as_bytes(made), as_bytes(made)) == refused, "of a series too"


@pytest.mark.parametrize(
    "tags",
    [
        {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"]},
        {"ImageType": ["DERIVED", "SECONDARY", "OTHER"]},
        {"BodyPartExamined": "HEAD"},
        {"BodyPartExamined": "HEADNECK"},
        {"BodyPartExamined": ""},
        {"Modality": ""},
    ],
)
def test_an_ordinary_reformat_or_an_unknown_part_is_read(voxels, tags):
    assert parse_scan(dicom(voxels[0], **tags), "a").voxels.shape == (1, 64, 72)


def test_a_dicomdir_is_refused_by_name(voxels):
    made = dataset(voxels[0])
    del made.PixelData
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    assert "DICOMDIR" in refusal_of(as_bytes(made))


def test_slices_of_several_planes_are_refused_as_a_localiser(voxels):
    planes = [dicom(voxels[0], ImageOrientationPatient=list(plane)) for plane in (AXIAL, SAGITTAL, CORONAL)]
    assert "not parallel, as in a localiser" in refusal_of(*planes)


def test_two_series_are_refused_with_their_counts(voxels):
    other = [data for _, data in axial_series(voxels[:5], SeriesInstanceUID="9.9")]
    refused = refusal_of(*(data for _, data in axial_series(voxels)), *other)
    assert "2 series, of 12 and 5 slices" in refused


def test_a_time_series_is_refused(voxels):
    first, second = axial_series(voxels), axial_series(voxels[::-1])
    assert "24 images at 12 positions" in refusal_of(*(data for _, data in first + second))


@pytest.mark.parametrize("shift", [0.4, 2.0, 5.0])
def test_two_time_points_of_a_moved_head_are_refused(voxels, shift):
    moved = [
        dicom(pixels, ImagePositionPatient=[0, 0, i * 4.0 + shift], InstanceNumber=i + 1)
        for i, pixels in enumerate(voxels)
    ]
    assert "24 images at 12 positions" in refusal_of(*(data for _, data in axial_series(voxels)), *moved)


def test_slices_of_two_sizes_are_refused(voxels):
    files = axial_series(voxels[:3])
    odd = dicom(voxels[3][:32], ImagePositionPatient=[0, 0, 12])
    assert "differ in size" in refusal_of(*(data for _, data in files), odd)


def test_a_series_over_the_limit_is_refused_before_all_is_decoded(voxels, monkeypatch):
    monkeypatch.setattr("sslmri.scans.dicom.MAX_VOXELS", 3 * 64 * 72)
    refused = refusal_of(*(data for _, data in axial_series(voxels)))
    assert "million voxels" in refused


@pytest.mark.parametrize("rows", [65535, 63, 65, 0])
def test_a_header_that_lies_about_its_size_is_refused(voxels, rows):
    made = dataset(voxels[0])
    made.Rows = rows
    refusal_of(as_bytes(made))


def test_a_file_of_endless_tags_is_refused(voxels, monkeypatch):
    monkeypatch.setattr("sslmri.scans.dicom_file._MAX_READS", 20)
    assert "too many tags" in refusal_of(dicom(voxels[0]))


def test_a_deflated_file_unpacks_to_no_more_than_other_packed_files_may(voxels):
    made = dataset(voxels[0], EncapsulatedDocument=bytes(33 * 2**20))
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    assert "expands too much" in refusal_of(as_bytes(made))


def test_the_series_of_a_deflated_file_is_told(voxels):
    data = encoded(voxels[0], DeflatedExplicitVRLittleEndian)
    key = parse_outline("dicom", data)
    assert key is not None
    assert key == parse_outline("dicom", dicom(voxels[0]))


def test_a_jpeg_2000_frame_of_some_tiles_is_read():
    file, grey = io.BytesIO(), np.arange(128 * 128, dtype=np.uint16).reshape(128, 128).astype(np.uint8)
    Image.fromarray(grey).save(file, "JPEG2000", tile_size=(32, 32), irreversible=False)
    made = dataset(grey)
    made.PixelData = encapsulate([file.getvalue()])
    made.file_meta.TransferSyntaxUID = JPEG2000Lossless
    assert np.array_equal(parse_scan(as_bytes(made), "a").voxels[0], grey)


def test_too_little_memory_is_not_told_as_a_damaged_file(voxels, monkeypatch):
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("sslmri.scans.dicom.checked_size", fail)
    with pytest.raises(MemoryError):
        parse_scan(dicom(voxels[0]), "a")


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGBaseline8Bit])
def test_a_frame_larger_than_the_header_says_is_not_decoded(voxels, syntax, monkeypatch):
    made = dataset((voxels[0] // 16).astype(np.uint8))
    file = io.BytesIO()
    Image.new("L", (2000, 2000)).save(file, "JPEG" if syntax == JPEGBaseline8Bit else "JPEG2000")
    made.PixelData = encapsulate([file.getvalue()])
    made.file_meta.TransferSyntaxUID = syntax
    monkeypatch.setattr("sslmri.scans.dicom_slices.decoded_frames", lambda *_: pytest.fail("was decoded"))
    assert "header and its pixels disagree" in refusal_of(as_bytes(made))


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGBaseline8Bit, RLELossless, DeflatedExplicitVRLittleEndian])
def test_a_compressed_file_that_breaks_off_is_refused(voxels, syntax):
    data = encoded((voxels[0] // 16).astype(np.uint8), syntax)
    refusal_of(data[: len(data) * 3 // 4])
