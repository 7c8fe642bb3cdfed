"""Images for the benchmarks: slices of a few simulated people, each shifted and lit in its own way."""

from pathlib import Path

import numpy as np
from PIL import Image

from sslmri.cohorts.simulated import finding_slices, simulate_subject

_PEOPLE = (
    ("tumours", "glioma"),
    ("alzheimers", "non_demented"),
    ("ms", "multiple_sclerosis"),
    ("parkinsons", "normal"),
)
_SLICES = 24  # of a person, at most


def write_images(folder: Path, count: int, size: int, suffix: str) -> list[Path]:
    """Writes that many square images of different content and returns their paths.

    Args:
        folder: made if missing.
        count: files to write.
        size: pixels a side.
        suffix: ``.jpg`` or ``.png``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = _slices(size, count)
    paths = [folder / f"{number:06d}{suffix}" for number in range(count)]
    for number, path in enumerate(paths):
        turn, slice_ = divmod(number, len(drawn))
        shift = (turn % 9 - 4, turn // 9 % 9 - 4)
        gain = 1 - 0.4 * (turn // 81) / (1 + count // (81 * len(drawn)))
        pixels = np.roll(drawn[slice_], shift, (0, 1)) * gain
        Image.fromarray(np.rint(pixels).astype(np.uint8)).save(path, quality=90)
    return paths


def _slices(size: int, count: int) -> list[np.ndarray]:
    """Returns up to ``count`` slices (size, size) float32, 0 to 255, of as few people as will do."""
    drawn: list[np.ndarray] = []
    for seed, both in enumerate(_PEOPLE):
        if len(drawn) < count:
            person = simulate_subject(*both, seed=seed, image_size=size)
            drawn += [person.volume[index] * 255 for index in finding_slices(person, _SLICES)]
    return drawn
