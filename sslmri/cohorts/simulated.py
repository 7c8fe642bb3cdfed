"""The simulated cohort: subjects with known findings, for tests, samples and a first training without a download.

Nothing here is a patient: the average brain that ships inside nilearn is deformed, given a contrast, a finding, a bias
field and noise. Results on it show that the program works, never how well a disease can be detected.
"""

import io
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from sslmri.cohorts import anatomy, lesions
from sslmri.cohorts.manifest import write_manifest
from sslmri.cohorts.registry import recipe_of
from sslmri.cohorts.splits import N_FOLDS
from sslmri.diseases import DISEASES, is_own

COHORT = "simulated"
_LESIONS: dict[str, Callable[[np.random.Generator, anatomy.Atlas], lesions.Lesion]] = {
    "glioma": lesions.grow_glioma,
    "meningioma": lesions.grow_meningioma,
    "pituitary": lesions.grow_pituitary,
    "multiple_sclerosis": lesions.scatter_ms_lesions,
    "parkinsons": lesions.change_midbrain,
}


@dataclass(frozen=True)
class SimulatedSubject:
    """One simulated subject.

    Attributes:
        disease: key of the disease.
        label: class of the subject.
        contrast: "T1", "T1ce", "T2" or "FLAIR".
        volume: (D, H, W) float32 in [0, 1]; slices 2 mm apart, inferior to superior; anterior at the top row, the
            patient's right on the left of the image; every image 222 mm wide.
        mask: (D, H, W) bool, the finding; all False for the reference class.
    """

    disease: str
    label: str
    contrast: str
    volume: np.ndarray
    mask: np.ndarray


def simulate_subject(disease: str, label: str, seed: int, image_size: int = 128) -> SimulatedSubject:
    """Returns one simulated subject; the same seed with another label is the same person with another finding."""
    recipe = recipe_of(disease)
    person = np.random.default_rng(np.random.SeedSequence([seed]))
    finding = np.random.default_rng(np.random.SeedSequence([seed, _code(disease, label)]))
    contrast = str(person.choice(recipe.contrasts))
    has_head = bool(person.random() < recipe.head_fraction)
    coordinates = anatomy.person_coordinates(person)
    image, brain, extent = _draw(person, finding, label, contrast, recipe.age_loss, coordinates)
    volume = _acquire(person, _resize(image, image_size))
    if not has_head:
        volume *= _resize(ndimage.gaussian_filter(brain, 1.5), image_size) > 0.5
    return SimulatedSubject(disease, label, contrast, volume, _resize(extent, image_size) > 0.5)


def _draw(
    person: np.random.Generator,
    finding: np.random.Generator,
    label: str,
    contrast: str,
    age_loss: float,
    coordinates: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the noiseless head, the brain and the finding of one person, each (D, H, W) 0 to 1 on the atlas grid."""
    atlas, tissue = anatomy.load_atlas(), anatomy.TISSUES[contrast]
    brain = anatomy.resample(atlas.brain, coordinates)
    image = anatomy.resample(atlas.surround[contrast], coordinates) * (1 - brain)
    extent, inside = np.zeros_like(brain), brain > 0
    lesion = _LESIONS[label](finding, atlas) if label in _LESIONS else None
    there = lesions.push_aside(lesion, coordinates[:, inside]) if lesion else coordinates[:, inside]
    ageing = lesions.age_brain(person, age_loss)
    total = lesions.add_dementia(finding, label, ageing)
    grey, white, extent[inside] = lesions.lose_tissue(atlas, there, ageing, total)
    fluid = np.clip(brain[inside] - grey - white, 0, 1)
    image[inside] += grey * tissue["grey"] + white * tissue["white"] + fluid * tissue["csf"]
    if contrast == "T2":
        image[inside] *= 1 - 0.85 * anatomy.resample(lesions.deposit_iron(person, atlas), there)
    if lesion:
        opacity = anatomy.resample(lesion.opacity, coordinates)
        touched = opacity > 0
        there = coordinates[:, touched]
        image[touched] += opacity[touched] * (anatomy.resample(lesion.brightness, there) - image[touched])
        extent[touched] = anatomy.resample(lesion.extent, there)
    return image, brain, extent


def _resize(values: np.ndarray, image_size: int) -> np.ndarray:
    """Returns (D, image_size, image_size) float32; slices keep their position."""
    shape = (image_size, image_size)
    slices = (Image.fromarray(part).resize(shape, Image.Resampling.BICUBIC) for part in values.astype(np.float32))
    return np.stack([np.asarray(part) for part in slices])


def _acquire(person: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Returns the image (D, H, W) as a scanner acquires it: coil shading, window, Rician noise; float32, 0 to 1."""
    shading = np.exp(0.22 * anatomy.smooth_field(person, image.shape, max(image.shape) / 2))
    window, gamma = person.uniform(0.82, 1.0), person.uniform(0.85, 1.2)
    noise_std = person.uniform(0.012, 0.035)
    noise = person.standard_normal((2, *image.shape), dtype=np.float32) * np.float32(noise_std)
    clean = window * np.clip(image * shading, 0, 1) ** gamma
    return np.asarray(np.clip(np.hypot(clean + noise[0], noise[1]), 0, 1), dtype=np.float32)


def finding_slices(subject: SimulatedSubject, count: int) -> list[int]:
    """Returns up to `count` slice indices, evenly spaced over the slices of the brain that carry the finding.

    A reference subject has no finding: its slices cover the heights searched for the disease.
    """
    low, high = (anatomy.to_voxel(0, 0, height)[0] for height in recipe_of(subject.disease).heights_mm)
    indices = np.arange(len(subject.mask))
    areas = subject.mask.sum(axis=(1, 2))
    worthwhile = areas > 0.15 * areas.max() if areas.any() else np.ones_like(indices, dtype=bool)
    candidates = indices[worthwhile & (indices >= low) & (indices <= high)]
    if len(candidates) > count:
        candidates = candidates[((np.arange(count) + 0.5) * len(candidates) / count).astype(int)]
    return [int(index) for index in candidates]


def slice_png(subject: SimulatedSubject, index: int) -> bytes:
    """Returns one axial slice as an 8-bit grey PNG."""
    return _png(np.rint(subject.volume[index] * 255).astype(np.uint8))


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def write_simulated(folder: Path, subjects_per_class: int = 10, slices_per_subject: int = 8) -> Path:
    """Writes slices, their masks (same name under ``masks/``) and, last of all, the manifest; returns its path.

    Diseases of one's own are left out: nobody knows what their findings look like. A folder without ``manifest.csv`` is
    not a finished cohort. Ten subjects per class leave two for each of the five folds; a finding that reaches over
    fewer slices gives fewer.
    """
    manifest = folder / "manifest.csv"
    manifest.unlink(missing_ok=True)
    classes = [(key, label) for key, disease in DISEASES.items() if not is_own(key) for label in disease.classes]
    people = [(*both, index) for both in classes for index in range(subjects_per_class)]
    anatomy.load_atlas()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        rows = list(chain.from_iterable(threads.map(partial(_write_subject, folder, slices_per_subject), people)))
    write_manifest(manifest, pd.DataFrame(rows))
    return manifest


def _write_subject(folder: Path, n_slices: int, person: tuple[str, str, int]) -> list[dict[str, str | int]]:
    """Writes the images of one (disease, label, index) and returns their manifest rows."""
    disease, label, index = person
    seed = int(np.random.SeedSequence([0, _code(disease, label), index]).generate_state(1)[0])
    subject = simulate_subject(disease, label, seed)
    is_shared = sum(label in other.classes for other in DISEASES.values()) > 1  # while a group is one subject
    group = f"sim-{disease}-{label}-{index:03d}" if is_shared else f"sim-{label}-{index:03d}"
    rows: list[dict[str, str | int]] = []
    for number in finding_slices(subject, n_slices):
        path = Path(disease, label, f"{group}_{number:02d}.png")
        mask = subject.mask[number]
        for target, content in ((path, slice_png(subject, number)), ("masks" / path, _png(mask * np.uint8(255)))):
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            (folder / target).write_bytes(content)
        rows.append(
            {
                "path": path.as_posix(),
                "cohort": COHORT,
                "disease": disease,
                "label": label,
                "group": group,
                "slice": number,
                "contrast": subject.contrast,
                "fold": index % N_FOLDS,
                "use": "train",
                "box_xywh": _box_xywh(mask) if DISEASES[disease].is_focal else "",
            }
        )
    return rows


def _box_xywh(mask: np.ndarray) -> str:
    """Returns the bounding box of a mask (H, W) as ``centre-x centre-y width height`` in fractions; "" without one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return ""
    (top, bottom), (left, right) = (rows[0], rows[-1] + 1), (columns[0], columns[-1] + 1)
    height, width = mask.shape
    box = ((left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height)
    return " ".join(f"{part:.4f}" for part in box)


def _code(disease: str, label: str) -> int:
    """Returns a number for a class that is the same in every process and for every order of the classes."""
    return zlib.crc32(f"{disease}/{label}".encode())
