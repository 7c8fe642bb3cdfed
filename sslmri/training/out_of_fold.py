"""The answers of a cross-validation: every labelled slice as a model without its fold sees it."""

from collections.abc import Mapping

import numpy as np

from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.evidence.calibration import (
    GroupedLogits,
    assign_folds,
    fit_decisions,
    fit_volume_decisions,
    group_logits,
)
from sslmri.evidence.decisions import Answers, answer
from sslmri.models.cards import Decisions
from sslmri.training.fit import OutOfSample
from sslmri.training.measure import HeadAnswers, ModelAnswers, Splits, one_class_groups

_MIN_FOLDS = 3  # with fewer trained folds, groups are assigned to parts instead
_PARTS = 5


def answer_folds(predictions: OutOfSample, store: Store) -> ModelAnswers:
    """Returns what the heads of a recipe answer out of fold, each with its training and test slices in a store."""
    heads = {}
    for key in (key for key in DISEASES if key in predictions.logits and predictions.slices.indices(disease=key)):
        heads[key] = cross_fit(predictions, key)._replace(splits=_splits(store.where(disease=key), predictions.folds))
    return ModelAnswers(predictions.slices, predictions.logits, heads)


def cross_fit(predictions: OutOfSample, key: str) -> HeadAnswers:
    """Returns the probabilities and thresholds of one head, those of each fold fitted on the other folds.

    Where fewer than three folds were trained, the groups of each class are assigned to five parts in their place.
    """
    held_out, rows = predictions.held_out(key), np.array(predictions.slices.indices(disease=key), dtype=np.intp)
    truth, groups, disease = held_out.slices.truth, held_out.slices.groups, DISEASES[key]
    parts = predictions.folds[rows]
    if len(np.unique(parts)) < _MIN_FOLDS:
        assigned = assign_folds(truth, groups, _PARTS)
        parts = parts if assigned is None else assigned

    def fit_slices(part: int) -> Decisions:
        others = parts != part
        return fit_decisions(held_out.logits[others], truth[others], groups[others], disease.classes)

    by_part = {part: fit_slices(part) for part in np.unique(parts).tolist()}
    names, decisions = one_class_groups(held_out.slices), held_out.decisions(key)
    cases = group_logits(held_out.logits, truth, names, "log-mean-exp" if disease.is_focal else "mean")
    case_parts = parts[np.unique(names, return_index=True)[1]]

    def fit_groups(part: int) -> Decisions | None:
        return fit_volume_decisions(GroupedLogits(*(each[case_parts != part] for each in cases)), disease)

    case_by_part = {part: fit_groups(part) or own for part, own in by_part.items()}
    overall = fit_volume_decisions(cases, disease) or decisions
    answers = _answered(held_out.logits, parts, by_part, decisions)
    return HeadAnswers(rows, answers, _answered(cases.logits, case_parts, case_by_part, overall), ())


def _answered(logits: np.ndarray, parts: np.ndarray, by_part: Mapping[int, Decisions], overall: Decisions) -> Answers:
    """Returns the answers to cases (N, C) by the decisions for the part (N,) of each."""
    probabilities, sets = np.zeros_like(logits), np.zeros(logits.shape, dtype=bool)
    given = np.empty(len(logits), dtype=object)
    for part, own in by_part.items():
        rows = parts == part
        _, probabilities[rows], given[rows], sets[rows] = answer(own.probabilities(logits[rows]), own)
    return Answers(overall, probabilities, given, sets)


def _splits(slices: Store, folds: np.ndarray) -> Splits:
    """Returns for each trained fold the rows of the slices outside of it and in it, where it has any."""
    fold_of = np.array([-1 if record.fold is None else record.fold for record in slices.records])
    tested = [fold for fold in np.unique(folds).tolist() if (fold_of == fold).any()]
    return [(np.flatnonzero(fold_of != fold).tolist(), np.flatnonzero(fold_of == fold).tolist()) for fold in tested]
