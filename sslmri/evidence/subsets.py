"""Metrics of a part of a disease's question: which type it is, and the later stages against none."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial

import numpy as np

from sslmri.diseases import Disease
from sslmri.evidence.intervals import disease_shortage, estimate
from sslmri.evidence.metrics import accuracy, aurocs, balanced_accuracy, case_metrics, confusions
from sslmri.evidence.sample import Sample, draw_weights
from sslmri.models.metrics import BaselineMetrics, Gain, LaterStages, OlderMetrics, TypeMetrics

Measure = Callable[[Sample], np.ndarray]  # as it is and in each resample: (1 + B,)
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
    if "later_stages_auroc" not in measures_of(disease):
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


def measures_of(disease: Disease, is_older: np.ndarray | None = None) -> dict[str, Measure]:
    """Returns what is measured of classifiers and their baselines alike, by name; (G,) bool as of ``older_metrics``."""
    measures: dict[str, Measure] = {
        "accuracy": lambda sample: accuracy(confusions(sample)),
        "balanced_accuracy": lambda sample: balanced_accuracy(confusions(sample)),
        "auroc": any_disease_aurocs,
    }
    if len(disease.classes) > _FIRST_LATER and disease.is_ordinal:
        measures["later_stages_auroc"] = lambda sample: _later_aurocs(_later_or_none(sample))
    measures |= {f"group_{name}": partial(_of_groups, measure) for name, measure in measures.items()}
    if has_types(disease):
        measures["types_accuracy"] = lambda sample: accuracy(confusions(types_only(sample)))
        measures["types_balanced_accuracy"] = lambda sample: balanced_accuracy(confusions(types_only(sample)))
    if is_older is not None:
        measures["older_group_auroc"] = lambda sample: any_disease_aurocs(sample.by_group().only(is_older))
    return measures


def baseline_metrics(measures: Mapping[str, Measure], sample: Sample) -> BaselineMetrics:
    """Returns every metric of a baseline, without intervals: they are there to be exceeded."""
    values = {each.name: measures[each.name](sample)[0] for each in fields(BaselineMetrics) if each.name in measures}
    return BaselineMetrics(**{name: None if np.isnan(value) else float(value) for name, value in values.items()})


def gains(measures: Mapping[str, Measure], sample: Sample, baselines: Mapping[str, Sample]) -> tuple[Gain, ...]:
    """Returns the difference to the best baseline of each measure, both drawn by the same resamples."""
    found = []
    for name in (name for name in ("group_auroc", "types_accuracy") if name in measures):
        values = {key: measures[name](baseline) for key, baseline in baselines.items()}
        known = {key: value for key, value in values.items() if not np.isnan(value[0])}
        if known:
            best = max(known, key=lambda key: known[key][0])
            difference = estimate(measures[name](sample) - known[best], disease_shortage(sample.labels))
            found.append(Gain(name, best, difference))
    return tuple(found)


def _of_groups(measure: Measure, sample: Sample) -> np.ndarray:
    return measure(sample.by_group())


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


def _later_or_none(sample: Sample) -> Sample:
    return sample.only((sample.labels == 0) | (sample.labels >= _FIRST_LATER))


def _later_aurocs(sample: Sample) -> np.ndarray:
    none, later = sample.probabilities[:, 0], sample.probabilities[:, _FIRST_LATER:].sum(axis=1)
    given = none + later
    # what gives all to the stage left out says nothing of the others
    score = np.where(given > 0, later / np.where(given > 0, given, 1), 0.5)
    return aurocs(sample, sample.labels != 0, score)
