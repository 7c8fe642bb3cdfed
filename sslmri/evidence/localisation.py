"""Whether saliency maps point at annotated lesions: the pointing game and its energy, against a random point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.regions import has_region, read_region
from sslmri.cohorts.splits import LOCALISATION_USE
from sslmri.evidence.intervals import rate_of
from sslmri.models.metrics import Estimate, Localisation, PointingGame, RandomHeads, RandomPoint
from sslmri.scans.slices import Preparation, head_mask, to_slices


@dataclass(frozen=True)
class Target:
    """A prepared slice, (H, W) uint8 as the encoder sees it, with its annotated lesion, (H, W) bool."""

    record: Record
    slice_: np.ndarray
    region: np.ndarray


def localisable(records: Sequence[Record]) -> list[Record]:
    """Returns the records of a disease with a box or a mask: those of the test split, and those for localisation only.

    A record for localisation only is left out where its group is in training or validation.
    """
    seen = {record.group_key for record in records if record.split in ("train", "validation")}
    return [
        record
        for record in records
        if (record.split == "test" or (record.use == LOCALISATION_USE and record.group_key not in seen))
        and has_region(record)
    ]


def open_target(record: Record, preparation: Preparation) -> Target | None:
    """Returns a record's prepared slice with its lesion, or None where the lesion is smaller than a pixel of it.

    Raises:
        ManifestError: the image has several slices, or its mask another size.
        ScanError: the image or its mask cannot be read.
    """
    scan, region = read_region(record, preparation)
    return Target(record, to_slices(scan, preparation)[0], region) if region.any() else None


def points_inside(map_: np.ndarray, region: np.ndarray) -> bool:
    """Returns whether the highest value of a map lies in the region, both (H, W): the pointing game.

    Zhang et al. 2018, arXiv:1608.00507, section 4.1, without their tolerance of 15 pixels. A map without a highest
    value points nowhere.
    """
    return bool(region.flat[map_.argmax()]) if np.ptp(map_) > 0 else False


def energy_inside(map_: np.ndarray, region: np.ndarray) -> float:
    """Returns the fraction of a map's sum that lies in the region, both (H, W); 0 for an empty map.

    The energy-based pointing game of Wang et al. 2020, arXiv:1910.01279, section 4.3.
    """
    total = float(map_.sum())
    return float(map_[region].sum()) / total if total > 0 else 0.0


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Returns Spearman's correlation of two maps (h, w), 0 where one of them is flat."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def measure_slice(target: Target, predicted: np.ndarray, true: np.ndarray) -> dict[str, str | float]:
    """Returns where the maps of the predicted and of the true class point, both (H, W): a row for ``measure_maps``."""
    region, head = target.region, head_mask(target.slice_)
    measured: dict[str, str | float] = {
        "group": target.record.group_key,
        "region_of_slice": float(region.mean()),
        "region_of_head": float(region[head].mean()) if head.any() else 0.0,
    }
    for name, map_ in (("predicted", predicted), ("true", true)):
        measured |= {f"{name}_pointing": points_inside(map_, region), f"{name}_energy": energy_inside(map_, region)}
        measured |= {f"{name}_is_flat": bool(np.ptp(map_) == 0)}
    return measured


def measure_maps(slices: pd.DataFrame, n_random: int, n_left_out: int) -> Localisation:
    """Returns where the maps of a classifier point, next to a random point and to classifiers with random weights.

    A map that looks alike whatever the weights are says nothing of the classifier (Adebayo et al. 2018,
    arXiv:1810.03292, section 4).

    Each slice has a row of ``measure_slice``, with the means over the random classifiers of whether their map of the
    true class points at the lesion (``random_pointing``) and of its rank correlation with that of the trained one
    (``random_correlation``).
    """

    def rate(column: str) -> Estimate:
        return rate_of(slices[column].to_numpy(), slices["group"].to_numpy(dtype=str)).rate

    def game(name: str) -> PointingGame:
        return PointingGame(rate(f"{name}_pointing"), rate(f"{name}_energy"), int(slices[f"{name}_is_flat"].sum()))

    point = RandomPoint(float(slices["region_of_slice"].mean()), float(slices["region_of_head"].mean()))
    random = RandomHeads(n_random, rate("random_pointing"), rate("random_correlation"))
    true = game("true")
    return Localisation(
        n_slices=len(slices),
        n_groups=slices["group"].nunique(),
        n_left_out=n_left_out,
        random_point=point,
        predicted=game("predicted"),
        true=true,
        random_head=random,
        messages=tuple(_messages(true.pointing, point.head, random.pointing)),
    )


def _messages(model: Estimate, chance: float, random: Estimate) -> list[str]:
    """Returns in sentences what the pointing game of the true class says against a random point and random weights."""
    if model.value is None or model.low is None or random.value is None:
        return ["Too few test groups to say whether the maps point at the lesion."]
    messages = [
        f"The map of the true class peaks inside the lesion in {model} of slices, a random point of the head in "
        f"{chance:.2f}: " + ("it localises the lesion." if model.low > chance else "no better than chance.")
    ]
    if random.value >= model.low > chance:
        messages.append(
            f"Classifiers with random weights reach {random.value:.2f}, which the trained one does not exceed: where "
            "the map peaks is due to the encoder, not to the classifier."
        )
    return messages
