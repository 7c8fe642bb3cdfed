"""Whether the maps of a head point at the finding: the pointing game and its energy, beside a random point."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.regions import has_region, read_region
from sslmri.evidence.shortcuts import mean_figure
from sslmri.scans.slices import Preparation, head_mask, to_slices

LOCALISATION_USE = "localisation"


@dataclass(frozen=True)
class Target:
    """A prepared slice whose finding is known.

    Attributes:
        record: the picture it comes from.
        slice_: (H, W) uint8, as the encoder sees it.
        region: (H, W) bool, where the finding lies in it.
        head: (H, W) bool, where the head lies in it.
    """

    record: Record
    slice_: np.ndarray
    region: np.ndarray
    head: np.ndarray


def localisable(records: Sequence[Record]) -> list[Record]:
    """Returns the records of a disease with a box or a mask: those of the test side, and those for localisation only.

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
    """Returns a record's prepared slice with its finding, or None where the finding is smaller than a pixel of it.

    Raises:
        ManifestError: the picture has several slices, or its mask another size.
        ScanError: the picture or its mask cannot be read.
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
    """Returns the share of a map's sum that lies in the region, both (H, W); 0 for an empty map.

    The energy-based pointing game of Wang et al. 2020, arXiv:1910.01279, section 4.3.
    """
    total = float(map_.sum())
    return float(map_[region].sum()) / total if total > 0 else 0.0


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Returns Spearman's correlation of two maps (h, w), 0 where one of them is flat."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(first.ravel()), rankdata(second.ravel()))[0, 1])


def game_metrics(targets: Sequence[Target], maps: np.ndarray) -> dict[str, Any]:
    """Returns how often maps (N, H, W), at the shape of the slices, point at the finding, and their energy in it."""
    groups = _groups(targets)
    pairs = list(zip(maps, (target.region for target in targets), strict=True))
    return {
        "pointing": mean_figure(np.array([points_inside(*pair) for pair in pairs], dtype=np.float64), groups),
        "energy": mean_figure(np.array([energy_inside(*pair) for pair in pairs]), groups),
        "n_flat": sum(bool(np.ptp(map_) == 0) for map_ in maps),
    }


def random_point(targets: Sequence[Target]) -> dict[str, float]:
    """Returns how often a random point hits: the mean share of the finding in the slice, and in its head."""
    in_head = [float(t.region[t.head].mean()) if t.head.any() else 0.0 for t in targets]
    return {"slice": float(np.mean([t.region.mean() for t in targets])), "head": float(np.mean(in_head))}


def random_head_metrics(targets: Sequence[Target], hits: np.ndarray, correlations: np.ndarray) -> dict[str, Any]:
    """Returns what heads with random weights do on the same slices, as means over heads with intervals over groups.

    A map that looks alike whatever the head's weights are says nothing of the head (Adebayo et al. 2018,
    arXiv:1810.03292, section 4).

    Args:
        targets: the N slices.
        hits: (N, R) bool, whether the map of each random head points at the finding.
        correlations: (N, R) rank correlations with the map of the true head.
    """
    groups = _groups(targets)
    return {
        "n_heads": hits.shape[1],
        "pointing": mean_figure(hits.mean(axis=1), groups),
        "rank_correlation": mean_figure(correlations.mean(axis=1), groups),
    }


def localisation_messages(found: Mapping[str, Any]) -> list[str]:
    """Returns in sentences what the pointing game of the true class says beside a random point and random heads."""
    own, chance, random = found["true"]["pointing"], found["random_point"]["head"], found["random_head"]["pointing"]
    if own["value"] is None:
        return ["Whether the maps point at the finding cannot be told from so few test groups."]
    figure = f"{own['value']:.0%} of slices ({own['low']:.0%} to {own['high']:.0%})"
    sentences = [
        f"The map of the true class points inside the finding in {figure}, a random point of the head in {chance:.0%}: "
        + ("it finds the finding." if own["low"] > chance else "it points no better than chance.")
    ]
    if random["value"] >= own["low"] > chance:
        sentences.append(
            f"Heads with random weights point inside in {random['value']:.0%}, no less often than the true head may: "
            "where the map points is the encoder's doing, not the head's."
        )
    return sentences


def _groups(targets: Sequence[Target]) -> np.ndarray:
    return np.array([target.record.group_key for target in targets])
