"""Where the map of a finding lies on the slices of a DICOM scan as they were acquired."""

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from sslmri.diseases import DISEASES
from sslmri.scans.slices import Preparation, head_mask, shown_box
from sslmri.screening.maps import carry_maps, covered, enlarge
from sslmri.screening.outcome import Finding, ScreeningArrays, ScreeningSummary

_FRAMES = "The scan is a multi-frame file: no segmentation of the maps was made."
_SEVERAL = "The files name a series each: no segmentation of the maps was made."
_UNPLACED = (
    "The slices have no positions in a frame of reference, or were shifted against each other: no segmentation of the "
    "maps was made."
)


@dataclass(frozen=True)
class Acquired:
    """The slices of a DICOM scan as they were acquired: its files, without pixels, and how they lie; see
    ``DicomHeaders``.
    """

    images: list[Dataset]
    origins: list[tuple[int, int]]
    axes: tuple[tuple[float, float], ...] | None

    @property
    def has_frames(self) -> bool:
        """Whether a file holds several slices."""
        return len(self.origins) > len(self.images)

    @property
    def fault(self) -> str | None:
        """Why maps cannot be placed on the slices, None where they can."""
        is_placed = all(image.get("ImagePositionPatient") and image.get("FrameOfReferenceUID") for image in self.images)
        if self.has_frames:
            return _FRAMES
        if len({image.SeriesInstanceUID for image in self.images}) > 1:
            return _SEVERAL
        return None if self.axes and is_placed else _UNPLACED

    def key_origin(self, summary: ScreeningSummary, finding: Finding) -> tuple[int, int] | None:
        """Returns the origin of the key slice of a finding, None where no such slice was acquired.

        Slices of an aligned brain and axial ones of a sagittal or coronal series were not.
        """
        if finding.is_aligned or len(self.origins) != summary.n_file_slices:
            return None
        axis, sign = self.axes[0] if self.axes else (0, 1)
        index = finding.key_slice - 1 if sign > 0 else len(self.origins) - finding.key_slice
        return self.origins[index] if axis == 0 else None


def mapped(summary: ScreeningSummary) -> list[str]:
    """Returns the diseases whose map is exported: its class is not the reference, and it shows something notable."""
    found = summary.assessed.items()
    return [key for key, one in found if one.top_class != DISEASES[key].reference and one.coverage is not None]


def covered_slices(
    acquired: Acquired, summary: ScreeningSummary, arrays: ScreeningArrays, disease: str, preparation: Preparation
) -> np.ndarray:
    """Returns what the map of the top class covers in the key slice, by the rule of ``coverage``.

    Args:
        acquired: the scan, without a fault.
        summary, arrays: its screening.
        disease: one of ``mapped``.
        preparation: of the model.

    Returns:
        (slice, row, column) bool, of all slices as acquired.
    """
    from nibabel import orientations

    axes, image = np.array(acquired.axes), acquired.images[0]
    order = np.argsort(axes[:, 0])  # by axis of the scan, which axis of the slices as acquired it was
    depth, height, width = (int((len(acquired.origins), image.Rows, image.Columns)[i]) for i in order)
    finding = summary.findings[disease]
    own, index = arrays.of(finding), summary.key_index(disease)
    top = list(finding.probabilities).index(finding.top_class)
    slice_ = own.slices[index]
    large = enlarge(own.saliency[disease][index, top], (slice_.shape[0], slice_.shape[1]))
    region = covered(large, head_mask(slice_))
    if own.volume is not None and own.to_scan is not None:
        mask = _carried(region, index, own.volume.shape, own.to_scan, (depth, height, width))
    else:
        mask = np.zeros((depth, height, width), bool)
        box = shown_box(mask[0].astype(np.float32), summary.spacing_mm, preparation)
        mask[finding.key_slice - 1] = _in_slice(region, (height, width), box)
    back: np.ndarray = orientations.apply_orientation(mask, np.stack([order, axes[order, 1]], axis=1))
    return back


def _in_slice(region: np.ndarray, shape: tuple[int, int], box: tuple[float, float, float, float]) -> np.ndarray:
    """Returns a region of a prepared slice, bool (h, w), on the slice of the scan that it shows; see ``shown_box``."""
    rows, columns = (
        (((np.arange(n) + 0.5) / n - start) / length * cells).astype(int).clip(0, cells - 1)
        for n, start, length, cells in zip(shape, box[:2], box[2:], region.shape, strict=True)
    )
    return region[np.ix_(rows, columns)]


def _carried(
    region: np.ndarray, index: int, aligned: tuple[int, ...], to_scan: np.ndarray, shape: tuple[int, int, int]
) -> np.ndarray:
    """Returns a region of an aligned slice, bool (h, w), on the scan, (D, H, W): at least as thick as its slices."""
    thick = int(0.5 / abs(to_scan[0, 0]))
    maps = np.zeros((aligned[0], *region.shape), np.float32)
    maps[max(0, index - thick) : index + thick + 1] = region
    mask, side = np.zeros(shape, bool), max(shape[1:])
    rows, columns = (np.arange(n) * side // n for n in shape[1:])
    for number, cells in carry_maps(maps, aligned, to_scan, shape, side).items():
        mask[number] = cells[np.ix_(rows, columns)] >= 0.5
    return mask
