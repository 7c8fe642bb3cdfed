"""Whether saliency maps point at annotated lesions: the pointing game and its energy, against a random point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.regions import has_region, read_region
from sslmri.cohorts.splits import LOCALISATION_USE
from sslmri.evidence.intervals import rate_of
from sslmri.models.metrics import Estimate, Localisation, PointingGame, RandomHeads, RandomPoint
from sslmri.scans.slices import Preparation, head_mask, to_slices


@dataclass(frozen=True)
class Target:
    """A prepared slice with an annotated lesion.

    Attributes:
        record: the image it comes from.
        slice_: (H, W) uint8, as the encoder sees it.
        region: (H, W) bool, the lesion.
        head: (H, W) bool, the patient's head.
    """

    record: Record
    slice_: np.ndarray
    region: np.ndarray
    head: np.ndarray


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
    slice_ = to_slices(scan, preparation)[0]
    return Target(record, slice_, region, head_mask(slice_)) if region.any() else None


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


def measure_maps(
    targets: Sequence[Target],
    predicted: np.ndarray,
    true: np.ndarray,
    hits: np.ndarray,
    correlations: np.ndarray,
    n_left_out: int,
) -> Localisation:
    """Returns where the maps of a classifier point, next to a random point and to classifiers with random weights.

    A map that looks alike whatever the weights are says nothing of the classifier (Adebayo et al. 2018,
    arXiv:1810.03292, section 4).

    Args:
        targets: the N slices.
        predicted: (N, H, W), the maps of the predicted class, at the shape of the slices.
        true: (N, H, W), those of the true class.
        hits: (N, R) bool, whether the map of the true class by each of R random classifiers points at the lesion.
        correlations: (N, R), rank correlations of these maps with that of the trained one.
        n_left_out: slices that could not be measured.
    """
    groups = np.array([target.record.group_key for target in targets])
    in_head = [float(t.region[t.head].mean()) if t.head.any() else 0.0 for t in targets]
    point = RandomPoint(float(np.mean([t.region.mean() for t in targets])), float(np.mean(in_head)))
    of_random, alike = (rate_of(values.mean(axis=1), groups).rate for values in (hits, correlations))
    game = _pointing_game(targets, true, groups)
    return Localisation(
        n_slices=len(targets),
        n_groups=len(set(groups.tolist())),
        n_left_out=n_left_out,
        random_point=point,
        predicted=_pointing_game(targets, predicted, groups),
        true=game,
        random_head=RandomHeads(hits.shape[1], of_random, alike),
        messages=tuple(_messages(game.pointing, point.head, of_random)),
    )


def _pointing_game(targets: Sequence[Target], maps: np.ndarray, groups: np.ndarray) -> PointingGame:
    """Returns how often maps (N, H, W) point at the lesion, and their energy in it."""
    pairs = list(zip(maps, (target.region for target in targets), strict=True))
    return PointingGame(
        pointing=rate_of(np.array([points_inside(*pair) for pair in pairs]), groups).rate,
        energy=rate_of(np.array([energy_inside(*pair) for pair in pairs]), groups).rate,
        n_flat=sum(bool(np.ptp(map_) == 0) for map_ in maps),
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
