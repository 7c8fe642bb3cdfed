"""What the tags of a DICOM file rule out. Of the tags' own text only words of the lists here reach a sentence."""

import re
from collections.abc import Iterable

from pydicom.dataset import Dataset

_MODALITIES = {
    "AU": "audio (AU)", "BI": "biomagnetic imaging (BI)", "BMD": "bone densitometry (BMD)", "CR": "an X-ray (CR)",
    "CT": "CT", "DOC": "a document (DOC)", "DX": "an X-ray (DX)", "ECG": "an ECG", "EEG": "an EEG",
    "ES": "endoscopy (ES)", "GM": "microscopy (GM)", "IO": "a dental X-ray (IO)", "KO": "a list of images (KO)",
    "MG": "mammography (MG)", "NM": "nuclear medicine (NM)", "OCT": "optical tomography (OCT)",
    "OP": "eye photography (OP)", "OPT": "eye tomography (OPT)", "OT": "a picture of unknown origin (OT)",
    "PR": "a display setting (PR)", "PT": "PET", "PX": "a dental X-ray (PX)", "REG": "a registration (REG)",
    "RF": "fluoroscopy (RF)", "RG": "an X-ray (RG)", "RTDOSE": "a radiation dose", "RTIMAGE": "a portal image",
    "RTPLAN": "a radiation plan", "RTSTRUCT": "a set of contours", "SC": "a screen picture (SC)",
    "SEG": "a segmentation (SEG)", "SM": "slide microscopy (SM)", "SR": "a report (SR)", "US": "ultrasound (US)",
    "XA": "angiography (XA)", "XC": "a photograph (XC)",
}  # fmt: skip
_OTHER_PARTS = {
    "ABDOMEN", "ABDOMENPELVIS", "ADRENAL", "ANKLE", "AORTA", "ARM", "BLADDER", "BREAST", "CALF", "CAROTID", "CHEST",
    "CLAVICLE", "COCCYX", "COLON", "CSPINE", "ELBOW", "EXTREMITY", "FEMUR", "FINGER", "FOOT", "FOREARM", "GALLBLADDER",
    "HAND", "HEART", "HIP", "HUMERUS", "KIDNEY", "KNEE", "LEG", "LIVER", "LSPINE", "LUNG", "NECK", "PANCREAS",
    "PELVIS", "PROSTATE", "RIB", "SACRUM", "SCAPULA", "SHOULDER", "SPINE", "SPLEEN", "STERNUM", "STOMACH", "THIGH",
    "THORAX", "THUMB", "THYROID", "TOE", "TSPINE", "UTERUS", "WHOLEBODY", "WRIST",
}  # fmt: skip
_LOCALISERS = {"LOCALIZER", "LOCALISER", "SCOUT"}
_DERIVED = {
    "ADC", "EADC", "FA", "COLFA", "TENSOR", "MIP", "MNIP", "MINIP", "PROJECTION", "MAXIMUM", "MINIMUM", "SUBTRACTION",
    "SUB", "CBF", "CBV", "RCBF", "RCBV", "MTT", "TTP", "TMAX", "KTRANS", "MAP", "PHASE", "VELOCITY",
    "FIELDMAP", "ZSCORE", "MASK", "SEGMENTATION", "STATISTICS", "SCREENSHOT", "SCREEN", "REPORT",
}  # fmt: skip
_SIEMENS_PHASE = "P"  # third value of ImageType
_DICOMDIR = "1.2.840.10008.1.3.10"


def refusal(dataset: Dataset) -> str | None:
    """Returns why a DICOM file is no scan for this project, in one sentence, or None where nothing speaks against it.

    Ordinary reformats and normalised images, DERIVED as they are, pass; maps and projections computed from others do
    not.
    """
    if str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) == _DICOMDIR:
        return "Expected DICOM images, got a DICOMDIR, the index of a disc: upload the images that it lists."
    modality = _words(dataset, "Modality")
    if modality and modality != ["MR"]:
        return f"Expected a brain MRI, got {_MODALITIES.get(modality[0], 'another kind of DICOM file')}: upload an MRI."
    part = "".join(_words(dataset, "BodyPartExamined"))
    if part in _OTHER_PARTS:
        return f"Expected a brain MRI, got a scan of another part of the body ({part}): upload one of the head."
    return _refused_type(dataset) or _refused_pixels(dataset)


def _refused_type(dataset: Dataset) -> str | None:
    types = _words(dataset, "ImageType")
    if _LOCALISERS.intersection(types):
        return "Expected a series of parallel slices, got a localiser: upload the series that was planned with it."
    if "MOSAIC" in types:
        return "Expected one slice in each image, got a mosaic of slices: export the slices one by one."
    is_phase = _values(dataset, "ImageType")[2:3] == [_SIEMENS_PHASE]
    component = _words(dataset, "ComplexImageComponent")
    if is_phase or (component and component[0] in ("PHASE", "REAL", "IMAGINARY")):
        return "Expected a magnitude image, got a phase image: upload the magnitude images of the scan."
    derived = next((word for word in types if word in _DERIVED), None)
    if derived is not None:
        return f"Expected a scan as acquired, got a map or projection computed from one ({derived}): upload the scan."
    return None


def _refused_pixels(dataset: Dataset) -> str | None:
    if not has_picture(dataset):
        return "Expected a DICOM image, got a DICOM file without pixels: upload the images themselves."
    colours = str(dataset.get("PhotometricInterpretation", ""))
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or not colours.startswith("MONOCHROME"):
        return "Expected grey values, got a colour image: upload the scan and not a picture made of it."
    return None


def has_picture(dataset: Dataset) -> bool:
    """Returns whether a DICOM file holds pixels at all; reports, settings and waveforms do not."""
    return "PixelData" in dataset and "Rows" in dataset


def _words(dataset: Dataset, keyword: str) -> list[str]:
    """Returns the words of a tag's values in capitals; digits and signs part them, spaces too."""
    return [word for text in _values(dataset, keyword) for word in re.findall("[A-Z]+", text.upper())]


def _values(dataset: Dataset, keyword: str) -> list[str]:
    value = dataset.get(keyword) or ()
    values: Iterable[object] = (value,) if isinstance(value, str) else value
    return [str(one) for one in values]
