"""Figures of a part of a disease's question: which type it is, and the later stages against none."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sslmri.diseases import Disease
from sslmri.evidence.intervals import disease_shortage, interval
from sslmri.evidence.metrics import ClassFigures, compute_metrics
from sslmri.evidence.ranking import aurocs
from sslmri.evidence.sample import N_RESAMPLES, Sample, draw_sample

Cases = tuple[np.ndarray, np.ndarray, np.ndarray]  # truth (N,), probabilities (N, C), groups (N,)
_FIRST_LATER = 2  # the stage after the first: the first is the hardest to tell from none, and left out


def by_label(labels: Sequence[str], figures: Sequence[ClassFigures]) -> dict[str, ClassFigures]:
    """Returns the figures of each class by its key."""
    return dict(zip(labels, figures, strict=True))


def baseline_metrics(cases: Cases) -> dict[str, float | None]:
    """Returns a floor's figures, without intervals: it is a bar to clear."""
    figures = compute_metrics(*cases, n_resamples=1)
    return {
        "accuracy": figures["accuracy"]["raw"],
        "balanced_accuracy": figures["balanced_accuracy"]["raw"],
        "auroc": figures["auroc"]["raw"],
        "subject_accuracy": figures["subject"]["accuracy"]["raw"],
        "subject_auroc": figures["subject"]["auroc"]["raw"],
    }


def type_metrics(disease: Disease, cases: Cases, floors: Mapping[str, Cases], seed: int) -> dict[str, Any] | None:
    """Returns the figures of the types: the slices with disease, their probabilities shared out among the types.

    Stages and diseases of two classes have none.
    """
    labels = disease.classes[1:]
    if len(labels) < 2 or disease.is_ordinal:
        return None
    figures = compute_metrics(*_types_only(*cases), seed=seed)
    found = {name: baseline_metrics(_types_only(*floor)) for name, floor in floors.items()}
    bars = ("accuracy", "balanced_accuracy")
    kept = ("n_slices", "n_groups", *bars, "confusion")
    return {
        "classes": list(labels),
        **{key: value for key, value in figures.items() if key in kept},
        "per_class": by_label(labels, figures["per_class"]),
        "floors": {name: {key: floor[key] for key in bars} for name, floor in found.items()},
    }


def stage_metrics(disease: Disease, cases: Cases, floors: Mapping[str, Cases], seed: int) -> dict[str, Any] | None:
    """Returns the AUROC of the later stages (from the second on) against none, the first stage left out.

    The score is the share of the later stages in what is given to them and to none: with a true posterior this is
    the order of the likelihood ratio, which no other score beats. Diseases without stages have none.
    """
    labels = disease.classes[_FIRST_LATER:]
    if not disease.is_ordinal or not labels:
        return None
    sample = _later_or_none(draw_sample(*cases, N_RESAMPLES, seed))
    bars = {name: _later_or_none(draw_sample(*floor, 1, seed)) for name, floor in floors.items()}
    reason = disease_shortage(sample.labels)
    return {
        "classes": list(labels),
        "left_out": disease.classes[1],
        "n_groups": len(sample.labels),
        "n_slices": int(sample.sizes.sum()),
        "auroc": interval(_later_aurocs(sample), reason),
        "subject_auroc": interval(_later_aurocs(sample.by_group()), reason),
        "floors": {
            name: {
                "auroc": interval(_later_aurocs(bar))["raw"],
                "subject_auroc": interval(_later_aurocs(bar.by_group()))["raw"],
            }
            for name, bar in bars.items()
        },
    }


def _later_or_none(sample: Sample) -> Sample:
    return sample.only((sample.labels == 0) | (sample.labels >= _FIRST_LATER))


def _later_aurocs(sample: Sample) -> np.ndarray:
    none, later = sample.probabilities[:, 0], sample.probabilities[:, _FIRST_LATER:].sum(axis=1)
    given = none + later
    # what gives all to the stage left out says nothing of the others
    score = np.where(given > 0, later / np.where(given > 0, given, 1), 0.5)
    return aurocs(sample, sample.labels != 0, score)


def _types_only(truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray) -> Cases:
    """Returns the slices with disease, their probabilities shared out among the classes but the reference.

    A floor that gives all probability to the reference class says nothing of the type: each type gets the same,
    and its accuracy counts the first type.
    """
    is_disease = truth != 0
    kept = probabilities[is_disease, 1:]
    sums = kept.sum(axis=1, keepdims=True)
    shared = np.where(sums > 0, kept / np.where(sums > 0, sums, 1), 1 / kept.shape[1])
    return truth[is_disease] - 1, shared, groups[is_disease]
