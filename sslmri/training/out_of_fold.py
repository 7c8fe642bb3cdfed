"""The results of a cross-validation: every labelled slice as a model without its fold sees it, with its baselines."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from sslmri.cohorts.folds import NEGATIVES_DISEASE
from sslmri.cohorts.manifest import Record
from sslmri.cohorts.regions import has_region
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.evidence.baselines import baseline_probabilities, dark_fraction, trait_probabilities
from sslmri.evidence.calibration import Decisions, fit_decisions
from sslmri.evidence.evaluate import evaluate_disease
from sslmri.evidence.predictions import predictions_frame
from sslmri.evidence.same_source import same_source
from sslmri.evidence.shortcuts import RULE, compare_with_shortcuts, control_probabilities, thumbnails
from sslmri.learning.encoder import Encoder
from sslmri.learning.model import Model
from sslmri.models.evidence import Controls
from sslmri.models.history import created_now
from sslmri.models.metrics import DiseaseControls, DiseaseMetrics, SameSource
from sslmri.scans.slices import Preparation
from sslmri.training.controls import (
    background_features,
    family_wise,
    healthy_alarms,
    localise,
    own_file_traits,
)
from sslmri.training.heads import HeldOut

_MIN_FOLDS = 3  # with fewer that were trained, groups are assigned to parts instead
_PARTS = 5


class OutOfFold(NamedTuple):
    """The N tested slices of the folds that were trained.

    Attributes:
        slices: the N slices.
        folds: (N,), the fold of each.
        logits: by head, (N, C), of the model that was trained without the slice's fold.
        peaks: by head, (N, C), the highest value of each class's map.
    """

    slices: Store
    folds: np.ndarray
    logits: dict[str, np.ndarray]
    peaks: dict[str, np.ndarray]

    def held_out(self, key: str) -> HeldOut:
        """Returns what is known of the slices of one disease."""
        rows = self.slices.indices(disease=key)
        return HeldOut(self.slices.select(rows), self.logits[key][rows].astype(np.float64), self.peaks[key][rows])


class CrossFitted(NamedTuple):
    """The answers of one head for the N slices of its disease.

    Attributes:
        rows: (N,) of the slices among all that were tested.
        parts: (N,), the part of each slice: its fold.
        by_part: what judges the slices of a part, fitted on the other parts.
        probabilities: (N, C) by these.
        decisions: fitted on all parts, for slices of no part.
    """

    rows: np.ndarray
    parts: np.ndarray
    by_part: dict[int, Decisions]
    probabilities: np.ndarray
    decisions: Decisions


def cross_fit(found: OutOfFold, key: str) -> CrossFitted:
    """Returns the answers of one head for its own disease, each decided on the other folds.

    Where fewer than three folds were trained, the groups of each class are assigned to five parts in their place.
    """
    held_out, rows = found.held_out(key), np.array(found.slices.indices(disease=key), dtype=np.intp)
    truth, groups, classes = held_out.slices.truth, held_out.slices.groups, DISEASES[key].classes
    parts = found.folds[rows]
    if len(np.unique(parts)) < _MIN_FOLDS:
        parts = _parts(truth, groups)
    probabilities, by_part = np.zeros_like(held_out.logits), {}
    for part in np.unique(parts).tolist():
        inside = parts == part
        by_part[part] = fit_decisions(held_out.logits[~inside], truth[~inside], groups[~inside], classes)
        probabilities[inside] = by_part[part].probabilities(held_out.logits[inside])
    return CrossFitted(rows, parts, by_part, probabilities, held_out.decisions(key))


def measure_folds(
    found: OutOfFold, store: Store
) -> tuple[dict[str, DiseaseMetrics], dict[str, pd.DataFrame], dict[str, CrossFitted]]:
    """Returns by disease the metrics of a recipe, its predictions and its answers, out of fold throughout."""
    results, frames, fitted = {}, {}, {}
    for key in (key for key in DISEASES if key in found.logits and found.slices.indices(disease=key)):
        own = fitted[key] = cross_fit(found, key)
        slices, disease = found.slices.select(own.rows.tolist()), DISEASES[key]
        frame = predictions_frame(slices.records, own.probabilities, disease).assign(group=one_class_groups(slices))
        frames[key] = frame
        results[key] = evaluate_disease(
            disease,
            frame,
            _baselines(found, store, key),
            thresholds=(own.decisions.low, own.decisions.high),
            set_thresholds=own.decisions.set_thresholds,
            folds=(own.parts, own.by_part),
            ages=_ages(slices),
        )
    return results, frames, fitted


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


def control_folds(
    found: OutOfFold,
    fitted: Mapping[str, CrossFitted],
    store: Store,
    folder_of: Callable[[int], Path],
    start: Encoder,
    preparation: Preparation,
    encoder_sha256: str,
    annotated: Sequence[Record],
) -> Controls:
    """Returns the shortcut controls of a recipe, out of fold throughout.

    Args:
        found: the tested slices.
        fitted: the answers of each head.
        store: all slices.
        folder_of: where the model of a fold is.
        start: the encoder before fine-tuning, whose features of the background are compared.
        preparation: of the slices.
        encoder_sha256: of the model that the evidence is stored with.
        annotated: records with an annotated lesion that no fold trains on; the first model is measured on them.
    """
    flagged = {key: _flagged(found, key, own) for key, own in fitted.items()}
    records, models = found.slices.records, {fold: Model.load(folder_of(fold)) for fold in set(found.folds.tolist())}
    diseases = {}
    for key, own in fitted.items():
        slices = found.slices.select(own.rows.tolist())
        chance, reference, shortcuts, messages = compare_with_shortcuts(
            DISEASES[key],
            slices.truth,
            own.probabilities,
            _shortcuts(found, store, key, start, preparation),
            one_class_groups(slices),
        )
        marked = [
            (model, [r for r, fold in zip(records, found.folds, strict=True) if _is_marked(r, key) and fold == number])
            for number, model in models.items()
        ]
        marked.append((next(iter(models.values())), [record for record in annotated if _is_marked(record, key)]))
        diseases[key] = DiseaseControls(
            n_slices=len(own.rows),
            n_groups=len(set(slices.groups.tolist())),
            chance=chance,
            model=reference,
            shortcuts=shortcuts,
            messages=tuple(messages),
            healthy_flagged=healthy_alarms(records, flagged[key], but=key),
            localisation=localise(marked, key),
        )
    return Controls(
        created=created_now(),
        encoder_sha256=encoder_sha256,
        rule=RULE,
        diseases=diseases,
        family_wise=family_wise(records, flagged),
        same_source=_same_source(found, fitted),
    )


def _parts(truth: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Returns a part for each slice (N,), whole groups assigned class by class."""
    parts: dict[str, int] = {}
    for index in np.unique(truth):
        names = [name for name in np.unique(groups[truth == index]).tolist() if name not in parts]
        parts |= {name: number % _PARTS for number, name in enumerate(names)}
    return np.array([parts[group] for group in groups.tolist()], dtype=np.int64)


def _learned(found: OutOfFold, store: Store, key: str) -> list[tuple[Store, Store]]:
    """Returns for each trained fold the slices of a disease that its model learned from, and those that test it."""
    own = store.where(disease=key)
    tested = found.held_out(key).slices
    return [
        (
            own.select([row for row, record in enumerate(own.records) if record.fold != fold]),
            tested.select([row for row, record in enumerate(tested.records) if record.fold == fold]),
        )
        for fold in sorted({record.fold for record in tested.records if record.fold is not None})
    ]


def _baselines(found: OutOfFold, store: Store, key: str) -> dict[str, np.ndarray]:
    """Returns the probabilities (N, C) of each baseline for the tested slices of a disease, fold by fold."""
    n_classes = len(DISEASES[key].classes)
    by_fold: dict[str, list[np.ndarray]] = defaultdict(list)
    for train, test in _learned(found, store, key):
        fold = baseline_probabilities(train.slices, train.truth, test.slices, n_classes)
        traits = {"dark_fraction": (dark_fraction(train.slices), dark_fraction(test.slices))}
        if _ages(found.held_out(key).slices) is not None:
            traits["age"] = (_known_ages(train), _known_ages(test))
        fold |= {name: trait_probabilities(own, train.truth, other, n_classes) for name, (own, other) in traits.items()}
        for name, values in fold.items():
            by_fold[name].append(values)
    return {name: np.concatenate(parts) for name, parts in by_fold.items()}


def _ages(slices: Store) -> np.ndarray | None:
    """Returns the age of each slice's subject (N,), None where none is known."""
    ages = _known_ages(slices)
    return None if np.isnan(ages).all() else ages


def _known_ages(slices: Store) -> np.ndarray:
    return np.array([np.nan if record.age is None else record.age for record in slices.records])


def _shortcuts(
    found: OutOfFold, store: Store, key: str, start: Encoder, preparation: Preparation
) -> dict[str, np.ndarray]:
    """Returns what each control predicts for the tested slices of a disease, (N, C), fold by fold."""
    predicted: dict[str, list[np.ndarray]] = defaultdict(list)
    for train, test in _learned(found, store, key):
        traits = {
            "background": [background_features(start, part, preparation) for part in (train, test)],
            "thumbnail": [thumbnails(part.slices) for part in (train, test)],
            "file": own_file_traits(train, test),
        }
        for name, (learned, tested) in traits.items():
            predicted[name].append(
                control_probabilities(
                    learned, train.truth, tested, len(DISEASES[key].classes), is_wide=name == "background"
                )
            )
    return {name: np.concatenate(parts) for name, parts in predicted.items()}


def _flagged(found: OutOfFold, key: str, own: CrossFitted) -> np.ndarray:
    """Returns whether a head flags each tested slice, of whatever disease: (N,) bool."""
    flagged: np.ndarray = 1 - own.decisions.probabilities(found.logits[key])[:, 0] >= own.decisions.high
    limits = np.array([own.by_part[part].high for part in own.parts.tolist()])
    flagged[own.rows] = 1 - own.probabilities[:, 0] >= limits
    return flagged


def _is_marked(record: Record, key: str) -> bool:
    return record.disease == key and has_region(record)


def _same_source(found: OutOfFold, fitted: Mapping[str, CrossFitted]) -> SameSource | None:
    """Returns tumour or none on the patients who have slices with and without one, None where there are none."""
    own = fitted.get(NEGATIVES_DISEASE)
    if own is None:
        return None
    slices = found.slices.select(own.rows.tolist())
    groups, reference = slices.groups, DISEASES[NEGATIVES_DISEASE].reference
    names = one_class_groups(slices)
    cohorts = {r.cohort for r, name in zip(slices.records, names, strict=True) if name != r.group_key}
    chosen = np.array([record.cohort in cohorts for record in slices.records])
    if not chosen.any():
        return None
    has_lesion = np.array([record.label != reference for record in slices.records])[chosen]
    score = 1 - own.probabilities[chosen, 0]
    return same_source(NEGATIVES_DISEASE, ", ".join(sorted(cohorts)), score, has_lesion, groups[chosen])
