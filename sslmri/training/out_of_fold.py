"""The results of a cross-validation: every labelled slice as a model without its fold sees it, with its baselines."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.regions import has_region
from sslmri.cohorts.splits import NEGATIVES_DISEASE
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
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
from sslmri.evidence.same_source import same_source_aurocs, same_source_message
from sslmri.evidence.verdict import Verdict
from sslmri.learning.encoder import Encoder
from sslmri.learning.model import Model
from sslmri.models.cards import Decisions
from sslmri.models.evidence import Controls
from sslmri.models.history import created_now
from sslmri.models.metrics import DiseaseMetrics, SameSource
from sslmri.training.controls import TestedHead, measure_controls, one_class_groups
from sslmri.training.fit import HeldOut

_MIN_FOLDS = 3  # with fewer trained folds, groups are assigned to parts instead
_PARTS = 5


class OutOfFold(NamedTuple):
    """Out-of-fold predictions for the N labelled slices of the folds that were trained.

    Attributes:
        slices: the N slices, fold by fold.
        folds: (N,), the fold of each.
        logits: by head, (N, C), of the model that was trained without the slice's fold.
        peaks: by head, (N, C), the highest value of each class's map.
    """

    slices: Store
    folds: np.ndarray
    logits: dict[str, np.ndarray]
    peaks: dict[str, np.ndarray]

    def held_out(self, key: str) -> HeldOut:
        """Returns the predictions for the slices of one disease."""
        rows = self.slices.indices(disease=key)
        return HeldOut(self.slices.select(rows), self.logits[key][rows].astype(np.float64), self.peaks[key][rows])


class CrossFitted(NamedTuple):
    """What one head answers to the N slices of its disease.

    Attributes:
        rows: (N,) of the slices among all that were tested.
        parts: (N,), the part of each slice: its fold.
        by_part: the decisions for the slices of a part, fitted on the other parts.
        slices: by these; its decisions are fitted on all parts, for slices of other diseases.
        groups: the same of the groups.
    """

    rows: np.ndarray
    parts: np.ndarray
    by_part: dict[int, Decisions]
    slices: Answers
    groups: Answers

    def flagged(self, logits: np.ndarray) -> np.ndarray:
        """Returns whether the head flags each tested slice, of whatever disease: logits (M, C) -> (M,) bool."""
        decisions = self.slices.decisions
        flagged: np.ndarray = 1 - decisions.probabilities(logits)[:, 0] >= decisions.threshold_high
        flagged[self.rows] = self.slices.verdicts == Verdict.FLAGGED
        return flagged


def cross_fit(predictions: OutOfFold, key: str) -> CrossFitted:
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
    groups_answered = _answered(cases.logits, case_parts, case_by_part, overall)
    return CrossFitted(rows, parts, by_part, _answered(held_out.logits, parts, by_part, decisions), groups_answered)


def _answered(logits: np.ndarray, parts: np.ndarray, by_part: Mapping[int, Decisions], overall: Decisions) -> Answers:
    """Returns the answers to cases (N, C) by the decisions for the part (N,) of each."""
    probabilities, sets = np.zeros_like(logits), np.zeros(logits.shape, dtype=bool)
    given = np.empty(len(logits), dtype=object)
    for part, own in by_part.items():
        rows = parts == part
        _, probabilities[rows], given[rows], sets[rows] = answer(own.probabilities(logits[rows]), own)
    return Answers(overall, probabilities, given, sets)


def measure_folds(
    predictions: OutOfFold, store: Store
) -> tuple[dict[str, DiseaseMetrics], dict[str, pd.DataFrame], dict[str, CrossFitted]]:
    """Returns by disease the metrics of a recipe, its predictions and its decisions, out of fold throughout."""
    results, frames, fitted = {}, {}, {}
    for key in (key for key in DISEASES if key in predictions.logits and predictions.slices.indices(disease=key)):
        head = fitted[key] = cross_fit(predictions, key)
        slices = predictions.slices.select(head.rows.tolist())
        frame = predictions_frame(slices.records, head.slices.probabilities, DISEASES[key])
        frames[key] = frame.assign(group=one_class_groups(slices))
        results[key] = evaluate_disease(
            DISEASES[key],
            frames[key],
            _baselines(store.where(disease=key), predictions.folds),
            head.slices,
            head.groups,
            ages=_ages(slices),
        )
    return results, frames, fitted


def control_folds(
    model: Model,
    predictions: OutOfFold,
    fitted: Mapping[str, CrossFitted],
    flagged: Mapping[str, np.ndarray],
    store: Store,
    models: Mapping[int, Model],
    start: Encoder,
    annotated: Sequence[Record],
) -> Controls:
    """Returns the shortcut controls of a recipe, out of fold throughout.

    Args:
        model: the final one, that the evidence is stored with.
        predictions: of the tested slices.
        fitted: by disease.
        flagged: by disease, (N,), whether a screening flags each tested slice.
        store: all slices.
        models: the model trained without each fold.
        start: the encoder before fine-tuning, whose features of the background are compared.
        annotated: records with an annotated lesion that no fold trains on; the first model is measured on them.
    """
    heads = {}
    for key, head in fitted.items():
        test = predictions.slices.select(head.rows.tolist()).records
        marked = [(own, [r for r in test if r.fold == fold and has_region(r)]) for fold, own in models.items()]
        marked[0][1].extend(record for record in annotated if record.disease == key and has_region(record))
        splits = _fold_rows(store.where(disease=key), predictions.folds)
        heads[key] = TestedHead(head.rows.tolist(), head.slices.probabilities, splits, marked)
    same_source = measure_same_source(predictions, fitted)
    return measure_controls(model, predictions.slices, heads, flagged, store, start, same_source)


def measure_same_source(predictions: OutOfFold, fitted: Mapping[str, CrossFitted]) -> SameSource | None:
    """Returns tumour or none on cohorts whose patients have slices with and without one, None without such cohorts."""
    head = fitted.get(NEGATIVES_DISEASE)
    if head is None:
        return None
    slices = predictions.slices.select(head.rows.tolist())
    names = one_class_groups(slices)
    cohorts = {r.cohort for r, name in zip(slices.records, names, strict=True) if name != r.group_key}
    chosen = np.array([record.cohort in cohorts for record in slices.records])
    if not chosen.any():
        return None
    has_lesion, groups = slices.truth[chosen] > 0, slices.groups[chosen]
    auroc, within, n_both = same_source_aurocs(1 - head.slices.probabilities[chosen, 0], has_lesion, groups)
    return SameSource(
        disease=NEGATIVES_DISEASE,
        created=created_now(),
        data=f"{', '.join(sorted(cohorts))}, T1 with contrast: slices with a tumour against slices without, "
        "of the same patients",
        n_with=int(has_lesion.sum()),
        n_without=int((~has_lesion).sum()),
        n_groups=len(set(groups.tolist())),
        n_groups_with_both=n_both,
        auroc=auroc,
        auroc_within_group=within,
        message=same_source_message(auroc, within),
    )


def _fold_rows(slices: Store, folds: np.ndarray) -> list[tuple[list[int], list[int]]]:
    """Returns for each trained fold the rows of the slices outside of it and in it, where it has any."""
    fold_of = np.array([-1 if record.fold is None else record.fold for record in slices.records])
    tested = [fold for fold in np.unique(folds).tolist() if (fold_of == fold).any()]
    return [(np.flatnonzero(fold_of != fold).tolist(), np.flatnonzero(fold_of == fold).tolist()) for fold in tested]


def _baselines(slices: Store, folds: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the probabilities (N, C) of each baseline for the tested slices of a disease, fold by fold."""
    truth, n_classes = slices.truth, len(DISEASES[str(slices.records[0].disease)].classes)
    traits, ages = {"dark_fraction": dark_fraction(slices.slices)[:, None]}, _ages(slices)
    if ages is not None:
        traits["age"] = ages[:, None]
    by_fold: dict[str, list[np.ndarray]] = defaultdict(list)
    for train, test in _fold_rows(slices, folds):
        fold = baseline_probabilities(slices.batch(train), truth[train], slices.batch(test), n_classes)
        for name, values in traits.items():
            fold[name] = trait_probabilities(values[train], truth[train], values[test], n_classes)
        for name, probabilities in fold.items():
            by_fold[name].append(probabilities)
    return {name: np.concatenate(parts) for name, parts in by_fold.items()}


def _ages(slices: Store) -> np.ndarray | None:
    """Returns the age of each slice's subject (N,), NaN where unknown; None where none is known."""
    ages = np.array([np.nan if record.age is None else record.age for record in slices.records])
    return None if np.isnan(ages).all() else ages
