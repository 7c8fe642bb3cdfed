"""Metrics of a part of a disease's question: which type it is, and the later stages against none."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from sslmri.diseases import Disease
from sslmri.evidence.confusion import accuracy, balanced_accuracy, confusions
from sslmri.evidence.intervals import disease_shortage, estimate
from sslmri.evidence.metrics import case_metrics
from sslmri.evidence.ranking import aurocs
from sslmri.evidence.sample import Sample, draw_weights
from sslmri.models.metrics import BaselineMetrics, Gain, LaterStages, OlderMetrics, TypeMetrics

OLDER_FROM = 60  # years: the healthy young of a cohort are told from the ill by their age alone
_FIRST_LATER = 2  # the stage after the first: the first is the hardest to tell from none, and left out


def type_metrics(disease: Disease, sample: Sample) -> TypeMetrics | None:
    """Returns the metrics among the types: the slices with disease, with probabilities normalised over the types.

    Stages and diseases of two classes have no types.
    """
    if not has_types(disease):
        return None
    metrics = case_metrics(types_only(sample), disease.classes[1:])
    return TypeMetrics(
        metrics.n_cases,
        metrics.n_groups,
        metrics.accuracy,
        metrics.balanced_accuracy,
        metrics.confusion,
        metrics.per_class,
    )


def stage_metrics(disease: Disease, sample: Sample) -> LaterStages | None:
    """Returns the AUROC of the later stages (from the second on) against none, the first stage left out.

    The score is the part of the later stages in what is given to them and to none: with a true posterior this is
    the order of the likelihood ratio, which no other score beats. Diseases without stages have no later ones.
    """
    if not _has_later_stages(disease):
        return None
    chosen = _later_or_none(sample)
    reason = disease_shortage(chosen.labels)
    return LaterStages(
        classes=disease.classes[_FIRST_LATER:],
        n_slices=int(chosen.sizes.sum()),
        n_groups=len(chosen.labels),
        auroc=estimate(_later_aurocs(chosen), reason),
        group_auroc=estimate(_later_aurocs(chosen.by_group()), reason),
    )


def older_metrics(sample: Sample, is_older: np.ndarray | None) -> OlderMetrics | None:
    """Returns the AUROC of any disease in the groups of ``OLDER_FROM`` years and over, (G,) bool; None without ages."""
    if is_older is None:
        return None
    chosen = sample.only(is_older)
    chosen = replace(chosen, weights=draw_weights(chosen.labels))  # each resample needs groups of both kinds
    auroc = estimate(any_disease_aurocs(chosen.by_group()), disease_shortage(chosen.labels))
    return OlderMetrics(OLDER_FROM, len(chosen.labels), int(chosen.sizes.sum()), auroc)


def baseline_metrics(disease: Disease, sample: Sample, is_older: np.ndarray | None = None) -> BaselineMetrics:
    """Returns every metric of a baseline that the disease has, without intervals: they are there to be exceeded."""
    counts, grouped = confusions(sample), sample.by_group()
    types = confusions(types_only(sample)) if has_types(disease) else None
    later = _later_or_none(sample) if _has_later_stages(disease) else None
    return BaselineMetrics(
        accuracy=_raw(accuracy(counts)),
        balanced_accuracy=_raw(balanced_accuracy(counts)),
        auroc=_raw(any_disease_aurocs(sample)),
        group_accuracy=_raw(accuracy(confusions(grouped))),
        group_auroc=_raw(any_disease_aurocs(grouped)),
        types_accuracy=None if types is None else _raw(accuracy(types)),
        types_balanced_accuracy=None if types is None else _raw(balanced_accuracy(types)),
        later_stages_auroc=None if later is None else _raw(_later_aurocs(later)),
        group_later_stages_auroc=None if later is None else _raw(_later_aurocs(later.by_group())),
        older_group_auroc=None if is_older is None else _raw(any_disease_aurocs(grouped.only(is_older))),
    )


def gains(disease: Disease, sample: Sample, baselines: Mapping[str, Sample]) -> tuple[Gain, ...]:
    """Returns the difference to the best baseline of each measure, both drawn by the same resamples."""
    measures: dict[str, Callable[[Sample], np.ndarray]] = {"group_auroc": lambda s: any_disease_aurocs(s.by_group())}
    if has_types(disease):
        measures["types_accuracy"] = lambda s: accuracy(confusions(types_only(s)))
    found = []
    for name, measure in measures.items():
        values = {key: measure(baseline) for key, baseline in baselines.items()}
        known = {key: value for key, value in values.items() if not np.isnan(value[0])}
        if known:
            best = max(known, key=lambda key: known[key][0])
            difference = estimate(measure(sample) - known[best], disease_shortage(sample.labels))
            found.append(Gain(name, best, difference))
    return tuple(found)


def any_disease_aurocs(sample: Sample) -> np.ndarray:
    """Returns the AUROC of any disease against class 0, as it is and in each resample: (1 + B,)."""
    return aurocs(sample, sample.labels != 0, 1 - sample.probabilities[:, 0])


def types_only(sample: Sample) -> Sample:
    """Returns the slices with disease, their probabilities normalised over the classes but the reference.

    What gives all probability to the reference class says nothing of the type: each type gets the same, and the first
    one is predicted.
    """
    shown = sample.only(sample.labels > 0)
    kept = shown.probabilities[:, 1:]
    sums = kept.sum(axis=1, keepdims=True)
    normalised = np.where(sums > 0, kept / np.where(sums > 0, sums, 1), 1 / kept.shape[1])
    return replace(shown, probabilities=normalised, labels=shown.labels - 1, by_groups=None)


def has_types(disease: Disease) -> bool:
    """Returns whether the classes with disease are types, not stages and not one alone."""
    return len(disease.classes) > _FIRST_LATER and not disease.is_ordinal


def _has_later_stages(disease: Disease) -> bool:
    return len(disease.classes) > _FIRST_LATER and disease.is_ordinal


def _later_or_none(sample: Sample) -> Sample:
    return sample.only((sample.labels == 0) | (sample.labels >= _FIRST_LATER))


def _later_aurocs(sample: Sample) -> np.ndarray:
    none, later = sample.probabilities[:, 0], sample.probabilities[:, _FIRST_LATER:].sum(axis=1)
    given = none + later
    # what gives all to the stage left out says nothing of the others
    score = np.where(given > 0, later / np.where(given > 0, given, 1), 0.5)
    return aurocs(sample, sample.labels != 0, score)


def _raw(values: np.ndarray) -> float | None:
    return None if np.isnan(values[0]) else float(values[0])
