"""The demonstration patients: whole simulated volumes, one per finding, in the image style of the training data.

Nothing here is a patient. Each is a simulated subject whose framing, intensities and sharpness were matched to the
public cohort that a classifier was trained on; other scans would not be assessed. Subject, style and extent were
selected as examples that the shipped model flags: they show how the program works, not how accurate it is. In the style
of the tumours it flags a head without one too (docs/evidence.md).
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sslmri.cohorts import anatomy
from sslmri.cohorts.simulated import SimulatedSubject, simulate_subject
from sslmri.errors import ManifestError
from sslmri.scans.scan import Scan, ScanInfo
from sslmri.scans.slices import head_mask

ORIENTATION = "SPL"
_SIDE = 192  # pixels per side
_FIELD_MM = anatomy.FIELD_OF_VIEW_MM
_DETAIL = 3.0  # pixels: what is finer counts as detail
_LEVELS = (0.0, 2.0, 10.0, 25.0, 40.0, 50.0, 60.0, 75.0, 90.0, 98.0, 100.0)


@dataclass(frozen=True)
class ImageStyle:
    """The style of the images of one public cohort, as medians over its slices.

    Attributes:
        grey: percentiles 2, 10, 25, 40, 50, 60, 75, 90 and 98 of the intensities inside the head, 0 to 255.
        height, width: of the head, as fractions of the image.
        blur: standard deviation of the blur, in pixels of 1.2 mm.
        sharpening: fraction of the fine detail that is added on top.
        shading: how much brighter the edge of the image is than its middle, as a fraction; from the receiving coils.
        noise: standard deviation of the added noise, in intensities.
    """

    grey: tuple[float, ...]
    height: float
    width: float
    blur: float = 0.0
    sharpening: float = 0.0
    shading: float = 0.0
    noise: float = 0.5


_CONTRAST_T1 = ImageStyle((6, 23, 43, 56, 62, 68, 81, 125, 191), 0.93, 0.81, blur=0.5, shading=0.25, noise=4.0)
_STRIPPED_T1 = ImageStyle(
    (3, 22, 69, 110, 134, 156, 197, 227, 245), 0.87, 0.80, blur=0.2, sharpening=0.83, shading=-0.5, noise=3.8
)
_T2 = ImageStyle(
    (10, 28, 59, 72, 80, 89, 110, 144, 205), 0.70, 0.72, blur=1.0, sharpening=0.1, shading=-0.25, noise=3.0
)
_STRIPPED_MIXED = ImageStyle((27, 62, 114, 146, 160, 170, 186, 208, 237), 0.59, 0.55, blur=0.7)


@dataclass(frozen=True)
class Patient:
    """One demonstration patient: the person of a seed with a finding, in a style or as the simulated cohort is.

    ``heights_mm`` are the superior millimetres that the volume reaches over.
    """

    title: str
    disease: str
    label: str
    seed: int
    style: ImageStyle | None
    heights_mm: tuple[float, float]


PATIENTS: dict[str, Patient] = {
    "healthy": Patient("Healthy", "tumours", "no_tumour", 1, None, (-20, 94)),
    "dementia": Patient("Mild dementia", "alzheimers", "mild_demented", 9, _STRIPPED_T1, (-10, 40)),
    "glioma": Patient("Glioma", "tumours", "glioma", 6, _CONTRAST_T1, (10, 75)),
    "meningioma": Patient("Meningioma", "tumours", "meningioma", 46, _CONTRAST_T1, (20, 85)),
    "pituitary": Patient("Pituitary tumour", "tumours", "pituitary", 2, _CONTRAST_T1, (-66, 0)),
    "ms": Patient("Multiple sclerosis", "ms", "multiple_sclerosis", 8, _T2, (-46, 24)),
    "parkinsons": Patient("Parkinson's disease", "parkinsons", "parkinsons", 1, _STRIPPED_MIXED, (-50, 60)),
}
EXAMPLE = "meningioma"  # the patient to show first: type right, and the map lies on the lesion


def make_patient(key: str) -> tuple[Scan, np.ndarray]:
    """Returns a demonstration patient as a scan of float32 voxels (D, H, W), and the mask of the finding, bool alike.

    Raises:
        ManifestError: there is no such patient.
    """
    if key not in PATIENTS:
        raise ManifestError(f"Expected a patient out of {', '.join(PATIENTS)}, got {key!r}.")
    patient = PATIENTS[key]
    voxels, mask = draw_patient(patient)
    spacing = (anatomy.VOXEL_MM, _FIELD_MM / _SIDE, _FIELD_MM / _SIDE)
    name = f"Simulated patient, {patient.title}"
    content = hashlib.sha256(voxels.tobytes()).hexdigest()
    return Scan(ScanInfo(name, "simulated", content, len(voxels), spacing, ORIENTATION, "MR"), voxels), mask


def draw_patient(patient: Patient) -> tuple[np.ndarray, np.ndarray]:
    """Returns voxels (D, H, W) float32, 0 to 255, and the mask of the finding (D, H, W) bool."""
    subject = simulate_subject(patient.disease, patient.label, patient.seed, _SIDE)
    low, high = (int(anatomy.to_voxel(0, 0, height)[0]) for height in patient.heights_mm)
    kept = slice(max(low, 0), min(high, len(subject.mask)))
    if patient.style is None:
        return 255 * subject.volume[kept], subject.mask[kept]
    volume, mask = _framed(subject, kept, patient.style)
    return _styled(volume, patient.style, np.random.default_rng(patient.seed)), mask


def _styled(volume: np.ndarray, style: ImageStyle, rng: np.random.Generator) -> np.ndarray:
    """Returns a volume (D, H, W) with the intensities, the sharpness and the noise of a style, 0 to 255."""
    volume = ndimage.gaussian_filter(volume, (0, style.blur, style.blur))
    heads = np.stack([head_mask(part) for part in volume])
    grey = _sharpened(_match_intensities(volume, heads, style), style)
    noise = style.noise * rng.standard_normal(grey.shape, dtype=np.float32) * heads
    air = ndimage.gaussian_filter(heads.astype(np.float32), (0, 1, 1))
    return np.clip(grey * np.where(heads, 1, air) + noise, 0, 255).astype(np.float32)


def _framed(subject: SimulatedSubject, kept: slice, style: ImageStyle) -> tuple[np.ndarray, np.ndarray]:
    """Returns volume and mask of the slices kept, the head moved to the middle and brought to the size of the style."""
    head = np.logical_or.reduce([head_mask(part) for part in subject.volume[kept]])
    rows, columns = np.flatnonzero(head.any(axis=1)), np.flatnonzero(head.any(axis=0))
    scale = np.array(
        [(rows[-1] - rows[0]) / (style.height * _SIDE), (columns[-1] - columns[0]) / (style.width * _SIDE)]
    )
    middle = np.array([rows[0] + rows[-1], columns[0] + columns[-1]]) / 2
    matrix, offset = np.diag([1, *scale]), [0, *(middle - scale * (_SIDE - 1) / 2)]
    volume = ndimage.affine_transform(subject.volume[kept], matrix, offset, order=1)
    mask = ndimage.affine_transform(subject.mask[kept].astype(np.float32), matrix, offset, order=1)
    return volume, mask > 0.5


def _match_intensities(volume: np.ndarray, heads: np.ndarray, style: ImageStyle) -> np.ndarray:
    """Returns the volume with the style's distribution of intensities inside the head, 0 to 255."""
    quantiles = np.percentile(volume[heads][::7], _LEVELS)
    steps = np.maximum.accumulate(quantiles + np.arange(len(quantiles)) * 1e-6)
    return np.interp(volume, steps, (0.0, *style.grey, 255.0)).astype(np.float32)


def _sharpened(grey: np.ndarray, style: ImageStyle) -> np.ndarray:
    """Returns intensities with fine detail raised, and shaded from the middle outwards."""
    detail = grey - ndimage.gaussian_filter(grey, (0, _DETAIL, _DETAIL))
    square = np.linspace(-1, 1, _SIDE, dtype=np.float32) ** 2
    shading = 1 + style.shading * (square[:, None] + square[None, :] - 0.4)
    return np.asarray((grey + style.sharpening * detail) * shading, dtype=np.float32)
