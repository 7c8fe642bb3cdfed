"""Draws the thumbnails of the simulated patients again: ``python -m tests.harness.thumbnails``."""

import io

import numpy as np
from PIL import Image

from sslmri.cohorts.patients import PATIENTS, make_patient
from sslmri.dashboard.screening.start import THUMBNAILS
from sslmri.scans.scan import Scan

_SIDE = 112  # pixels


def thumbnail_of(scan: Scan, mask: np.ndarray) -> bytes:
    """Returns the slice in which the lesion is largest, else the middle one, as a small PNG."""
    areas = mask.sum(axis=(1, 2))
    index = int(areas.argmax()) if areas.any() else len(mask) // 2
    image = Image.fromarray(np.rint(np.clip(scan.voxels[index], 0, 255)).astype(np.uint8))
    buffer = io.BytesIO()
    image.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS).save(buffer, format="PNG")
    return buffer.getvalue()


def main() -> None:
    """Draws all thumbnails again."""
    THUMBNAILS.mkdir(exist_ok=True)
    for key in PATIENTS:
        (THUMBNAILS / f"{key}.png").write_bytes(thumbnail_of(*make_patient(key)))


if __name__ == "__main__":
    main()
