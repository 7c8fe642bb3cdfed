"""Images changed as no reader would notice: the answer of the head of their disease has to stay the same."""

import io
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from sslmri.cohorts.manifest import Record, read_manifest
from sslmri.cohorts.splits import assign_splits
from sslmri.project import DEFAULT_MODEL
from sslmri.scans import read_scan
from sslmri.scans.slices import prepare_scan
from sslmri.screening.outcome import Finding
from sslmri.screening.screener import Screener
from tests.soak.reproducible import DATA
from tests.soak.result import Row, row

MAX_SHARE = 0.02
KNOWN = {"alzheimers": 0.10, "tumours": 0.03}  # shipped heads that miss it, told in README, and how far
_SIDES = ("validation", "test")
_HAZARD = "twelve harmless changes of real slices: the top class of a classifier changes in over 2 % of them"


def _rotated(degrees: float) -> Callable[[Image.Image], Image.Image]:
    return lambda grey: grey.rotate(degrees, Image.Resampling.BILINEAR)


def _scaled(factor: float) -> Callable[[Image.Image], Image.Image]:
    def scale(grey: Image.Image) -> Image.Image:
        """Returns the image scaled about its middle, at its own size."""
        x, y = ((side - side / factor) / 2 for side in grey.size)
        return grey.transform(
            grey.size, Image.Transform.AFFINE, (1 / factor, 0, x, 0, 1 / factor, y), Image.Resampling.BILINEAR
        )

    return scale


def _jpeg(grey: Image.Image) -> Image.Image:
    file = io.BytesIO()
    grey.save(file, "JPEG", quality=90)
    return Image.open(file).convert("L")


def _noisy(grey: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 2, (grey.height, grey.width))
    return Image.fromarray(np.rint(np.clip(np.asarray(grey) + noise, 0, 255)).astype(np.uint8))


TRANSFORMS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "rotated by -2 degrees": _rotated(-2),
    "rotated by +2 degrees": _rotated(2),
    "moved by 2 pixels": lambda grey: grey.transform(grey.size, Image.Transform.AFFINE, (1, 0, -2, 0, 1, -2)),
    "scaled to 97 %": _scaled(0.97),
    "scaled to 103 %": _scaled(1.03),
    "10 % brighter": lambda grey: ImageEnhance.Brightness(grey).enhance(1.1),
    "10 % less contrast": lambda grey: ImageEnhance.Contrast(grey).enhance(0.9),
    "gamma 0.9": lambda grey: grey.point([round(255 * (level / 255) ** 0.9) for level in range(256)]),
    "JPEG of quality 90": _jpeg,
    "noise of 2 grey levels": _noisy,
    "4 black pixels around": lambda grey: ImageOps.expand(grey, 4),
    "1.5 times the size": lambda grey: grey.resize(
        (round(1.5 * grey.width), round(1.5 * grey.height)), Image.Resampling.BICUBIC
    ),
}


@dataclass(frozen=True)
class Trial:
    """One change of one slice.

    Attributes:
        disease, transform, slice: what was tried.
        is_same: whether the top class stayed.
        is_honest: whether the top class before the change is in the prediction set after it.
    """

    disease: str
    transform: str
    slice: str
    is_same: bool
    is_honest: bool


def harmless_changes(n_slices: int = 20, model: Path = DEFAULT_MODEL, data: Path = DATA, seed: int = 0) -> Row:
    """Returns the row of slices that no head learned from, each screened as it is and with every change.

    The head of the slice's own disease is asked, whether or not it may speak of that slice.

    Args:
        n_slices: of each disease at most, evenly from the validation and test groups.
        model: folder of the model.
        data: manifest of the slices.
        seed: of the choice of slices.
    """
    if not data.exists():
        return row(_HAZARD, 0, [], "not tried: the real data is not on this machine")
    tried = list(changes(n_slices, model, data, seed))
    by_disease: dict[str, list[Trial]] = defaultdict(list)
    for own in tried:
        by_disease[own.disease].append(own)
    shares = {disease: 1 - _share(trials, "is_same") for disease, trials in by_disease.items()}
    known = {disease for disease, share in shares.items() if share <= KNOWN.get(disease, 0)}
    changed = [own for own in tried if not own.is_same and shares[own.disease] > MAX_SHARE]
    faults = [f"{own.disease}{', known' * (own.disease in known)}, {own.transform}: {own.slice}" for own in changed]
    told = ", ".join(
        f"{disease} {shares[disease]:.1%} (still in the set {_share(trials, 'is_honest'):.1%})"
        for disease, trials in by_disease.items()
    )
    measured = f"top class changes in {1 - _share(tried, 'is_same'):.1%} of all, limit {MAX_SHARE:.0%}: {told}"
    return row(_HAZARD, len(tried), faults, measured, sum(own.disease in known for own in changed))


def changes(n_slices: int, model: Path, data: Path, seed: int) -> Iterator[Trial]:
    """Yields each change of each slice of each disease for which the model has a head."""
    screener = Screener.load(model)
    records = assign_splits(read_manifest(data))
    for disease in screener.card.heads:
        held_out = [
            record for side in _SIDES for record in records if (record.disease, record.split) == (disease, side)
        ]
        for record in spread(held_out, n_slices, seed):
            yield from _changes_of(screener, record, disease)


def spread(records: Sequence[Record], n_slices: int, seed: int) -> list[Record]:
    """Returns at most that many records: of each group one, then of each another, in an order of the seed."""
    shuffled = random.Random(seed).sample(records, len(records))
    rounds: dict[str, int] = defaultdict(int)
    placed = []
    for record in shuffled:
        placed.append((rounds[record.group_key], record))
        rounds[record.group_key] += 1
    return [record for _, record in sorted(placed, key=lambda own: own[0])][:n_slices]


def _changes_of(screener: Screener, record: Record, disease: str) -> Iterator[Trial]:
    voxels = read_scan(record.path.read_bytes(), record.name).voxels[0]
    grey = Image.fromarray(np.rint(np.clip(voxels, 0, 255)).astype(np.uint8))
    before, *after = _findings(screener, [grey, *(change(grey) for change in TRANSFORMS.values())], disease)
    for name, found in zip(TRANSFORMS, after, strict=True):
        is_same = found.top_class == before.top_class
        is_in_set = found.prediction_set is None or before.top_class in found.prediction_set
        yield Trial(disease, name, record.name, is_same, is_in_set)


def _findings(screener: Screener, pictures: Sequence[Image.Image], disease: str) -> list[Finding]:
    """Returns what the head of a disease finds in each image, all screened in one pass."""
    prepared = []
    for picture in pictures:
        file = io.BytesIO()
        picture.save(file, "PNG")
        scan = read_scan(file.getvalue(), "slice.png")
        prepared.append(prepare_scan(scan, screener.card.encoder.preparation))
    screenings = screener.screen_slices(prepared)
    return [screening.summary.findings[disease] for screening in screenings]


def _share(tried: Sequence[Trial], name: str) -> float:
    return sum(getattr(trial, name) for trial in tried) / max(1, len(tried))
