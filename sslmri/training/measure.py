"""What classifiers answer to slices that they were not trained on, of a split or of folds, and the results of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from sslmri.cohorts.protocols import AS_PUBLISHED, GROUP_DISJOINT, Protocol
from sslmri.cohorts.splits import shared_groups
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.errors import TrainingError
from sslmri.evidence.baselines import baseline_probabilities, dark_fraction, trait_probabilities
from sslmri.evidence.calibration import (
    GroupedLogits,
    assign_folds,
    fit_decisions,
    fit_volume_decisions,
    group_logits,
)
from sslmri.evidence.decisions import Answers, answer
from sslmri.evidence.evaluate import evaluate_disease
from sslmri.evidence.predictions import predictions_frame
from sslmri.evidence.verdict import Verdict, decisions_for
from sslmri.learning.features import extract_logits
from sslmri.learning.model import Model
from sslmri.models.cards import Decisions
from sslmri.models.metrics import DiseaseMetrics
from sslmri.training.fit import OutOfSample

_MIN_FOLDS = 3  # with fewer trained folds, groups are assigned to parts instead
_PARTS = 5

Splits = Sequence[tuple[list[int], list[int]]]  # rows of the training and of the test slices, of each fold in turn
Results = dict[str, DiseaseMetrics]  # by disease


class HeadAnswers(NamedTuple):
    """What one classifier answers to the N tested slices of its disease, and to their groups.

    Rows are (N,) of the slices among all that were tested, splits of all slices of the disease; the decisions of the
    answers to slices are those for slices of other diseases.
    """

    rows: np.ndarray
    slices: Answers
    groups: Answers
    splits: Splits

    def flagged(self, logits: np.ndarray) -> np.ndarray:
        """Returns whether the head flags each tested slice, of whatever disease: logits (M, C) -> (M,) bool."""
        decisions = self.slices.decisions
        flagged: np.ndarray = 1 - decisions.probabilities(logits)[:, 0] >= decisions.threshold_high
        flagged[self.rows] = self.slices.verdicts == Verdict.FLAGGED
        return flagged


class ModelAnswers(NamedTuple):
    """The M tested slices of all diseases, the logits of each head for all of them, (M, C), and its answers."""

    slices: Store
    logits: dict[str, np.ndarray]
    heads: dict[str, HeadAnswers]


def answer_split(model: Model, store: Store) -> ModelAnswers:
    """Returns what the heads of a model answer to the test split of a store.

    Raises:
        TrainingError: no disease of the model has test groups.
    """
    test = store.where(disease=model.heads, split="test")
    found = extract_logits(model.encoder, model.heads, test, model.card.encoder.preparation, "float32")
    logits = {key: values.numpy().astype(np.float64) for key, values in found.items()}
    heads = {}
    for key, card in model.card.heads.items():
        of_disease, rows = store.where(disease=key), test.indices(disease=key)
        if not rows:
            print(f"{key}: no test groups, not evaluated")
            continue
        own, of_slice, of_volume = test.select(rows), decisions_for(card, 1), decisions_for(card, 2)
        cases = group_logits(logits[key][rows], own.truth, one_class_groups(own), card.pooling)
        heads[key] = HeadAnswers(
            np.array(rows),
            answer(of_slice.probabilities(logits[key][rows]), of_slice),
            answer(of_volume.probabilities(cases.logits), of_volume),
            [(of_disease.indices(split="train"), of_disease.indices(split="test"))],
        )
    if not heads:
        raise TrainingError(
            f"Expected test groups of {', '.join(model.card.heads)}, got none of any: a class needs two groups or more "
            "to be tested, or a fold 0."
        )
    return ModelAnswers(test, logits, heads)


def measure(
    tested: ModelAnswers, store: Store, protocol: Protocol = GROUP_DISJOINT
) -> tuple[Results, dict[str, pd.DataFrame]]:
    """Returns by disease the results of tested heads and their baselines, and the predictions.

    Raises:
        TrainingError: no training slices of a disease.
    """
    results, frames = {}, {}
    for key, head in tested.heads.items():
        own = tested.slices.select(head.rows.tolist())
        frame = predictions_frame(own.records, head.slices.probabilities, DISEASES[key])
        frames[key] = frame.assign(group=one_class_groups(own))
        result = evaluate_disease(
            DISEASES[key],
            frames[key],
            _baselines(store.where(disease=key), head.splits),
            head.slices,
            head.groups,
            ages=_ages(own),
            is_shared=protocol == AS_PUBLISHED,
        )
        results[key] = replace(result, n_shared_groups=len(shared_groups(store.records, key)))
    return results, frames


def one_class_groups(slices: Store) -> np.ndarray:
    """Returns the group of each slice (N,), with its class where slices of the group have several.

    A label that belongs to the slice (tumour or none) is measured on the slices of a patient with it and on those
    without it as two groups.
    """
    labels = defaultdict(set)
    for record in slices.records:
        labels[record.group_key].add(record.label)
    names = [r.group_key if len(labels[r.group_key]) == 1 else f"{r.group_key} {r.label}" for r in slices.records]
    return np.array(names, dtype=str)


def trait_predictions(values: np.ndarray, slices: Store, splits: Splits, inverse_penalty: float = 1.0) -> np.ndarray:
    """Returns what a logistic regression on traits predicts for the test slices of each split in turn: (M, C)."""
    truth, n_classes = slices.truth, len(DISEASES[str(slices.records[0].disease)].classes)
    parts = [
        trait_probabilities(values[train], truth[train], values[test], n_classes, inverse_penalty)
        for train, test in splits
    ]
    return np.concatenate(parts)


def _baselines(slices: Store, splits: Splits) -> dict[str, np.ndarray]:
    """Returns the probabilities (M, C) of each baseline for the tested slices of a disease, split by split."""
    truth, n_classes, ages = slices.truth, len(DISEASES[str(slices.records[0].disease)].classes), _ages(slices)
    parts = [
        baseline_probabilities(slices.batch(train), truth[train], slices.batch(test), n_classes)
        for train, test in splits
    ]
    baselines = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    baselines["dark_fraction"] = trait_predictions(dark_fraction(slices.slices)[:, None], slices, splits)
    return baselines if ages is None else baselines | {"age": trait_predictions(ages[:, None], slices, splits)}


def _ages(slices: Store) -> np.ndarray | None:
    """Returns the age of each slice's subject (N,), NaN where unknown; None where none is known."""
    ages = np.array([np.nan if record.age is None else record.age for record in slices.records])
    return None if np.isnan(ages).all() else ages


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
