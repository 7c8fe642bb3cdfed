"""Label-efficiency curves: what each encoder reaches by labels per class, compared on the same resamples of groups."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sslmri.cohorts.registry import MIN_GROUPS
from sslmri.diseases import Disease, class_title
from sslmri.evidence.intervals import disease_shortage, estimate, shortage
from sslmri.evidence.sample import draw_sample
from sslmri.evidence.subsets import measures_of
from sslmri.models.evidence import CurvePoint, Difference

SIMCLR, RANDOM, PIXELS = "simclr", "random", "pixels"
ENCODER_TITLES = {
    SIMCLR: "SimCLR encoder",
    RANDOM: "random encoder",
    PIXELS: "pixels, PCA + logistic regression",
}
PROBE, FINETUNE, BASELINE = "linear-probe", "fine-tune", "baseline"
MEASURES = {
    "group_auroc": "AUROC of any disease, {unit}s",
    "auroc": "AUROC of any disease, slices",
    "balanced_accuracy": "Balanced accuracy, slices",
    "group_balanced_accuracy": "Balanced accuracy, {unit}s",
    "types_balanced_accuracy": "Balanced accuracy among the types, slices",
}


class Fit(NamedTuple):
    """One fit: an encoder (or the pixels), how it was trained, labels per class, seed."""

    encoder: str
    regime: str
    labels: int
    seed: int


def compare_fits(
    disease: Disease, truth: np.ndarray, groups: np.ndarray, fits: Mapping[Fit, np.ndarray]
) -> tuple[tuple[CurvePoint, ...], tuple[Difference, ...]]:
    """Returns the points of all curves, and how far the SimCLR encoder is above the others at each of them.

    A point is the mean over seeds of a measure m, ``1/S sum_s m(p_s)``; a difference is
    ``1/S sum_s (m(p_s) - m(q_s))`` of the fits p and q on the same labelled slices. Both are taken within each
    resample, and their intervals are the 2.5th and 97.5th percentiles over the resamples (Efron and Tibshirani 1993,
    chapter 13): intervals hold what other test groups would change; what other labels would, the ``seeds`` show.

    Of the test slices there are class indices and groups, both (N,), and the probabilities (N, C) of each fit.

    Raises:
        ManifestError: a group with two classes.
        ModelError: probabilities that are not finite.
    """
    samples = {fit: draw_sample(truth, probabilities, groups) for fit, probabilities in fits.items()}
    measures = measures_of(disease)
    names = [name for name in MEASURES if name in measures]
    measured = {fit: {name: measures[name](sample) for name in names} for fit, sample in samples.items()}
    group_labels = next(iter(samples.values())).labels
    by_point: dict[tuple[str, str, int], list[Fit]] = {}
    for fit in sorted(measured):
        by_point.setdefault(fit[:3], []).append(fit)
    curves: list[CurvePoint] = []
    differences: list[Difference] = []
    for (encoder, regime, labels), seeds in by_point.items():
        points = _points(group_labels, [measured[fit] for fit in seeds])
        curves += [CurvePoint(encoder=encoder, regime=regime, labels=labels, **point) for point in points]
        for other, other_regime in ((RANDOM, regime), (PIXELS, BASELINE)) if encoder == SIMCLR else ():
            rivals = [fit._replace(encoder=other, regime=other_regime) for fit in seeds]
            if all(rival in measured for rival in rivals):
                gains = [
                    {name: measured[fit][name] - measured[rival][name] for name in names}
                    for fit, rival in zip(seeds, rivals, strict=True)
                ]
                points = _points(group_labels, gains)
                differences += [Difference(against=other, regime=regime, labels=labels, **point) for point in points]
    return tuple(curves), tuple(differences)


def small_classes_note(disease: Disease, truth: np.ndarray, groups: np.ndarray) -> list[str]:
    """Returns a sentence on the classes with too few test groups, or none; arguments as of ``compare_fits``."""
    counts = [len(np.unique(groups[truth == index])) for index in range(len(disease.classes))]
    small = [f"{class_title(label)} ({n})" for label, n in zip(disease.classes, counts, strict=True) if n < MIN_GROUPS]
    if not small:
        return []
    return [
        f"Fewer than {MIN_GROUPS} test groups: {', '.join(small)}. Intervals of balanced accuracies are too narrow."
    ]


def _points(group_labels: np.ndarray, by_seed: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Returns the fields of one point per measure, from its values (1 + B,) for each seed, where they exist."""
    stacked = {name: np.stack([measures[name] for measures in by_seed]) for name in by_seed[0]}
    of_types = shortage(int(np.count_nonzero(group_labels)), " with disease")
    of_disease = disease_shortage(group_labels)
    return [
        {
            "measure": name,
            "estimate": estimate(values.mean(axis=0), of_types if name.startswith("types") else of_disease),
            "seeds": tuple(values[:, 0].tolist()),
        }
        for name, values in stacked.items()
        if np.isfinite(values).all()
    ]
