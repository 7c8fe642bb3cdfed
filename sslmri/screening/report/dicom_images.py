"""The PDF of a screening, captures of its maps and segments of what they cover as DICOM objects."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from highdicom import UID, AlgorithmIdentificationSequence
from highdicom.base import SOPClass
from highdicom.sc import SCImage
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import CodedConcept
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from sslmri.diseases import DISEASES, class_title
from sslmri.models.cards import INTENDED_USE, ModelCard
from sslmri.scans.volume import AXIAL
from sslmri.screening.messages import key_slice_line
from sslmri.screening.outcome import ScreeningArrays, ScreeningSummary
from sslmri.screening.report.images import paint_key_slice

MANUFACTURER = "sslmri"
INHERITED = (
    "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
    "ReferringPhysicianName",
)  # fmt: skip
_SCHEME = "99SSLMRI"  # of private codes: a class of a classifier is no diagnosis, and has no code of a terminology
_PDF, _CAPTURES, _SEGMENTS = 9002, 9003, 9004  # numbers of series
_SIDE = 512  # pixels along the longer side of a capture
_BAND = 32  # pixels of two lines of text below it


def coded(key: str, meaning: str) -> CodedConcept:
    """Returns a private code."""
    return CodedConcept(key, _SCHEME, meaning[:64])


class Equipment(TypedDict):
    """The device of a series, as arguments of highdicom."""

    manufacturer: str
    manufacturer_model_name: str
    device_serial_number: str
    series_description: str


def equipment(card: ModelCard, what: str) -> Equipment:
    """Returns what names the model as the device in a series of these objects."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": card.name[:64],
        "device_serial_number": card.sha256,
        "series_description": f"{MANUFACTURER}: {what}, research use only",
    }


def encapsulated_pdf(card: ModelCard, pdf: bytes, image: Dataset) -> Dataset:
    """Returns a PDF as an object in the study of an image."""
    made = SOPClass(
        image.StudyInstanceUID, UID(), _PDF, UID(), EncapsulatedPDFStorage, 1, "DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian, specific_character_set=image.SpecificCharacterSet,
        **equipment(card, "report"),
    )  # fmt: skip
    for keyword in INHERITED:
        setattr(made, keyword, image.get(keyword))
    made.copy_patient_and_study_information(image)
    made.ConversionType = "WSD"
    made.AcquisitionDateTime = None
    made.BurnedInAnnotation = "NO"  # no words of the PDF say who the patient is
    made.DocumentTitle = "Screening of a brain MRI, research use only"
    made.ConceptNameCodeSequence = []
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(pdf)
    made.EncapsulatedDocument = pdf + b"\x00" * (len(pdf) % 2)
    return made


def capture_maps(
    card: ModelCard, summary: ScreeningSummary, arrays: ScreeningArrays, diseases: Sequence[str], image: Dataset
) -> dict[str, SCImage]:
    """Returns the key slice of each finding under the map of its top class, with two lines of text, by disease."""
    series, captures = UID(), {}
    for number, disease in enumerate(diseases, start=1):
        finding, scale = summary.findings[disease], card.heads[disease].saliency_scale
        line = (
            f"{key_slice_line(summary, finding)}. Saliency of {class_title(finding.top_class)}, 0 to {scale:.2g} "
            "logits; contour at half the scale."
        )
        pixels = paint_key_slice(summary, arrays, disease, scale, _SIDE)
        canvas = Image.fromarray(np.pad(pixels, ((0, _BAND), (0, 0), (0, 0))))
        ImageDraw.Draw(canvas).text((4, len(pixels) + 2), f"{line}\n{INTENDED_USE}", (255, 255, 255))
        letters = AXIAL if finding.is_aligned else summary.orientation
        made = captures[disease] = SCImage.from_ref_dataset(
            image, np.asarray(canvas), "RGB", 8, "PATIENT", series, _CAPTURES, UID(), number,
            patient_orientation=(letters[2], letters[1]) if letters else ("L", "P"), **equipment(card, "saliency maps"),
        )  # fmt: skip
        if letters is None:
            made.PatientOrientation = []
        made.BodyPartExamined = "BRAIN"  # without a body part that is not one of a pair, a laterality is asked for
        made.ImageComments = f"{DISEASES[disease].title}. {line}"
    return captures


def segment_maps(
    card: ModelCard,
    summary: ScreeningSummary,
    masks: Mapping[str, np.ndarray],
    images: Sequence[Dataset],
    tracking: Mapping[str, str],
) -> Segmentation:
    """Returns a segment for each map, on the slices that one of them covers.

    Masks are what each map covers, by disease: (slice, row, column) bool. Tracking is as in ``structured_report``.
    """
    algorithm = AlgorithmIdentificationSequence(card.name[:64], codes.DCM.ArtificialIntelligence, card.sha256)
    segments = []
    for number, key in enumerate(masks, start=1):
        label = summary.findings[key].top_class
        what = f"Saliency of {class_title(label)} above half of its peak"
        category, kind = codes.cid7150.SpatialAndRelationalConcept, coded(f"saliency_{label}", what)
        described = SegmentDescription(number, what[:64], category, kind, "AUTOMATIC", algorithm, tracking[key], key)
        segments.append(described)
    stack = np.stack(list(masks.values()), axis=-1)
    shown = np.flatnonzero(stack.any(axis=(1, 2, 3))).tolist()
    return Segmentation(
        [images[i] for i in shown], stack[shown].astype(np.uint8), "BINARY", segments, UID(), _SEGMENTS, UID(), 1,
        software_versions=card.sha256, content_label="SALIENCY", **equipment(card, "extent of saliency"),
    )  # fmt: skip
