"""What the tags of a DICOM file rule out. Of the tags' text only words of the lists here reach a message."""

import re
from collections.abc import Iterable

from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    PositronEmissionTomographyImageStorage,
)

_MODALITIES = {
    "AU": "an audio recording (AU)", "BI": "biomagnetic imaging (BI)", "BMD": "bone densitometry (BMD)",
    "CR": "an X-ray (CR)", "CT": "a CT", "DOC": "a document (DOC)", "DX": "an X-ray (DX)", "ECG": "an ECG",
    "EEG": "an EEG", "ES": "endoscopy (ES)", "GM": "microscopy (GM)", "IO": "a dental X-ray (IO)",
    "KO": "a key object selection (KO)", "MG": "a mammogram (MG)", "NM": "nuclear medicine (NM)",
    "OCT": "optical coherence tomography (OCT)", "OP": "ophthalmic photography (OP)",
    "OPT": "ophthalmic tomography (OPT)", "OT": "an image of another modality (OT)", "PR": "a presentation state (PR)",
    "PT": "a PET", "PX": "a dental X-ray (PX)", "REG": "a registration (REG)", "RF": "fluoroscopy (RF)",
    "RG": "an X-ray (RG)", "RTDOSE": "an RT dose", "RTIMAGE": "an RT image", "RTPLAN": "an RT plan",
    "RTSTRUCT": "an RT structure set", "SC": "a secondary capture (SC)", "SEG": "a segmentation (SEG)",
    "SM": "slide microscopy (SM)", "SR": "a structured report (SR)", "US": "an ultrasound (US)",
    "XA": "an X-ray angiogram (XA)", "XC": "a photograph (XC)",
}  # fmt: skip
_CT_CLASSES = {CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}
_PET_CLASSES = {
    PositronEmissionTomographyImageStorage, EnhancedPETImageStorage, LegacyConvertedEnhancedPETImageStorage,
}  # fmt: skip
_HEAD = {"HEAD", "BRAIN", "SKULL"}
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
    "SUB", "CBF", "CBV", "RCBF", "RCBV", "RELCBF", "RELCBV", "RELMTT", "MTT", "TTP", "TMAX", "KTRANS", "MAP",
    "PHASE", "VELOCITY", "FIELDMAP", "ZSCORE", "MASK", "SEGMENTATION", "STATISTICS", "SCREENSHOT", "SCREEN", "REPORT",
}  # fmt: skip
_SEQUENCES = {
    "T1": r"(?<![A-Z0-9])T1(?![0-9])",
    "T2": r"(?<![A-Z0-9])T2(?![0-9*]| ?STAR)",
    "FLAIR": "FLAIR|FLUID ATTENUATED",
}
_CONTRAST_AGENT = r"POST(?![- ]?OP)|GADO|\+ ?C\b|\bC ?\+|\b(GAD|GD|KM|CE)\b"
_WITHOUT_AGENT = r"\b(PRE|W/?O|WITHOUT|NO|NON|OHNE)\b"
_SIEMENS_PHASE = "P"  # third value of ImageType
_DICOMDIR = "1.2.840.10008.1.3.10"


def refusal(dataset: Dataset) -> str | None:
    """Returns in one sentence why a DICOM file cannot be screened, or None.

    Ordinary reformats and normalised images, although DERIVED, pass; maps and projections computed from others do not.
    """
    if str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) == _DICOMDIR:
        return "This is a DICOMDIR index. Upload the image files it refers to."
    modality = _words(dataset, "Modality")
    if modality in ([], ["MR"]):
        modality = _other_modality(dataset) or modality
    if modality and modality != ["MR"]:
        return f"This is {_MODALITIES.get(modality[0], 'another type of DICOM file')}. Only brain MRI is supported."
    words = _words(dataset, "BodyPartExamined")
    part = next((part for part in ("".join(words), *words) if part in _OTHER_PARTS), None)
    if part and not _HEAD.intersection(words):
        return f"This is a scan of another part of the body ({part}). Only brain MRI is supported."
    return _refused_type(dataset) or _refused_pixels(dataset)


def _other_modality(dataset: Dataset) -> list[str]:
    """Returns CT or PET where a file that calls itself MR, or nothing, is one."""
    kind = dataset.get("SOPClassUID")
    if kind in _CT_CLASSES or dataset.get("KVP") or _words(dataset, "RescaleType") == ["HU"]:
        return ["CT"]
    return ["PT"] if kind in _PET_CLASSES else []


def _refused_type(dataset: Dataset) -> str | None:
    types = _words(dataset, "ImageType")
    if _LOCALISERS.intersection(types):
        return "This is a localiser. Upload the series that was planned with it."
    if "MOSAIC" in types and int(dataset.get("NumberOfFrames") or 1) == 1:  # enhanced files keep the word of old ones
        return "This is a mosaic of slices. Export the slices one by one."
    is_phase = _values(dataset, "ImageType")[2:3] == [_SIEMENS_PHASE]
    component = _words(dataset, "ComplexImageComponent")
    if is_phase or (component and component[0] in ("PHASE", "REAL", "IMAGINARY")):
        return "This is a phase image. Upload the magnitude images of the scan."
    derived = next((word for word in types if word in _DERIVED), None)
    if derived is not None:
        return f"This is a map or projection computed from a scan ({derived}). Upload the scan itself."
    return None


def _refused_pixels(dataset: Dataset) -> str | None:
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        return "The pixels of this DICOM file are floating-point numbers. Export the scan with 8, 16 or 32 bits."
    if not has_image(dataset):
        return "This DICOM file holds no image. Upload the images themselves."
    colours = str(dataset.get("PhotometricInterpretation", ""))
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or not colours.startswith("MONOCHROME"):
        return "This is a colour image. Upload the MRI in greyscale."
    return None


def has_image(dataset: Dataset) -> bool:
    """Returns whether a DICOM file holds pixels; reports, presentation states and waveforms do not."""
    return "PixelData" in dataset and "Rows" in dataset


def stated_sequence(dataset: Dataset) -> str | None:
    """Returns ``T1``, ``T1ce``, ``T2`` or ``FLAIR`` where the file states it unambiguously, else None.

    The acquisition contrast (0008,9209) comes first, then the description of the series and the name of the protocol;
    of their text nothing but one of these four names is kept. Where it names none, the times of the sequence decide.
    """
    contrast = _values(dataset, "AcquisitionContrast")
    text = " ".join(contrast or (*_values(dataset, "SeriesDescription"), *_values(dataset, "ProtocolName"))).upper()
    text = text.replace("_", " ")
    names = {name for name, pattern in _SEQUENCES.items() if re.search(pattern, text)}
    if "FLAIR" in names:
        names.discard("T2")  # T2 FLAIR
    if not names and (timed := _timed_sequence(dataset)):
        names = {timed}
    if len(names) != 1:
        return None
    has_agent = bool(dataset.get("ContrastBolusAgent")) or re.search(_CONTRAST_AGENT, text)
    if names != {"T1"} or not has_agent:
        return names.pop()
    return None if re.search(_WITHOUT_AGENT, text) else "T1ce"


def stated_decade(dataset: Dataset) -> int | None:
    """Returns the decade of the patient's age, 80 for all older ones; None where the file does not state it.

    The age itself and the dates that it may follow from are kept nowhere.
    """
    age = re.fullmatch(r"(\d{1,3})([DWMY])", str(dataset.get("PatientAge")).strip())
    dates = [str(dataset.get(keyword)) for keyword in ("PatientBirthDate", "StudyDate")]
    if age:
        years = int(age[1]) if age[2] == "Y" else 0
    elif all(re.fullmatch(r"(19|20)\d{6}", date) for date in dates):
        years = (int(dates[1]) - int(dates[0])) // 10_000
    else:
        return None
    return min(years // 10 * 10, 80) if years >= 0 else None


def _timed_sequence(dataset: Dataset) -> str | None:
    """Returns ``T1``, ``T2`` or ``FLAIR`` where echo, repetition and inversion time leave no doubt, else None."""
    echo, repetition, inversion = (
        _milliseconds(dataset, keyword) for keyword in ("EchoTime", "RepetitionTime", "InversionTime")
    )
    kinds = set(_words(dataset, "ScanningSequence"))
    if not echo or not repetition or not kinds or not kinds <= {"SE", "GR", "IR"}:
        return None
    if "GR" in kinds:  # without an inversion its weighting is by the flip angle too
        return "T1" if 400 <= inversion <= 1300 and echo <= 10 else None
    if inversion or "IR" in kinds:
        return "FLAIR" if inversion >= 1500 and echo >= 70 else None
    if repetition <= 900 and echo <= 25:
        return "T1"
    return "T2" if repetition >= 2000 and echo >= 75 else None


def _milliseconds(dataset: Dataset, keyword: str) -> float:
    """Returns a time, 0 where the file gives none or several."""
    try:
        return float(dataset.get(keyword) or 0)
    except (TypeError, ValueError):
        return 0.0


def _words(dataset: Dataset, keyword: str) -> list[str]:
    """Returns the words of a tag's values in capitals, separated by anything but letters."""
    return [word for text in _values(dataset, keyword) for word in re.findall("[A-Z]+", text.upper())]


def _values(dataset: Dataset, keyword: str) -> list[str]:
    value = dataset.get(keyword) or ()
    values: Iterable[object] = (value,) if isinstance(value, str) else value
    return [str(one) for one in values]
