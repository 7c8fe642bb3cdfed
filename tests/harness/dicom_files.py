"""DICOM files made in memory for the tests of reading; nothing in them comes from a real scan."""

import io
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    MRImageStorage,
    RLELossless,
)

from sslmri.errors import ScanError
from tests.harness.parsing import parse_scan, parse_series

AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)
CORONAL = (1, 0, 0, 0, 0, -1)


def dataset(pixels: np.ndarray, **tags: object) -> Dataset:
    """Returns an MR image of stored integers (H, W) or (frames, H, W) at the origin; tags replace, None drops."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(ExplicitVRLittleEndian)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = MRImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = UID("1.2.3.4")
    if pixels.ndim == 3:
        made.NumberOfFrames = len(pixels)
    made.Rows, made.Columns = pixels.shape[-2:]
    made.BitsAllocated = made.BitsStored = pixels.itemsize * 8
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.SamplesPerPixel = 1
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OW"
    standard = {
        "Modality": "MR", "SeriesInstanceUID": "1.2.3", "InstanceNumber": 1, "PhotometricInterpretation": "MONOCHROME2",
        "ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": list(AXIAL), "PixelSpacing": [1.5, 1.25],
        "SliceThickness": 4,
    }  # fmt: skip
    for keyword, value in {**standard, **tags}.items():
        if value is not None:
            setattr(made, keyword, value)
    return made


def as_bytes(made: Dataset, **encoding: bool) -> bytes:
    """Returns a data set as a file."""
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True, **encoding)
    return file.getvalue()


def dicom(pixels: np.ndarray, **tags: object) -> bytes:
    """Returns what ``dataset`` makes as a file."""
    return as_bytes(dataset(pixels, **tags))


def axial_series(voxels: np.ndarray, step: float = 4.0, **tags: object) -> list[tuple[str, bytes]]:
    """Returns the files of axial slices (D, H, W) from inferior to superior, ``step`` mm apart."""
    return [
        (f"slice {i}", dicom(pixels, **{"ImagePositionPatient": [0, 0, i * step], "InstanceNumber": i + 1, **tags}))
        for i, pixels in enumerate(voxels)
    ]


def enhanced(
    voxels: np.ndarray, heights: Sequence[float], slopes: Sequence[float], stacks: str = "", **tags: object
) -> bytes:
    """Returns an enhanced multi-frame file: place and slope in the functional groups of each frame.

    ``stacks`` holds the identifier of each frame's stack, a letter each.
    """
    made = dataset(voxels, ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None, **tags)
    shared = _group(PixelMeasuresSequence={"PixelSpacing": [1.5, 1.25], "SliceThickness": 4})
    made.SharedFunctionalGroupsSequence = Items([shared])
    made.PerFrameFunctionalGroupsSequence = Items(
        _group(
            PlanePositionSequence={"ImagePositionPatient": [0, 0, height]},
            PlaneOrientationSequence={"ImageOrientationPatient": list(AXIAL)},
            PixelValueTransformationSequence={"RescaleSlope": slope, "RescaleIntercept": 0, "RescaleType": "US"},
        )
        for height, slope in zip(heights, slopes, strict=True)
    )
    for group, stack in zip(made.PerFrameFunctionalGroupsSequence, stacks, strict=False):
        group.FrameContentSequence = _group(FrameContentSequence={"StackID": stack}).FrameContentSequence
    return as_bytes(made)


def _group(**sequences: dict[str, object]) -> Dataset:
    group = Dataset()
    for keyword, values in sequences.items():
        item = Dataset()
        for name, value in values.items():
            setattr(item, name, value)
        setattr(group, keyword, Items([item]))
    return group


def encoded(pixels: np.ndarray, syntax: str) -> bytes:
    """Returns a slice (H, W) as a file of a transfer syntax."""
    made = dataset(pixels)
    if syntax in (RLELossless, JPEG2000Lossless):
        made.compress(syntax, generate_instance_uid=False)
        return as_bytes(made)
    made.file_meta.TransferSyntaxUID = UID(syntax)
    if syntax == ExplicitVRBigEndian:
        made.PixelData = pixels.byteswap().tobytes()
    if syntax == JPEGBaseline8Bit:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=95)
        made.PixelData = encapsulate([file.getvalue()])
    return as_bytes(made)


def refusal_of(*files: bytes) -> str:
    """Returns the one sentence by which files are refused."""
    with pytest.raises(ScanError) as error:
        parse_scan(files[0], "scan") if len(files) == 1 else parse_series([(str(i), f) for i, f in enumerate(files)])
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")
    return error.value.reason
