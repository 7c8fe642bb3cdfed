"""The shortcut controls of a run: shortcuts, false alarms on healthy scans, and where saliency maps point."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.protocols import EVIDENCE_FOLDERS, GROUP_DISJOINT
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.evidence.baselines import trait_probabilities
from sslmri.evidence.intervals import rate_of
from sslmri.evidence.localisation import localisable
from sslmri.evidence.shortcuts import (
    RULE,
    blank_head,
    compare_with_shortcuts,
    file_traits,
    thumbnails,
)
from sslmri.evidence.verdict import decisions_for
from sslmri.gate.measure import assessed_slices
from sslmri.learning.encoder import Encoder
from sslmri.learning.features import extract_features
from sslmri.learning.model import Model
from sslmri.models.evidence import Controls, write_evidence
from sslmri.models.folder import ENCODER_FILE
from sslmri.models.history import created_now
from sslmri.models.metrics import DiseaseControls, Rate, SameSource
from sslmri.scans.slices import Preparation
from sslmri.training.data import require_group_disjoint
from sslmri.training.options import RunOptions
from sslmri.training.saliency_controls import localise
from sslmri.training.steps import open_run

_WIDE_INVERSE_PENALTY = 0.01  # of the features of the background: as many as slices
Splits = Sequence[tuple[list[int], list[int]]]  # rows of the training and of the test slices, of each fold in turn


class TestedHead(NamedTuple):
    """One classifier on tested slices.

    Attributes:
        rows: of the M slices of its disease among all that were tested.
        probabilities: (M, C) for these, by a model that was not trained on them.
        splits: of all slices of the disease.
        marked: each model with the records with an annotated lesion that it is measured on.
    """

    rows: list[int]
    probabilities: np.ndarray
    splits: Splits
    marked: Sequence[tuple[Model, Sequence[Record]]]


def run_controls(options: RunOptions) -> Controls:
    """Measures shortcuts, false alarms and localisation of the run's model and writes ``evidence/controls.json``.

    Everything is measured on test groups, none of which the controls were trained on; slices are prepared as the
    model's were.

    Raises:
        SslmriError: the data or the model is at fault.
    """
    require_group_disjoint(options)
    model, (records, store) = open_run(options)
    labelled = store.where(disease=model.heads)
    test, cards = labelled.where(split="test"), model.card.heads
    assessed, logits = assessed_slices(model, test), model.logits(test.slices)
    probabilities = {
        key: decisions_for(card, 1).probabilities(logits[key].astype(np.float64)) for key, card in cards.items()
    }
    flagged = {key: (1 - p[:, 0] >= cards[key].threshold_high) & assessed[key] for key, p in probabilities.items()}
    bad = {name for name, _ in store.bad}
    marked = [record for record in localisable(records) if record.name not in bad]
    heads = {}
    for key in model.heads:
        slices, rows = labelled.where(disease=key), test.indices(disease=key)
        split = slices.indices(split="train"), slices.indices(split="test")
        if _has_both(key, *split):
            own = [record for record in marked if record.disease == key]
            heads[key] = TestedHead(rows, probabilities[key][rows], [split], [(model, own)])
    controls = measure_controls(model, test, heads, flagged, labelled, model.encoder)
    write_evidence(model.card.folder / EVIDENCE_FOLDERS[GROUP_DISJOINT], controls)
    return controls


def _has_both(disease: str, train: list[int], test: list[int]) -> bool:
    """Returns whether a disease has training and test slices, and says which it lacks."""
    missing = [name for name, rows in (("training", train), ("test", test)) if not rows]
    if missing:
        print(f"{disease}: no {' and no '.join(missing)} groups, no controls")
    return not missing


def measure_controls(
    model: Model,
    test: Store,
    heads: Mapping[str, TestedHead],
    flagged: Mapping[str, np.ndarray],
    store: Store,
    encoder: Encoder,
    same_source: SameSource | None = None,
) -> Controls:
    """Returns the controls of a model, or of the recipe that it was trained by.

    Args:
        model: that the evidence is stored with.
        test: the N tested slices of all diseases.
        heads: by disease.
        flagged: by disease, (N,) bool, whether a screening flags each tested slice.
        store: all slices.
        encoder: whose features of the background are compared.
        same_source: as from ``measure_same_source``.
    """
    diseases = {}
    for key, head in heads.items():
        slices, own = store.where(disease=key), test.select(head.rows)
        shortcuts = shortcut_probabilities(encoder, slices, head.splits, model.card.encoder.preparation)
        chance, reference, results, messages = compare_with_shortcuts(
            DISEASES[key], own.truth, head.probabilities, shortcuts, one_class_groups(own)
        )
        diseases[key] = DiseaseControls(
            n_slices=len(own.records),
            n_groups=len(set(own.groups.tolist())),
            chance=chance,
            model=reference,
            shortcuts=results,
            messages=tuple(messages),
            healthy_flagged=healthy_alarms(test.records, flagged[key], but=key),
            localisation=localise(head.marked, key),
        )
    return Controls(
        created=created_now(),
        encoder_sha256=model.card.files[ENCODER_FILE],
        rule=RULE,
        diseases=diseases,
        family_wise=family_wise(test.records, flagged),
        same_source=same_source,
    )


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


def shortcut_probabilities(
    encoder: Encoder, slices: Store, splits: Splits, preparation: Preparation
) -> dict[str, np.ndarray]:
    """Returns what each control predicts for the test slices of each split in turn: (M, C).

    Args:
        encoder: whose features of the background are compared.
        slices: of one disease.
        splits: rows of the training and of the test slices; several in a cross-validation.
        preparation: of the slices.
    """
    used = sorted({row for split in splits for rows in split for row in rows})
    chosen, place = slices.select(used), {row: position for position, row in enumerate(used)}
    traits = {
        "background": _background_features(encoder, chosen, preparation),
        "thumbnail": thumbnails(chosen.slices),
        "file": file_traits([record.path for record in chosen.records]),
    }
    truth, n_classes = chosen.truth, len(DISEASES[str(chosen.records[0].disease)].classes)
    predicted: dict[str, list[np.ndarray]] = {name: [] for name in traits}
    for split in splits:
        train, test = ([place[row] for row in rows] for rows in split)
        for name, values in traits.items():
            penalty = _WIDE_INVERSE_PENALTY if name == "background" else 1.0
            predicted[name].append(trait_probabilities(values[train], truth[train], values[test], n_classes, penalty))
    return {name: np.concatenate(parts) for name, parts in predicted.items()}


def _background_features(encoder: Encoder, store: Store, preparation: Preparation) -> np.ndarray:
    """Returns the features of N prepared slices without the head: (N, D); equal ones, many once blank, cost one."""
    slices = blank_head(store.slices)
    flat, member = np.unique(slices.reshape(len(slices), -1), axis=0, return_inverse=True)
    return extract_features(encoder, flat.reshape(-1, *slices.shape[1:]), preparation, "float32").numpy()[member]


def _healthy_slices(records: Sequence[Record], but: str | None = None) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Returns which slices show nothing of any disease, with their groups and cohorts.

    They are those of the reference class, of groups with no other class.
    """
    reference = [r.disease is not None and r.label == DISEASES[r.disease].reference for r in records]
    ill = {record.group_key for record, healthy in zip(records, reference, strict=True) if not healthy}
    rows = [
        row
        for row, (record, healthy) in enumerate(zip(records, reference, strict=True))
        if healthy and record.group_key not in ill and record.disease != but
    ]
    groups, cohorts = (np.array([getattr(records[row], name) for row in rows]) for name in ("group_key", "cohort"))
    return rows, groups, cohorts


def healthy_alarms(records: Sequence[Record], flagged: np.ndarray, but: str) -> dict[str, Rate]:
    """Returns the fraction flagged among the healthy slices of other diseases, by cohort: flagged is bool (N,)."""
    rows, groups, cohorts = _healthy_slices(records, but)
    parts = {name: cohorts == name for name in np.unique(cohorts).tolist()}
    return {name: rate_of(flagged[rows][part], groups[part]) for name, part in parts.items()}


def family_wise(records: Sequence[Record], flagged: Mapping[str, np.ndarray]) -> Rate:
    """Returns the fraction of the healthy slices of all cohorts that at least one classifier flags."""
    rows, groups, cohorts = _healthy_slices(records)
    return rate_of(np.any(list(flagged.values()), axis=0)[rows], groups, cohorts)
