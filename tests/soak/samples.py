"""Sound scans of every format, with a mark in every place where a file can name a patient, and one in the pixels."""

import gzip
import io
import zipfile
from collections.abc import Callable
from functools import cache

import nibabel
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sslmri.cohorts.simulated import finding_slices, simulate_subject
from tests.harness.dicom_files import axial_series, dicom

VOLUMES = ("NIfTI", "zip")
KINDS = ("PNG", "JPEG", "TIFF", "DICOM", *VOLUMES)
PATIENT_TAGS = (
    "PatientName", "PatientID", "PatientAddress", "OtherPatientNames", "PatientComments", "PatientMotherBirthName",
    "EthnicGroup", "Occupation", "AdditionalPatientHistory", "ReferringPhysicianName", "PerformingPhysicianName",
    "OperatorsName", "PhysiciansOfRecord", "InstitutionName", "InstitutionAddress", "StationName", "AccessionNumber",
    "StudyDescription", "SeriesDescription", "ProtocolName", "StudyID", "ImageComments",
)  # fmt: skip
_EXIF_DESCRIPTION, _EXIF_ARTIST, _EXIF_COPYRIGHT = 0x010E, 0x013B, 0x8298
DEPTH = 12  # slices of a volume
_BLOCKS = 5  # squares along a side of the mark in the pixels
_DARKER = 0.2  # share by which half of them are darker; with 0.5 the model takes half of the heads for no brain


@cache
def _head() -> np.ndarray:
    """Returns slices of a simulated head with a tumour, (DEPTH, H, W) in [0, 1]."""
    subject = simulate_subject("tumours", "glioma", 7)
    middle = finding_slices(subject, 3)[1]
    return subject.volume[middle - DEPTH // 2 : middle + DEPTH // 2]


def voxels(number: int) -> np.ndarray:
    """Returns a head (12, H, W) uint8 whose middle carries ``number`` as a pattern of brighter and darker squares."""
    marked = _head().copy()
    height, width = marked.shape[1:]
    side = height // 12
    top, left = height // 2 - _BLOCKS * side // 2, width // 2 - _BLOCKS * side // 2
    pattern = 1 - _DARKER * np.random.default_rng(number).integers(0, 2, (_BLOCKS, _BLOCKS))
    marked[:, top : top + _BLOCKS * side, left : left + _BLOCKS * side] *= np.kron(pattern, np.ones((side, side)))
    return np.rint(np.clip(marked, 0, 1) * 255).astype(np.uint8)


def sample(kind: str, number: int, mark: str) -> tuple[str, bytes]:
    """Returns the name and content of a scan; the mark is in its name and in all its texts."""
    suffix, make = _MAKERS[kind]
    return f"{mark}.{suffix}", make(voxels(number), mark)


def large_sample(mark: str = "") -> bytes:
    """Returns a DICOM file of several MB, the mark in all its texts."""
    slice_ = _stored(voxels(0))[DEPTH // 2]
    return dicom(np.kron(slice_, np.ones((10, 10), np.uint16)), **dict.fromkeys(PATIENT_TAGS, mark))


def _png(head: np.ndarray, mark: str) -> bytes:
    info = PngInfo()
    for key in ("Title", "Author", "Description", "Comment", mark):
        info.add_text(key[:79], mark)
    return _saved(head, "PNG", pnginfo=info, exif=_exif(mark))


def _jpeg(head: np.ndarray, mark: str) -> bytes:
    return _saved(head, "JPEG", quality=95, exif=_exif(mark), comment=mark.encode())


def _tiff(head: np.ndarray, mark: str) -> bytes:
    return _saved(head, "TIFF", description=mark, artist=mark, software=mark)


def _saved(head: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(head[len(head) // 2]).save(file, kind, **options)
    return file.getvalue()


def _exif(mark: str) -> Image.Exif:
    exif = Image.Exif()
    for tag in (_EXIF_DESCRIPTION, _EXIF_ARTIST, _EXIF_COPYRIGHT):
        exif[tag] = mark
    return exif


def _dicom(head: np.ndarray, mark: str) -> bytes:
    return dicom(_stored(head)[len(head) // 2], **dict.fromkeys(PATIENT_TAGS, mark))


def _zip(head: np.ndarray, mark: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = mark.encode()[:65535]
        for name, data in axial_series(_stored(head), 4.0, **dict.fromkeys(PATIENT_TAGS, mark)):
            archive.writestr(f"{mark.replace('/', '-')}/{name}", data)
    return file.getvalue()


def _nifti(head: np.ndarray, mark: str) -> bytes:
    image = nibabel.Nifti1Image(_stored(head).T.astype(np.int16), np.diag([-1.25, -1.5, 4.0, 1.0]))
    for field, size in (("descrip", 80), ("aux_file", 24), ("intent_name", 16), ("db_name", 18)):
        image.header[field] = mark.encode()[:size]
    return gzip.compress(image.to_bytes(), 1)


def _stored(head: np.ndarray) -> np.ndarray:
    return head.astype(np.uint16) * 16


_MAKERS: dict[str, tuple[str, Callable[[np.ndarray, str], bytes]]] = {
    "PNG": ("png", _png),
    "JPEG": ("jpg", _jpeg),
    "TIFF": ("tif", _tiff),
    "DICOM": ("dcm", _dicom),
    "NIfTI": ("nii.gz", _nifti),
    "zip": ("zip", _zip),
}
