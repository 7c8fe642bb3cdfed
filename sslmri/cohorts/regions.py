"""Where a finding lies in an image, from a box in the manifest or a mask next to the images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sslmri.cohorts.manifest import Box, Record
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError
from sslmri.scans import read_scan
from sslmri.scans.scan import Scan
from sslmri.scans.slices import Preparation, region_in_slice

MASKS = "masks"
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def has_region(record: Record) -> bool:
    """Returns whether a record shows a finding whose location is known."""
    if record.disease is None or record.label == DISEASES[record.disease].reference:
        return False
    return record.box is not None or find_mask(record) is not None


def read_regions(records: Sequence[Record], preparation: Preparation) -> dict[Path, np.ndarray]:
    """Returns where the finding lies in each prepared slice, bool (H, W) by path, for the records with one.

    Raises:
        ManifestError: an image has several slices, or its mask another size.
        ScanError: an image or its mask cannot be read.
    """
    return {record.path: read_region(record, preparation)[1] for record in records if has_region(record)}


def read_region(record: Record, preparation: Preparation) -> tuple[Scan, np.ndarray]:
    """Returns a record's image, and where its finding lies in its prepared slice: bool (H, W).

    Raises:
        ManifestError: the image has several slices, or its mask another size.
        ScanError: the image or its mask cannot be read.
    """
    scan = _read(record.path)
    return scan, region_in_slice(_region(record, scan.voxels[0].shape), preparation)


def find_mask(record: Record) -> Path | None:
    """Returns the mask of a record: an image of the same name, whatever its format, in a folder ``masks``.

    The folder lies next to the image's own, or next to the manifest with the image's folders in it.
    """
    name = Path(record.name)
    folders = [record.path.parent.parent / MASKS]
    if not name.is_absolute():
        folders.append(record.path.parents[len(name.parts) - 1] / MASKS / name.parent)
    suffixes = dict.fromkeys((name.suffix, *_SUFFIXES))
    candidates = (folder / f"{name.stem}{suffix}" for folder in folders for suffix in suffixes)
    return next((path for path in candidates if path.is_file()), None)


def _read(path: Path) -> Scan:
    """Returns an image of one slice."""
    scan = read_scan(path.read_bytes(), path.name)
    if len(scan.voxels) != 1:
        raise ManifestError(
            f"Expected one slice in {path.name}, which has a box or a mask, got {len(scan.voxels)}: export the slice "
            "that they belong to."
        )
    return scan


def _region(record: Record, shape: tuple[int, ...]) -> np.ndarray:
    """Returns where the finding lies in the image, from its box or else from its mask: bool (H, W)."""
    if record.box is not None:
        return box_region(record.box, (shape[0], shape[1]))
    path = find_mask(record)
    mask = np.zeros(shape) if path is None else _read(path).voxels[0]
    if mask.shape != shape:
        raise ManifestError(
            f"Expected a mask of {shape[1]} x {shape[0]} pixels for {record.name}, got {mask.shape[1]} x "
            f"{mask.shape[0]}: export it at the size of its image."
        )
    return (mask > 0) & (mask > mask.max() / 2)


def box_region(box: Box, shape: tuple[int, int]) -> np.ndarray:
    """Returns the pixels of an image (H, W) whose centres lie in a box of fractions: bool (H, W)."""
    x, y, width, height = box
    rows, columns = ((np.arange(side) + 0.5) / side for side in shape)
    return (np.abs(rows - y) <= height / 2)[:, None] & (np.abs(columns - x) <= width / 2)
