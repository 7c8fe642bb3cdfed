"""The shortcut controls of a run: shortcuts, false alarms on healthy scans, and where saliency maps point."""

from collections.abc import Mapping, Sequence

import numpy as np

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.protocols import EVIDENCE_FOLDERS, GROUP_DISJOINT
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.evidence.localisation import localisable
from sslmri.evidence.rates import rate_of
from sslmri.evidence.shortcuts import (
    RULE,
    blank_head,
    compare_with_shortcuts,
    control_probabilities,
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
from sslmri.models.metrics import DiseaseControls, Localisation, Rate
from sslmri.scans.slices import Preparation
from sslmri.training.data import require_group_disjoint
from sslmri.training.options import RunOptions
from sslmri.training.saliency_controls import localise
from sslmri.training.steps import open_run


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
    train, test = labelled.where(split="train"), labelled.where(split="test")
    probabilities = _probabilities(model, test)
    assessed = assessed_slices(model, test)
    flagged = {
        key: (1 - p[:, 0] >= model.card.heads[key].threshold_high) & assessed[key] for key, p in probabilities.items()
    }
    bad = {name for name, _ in store.bad}
    marked = [record for record in localisable(records) if record.name not in bad]
    controls = Controls(
        created=created_now(),
        encoder_sha256=model.card.files[ENCODER_FILE],
        rule=RULE,
        diseases={
            key: _disease_controls(model, key, labelled, probabilities[key], flagged[key], marked)
            for key in model.heads
            if _has_both_splits(key, train, test)
        },
        family_wise=family_wise(test.records, flagged),
    )
    write_evidence(model.card.folder / EVIDENCE_FOLDERS[GROUP_DISJOINT], controls)
    return controls


def _has_both_splits(disease: str, train: Store, test: Store) -> bool:
    """Returns whether a disease has training and test groups, and says which it lacks."""
    missing = [
        name
        for name, store in (("training", train), ("test", test))
        if not any(record.disease == disease for record in store.records)
    ]
    if missing:
        print(f"{disease}: no {' and no '.join(missing)} groups, no controls")
    return not missing


def _probabilities(model: Model, test: Store) -> dict[str, np.ndarray]:
    """Returns the calibrated probabilities (N, C) of every head for all test slices, of whatever disease."""
    logits, heads = model.logits(test.slices), model.card.heads
    return {key: decisions_for(heads[key], 1).probabilities(each.astype(np.float64)) for key, each in logits.items()}


def _disease_controls(
    model: Model,
    key: str,
    labelled: Store,
    probabilities: np.ndarray,
    flagged: np.ndarray,
    marked: Sequence[Record],
) -> DiseaseControls:
    """Returns the controls of one classifier; probabilities (N, C) and flagged (N,) are of all N test slices."""
    test, slices = labelled.where(split="test"), labelled.where(disease=key)
    split = slices.indices(split="train"), slices.indices(split="test")
    return disease_controls(
        key,
        slices.select(split[1]),
        probabilities[test.indices(disease=key)],
        shortcut_probabilities(model.encoder, slices, [split], model.card.encoder.preparation),
        healthy_alarms(test.records, flagged, but=key),
        localise([(model, [record for record in marked if record.disease == key])], key),
    )


def disease_controls(
    key: str,
    test: Store,
    probabilities: np.ndarray,
    shortcuts: Mapping[str, np.ndarray],
    healthy_flagged: dict[str, Rate],
    localisation: Localisation | None,
    groups: np.ndarray | None = None,
) -> DiseaseControls:
    """Returns the controls of one classifier on the N test slices of its disease.

    Args:
        key: of the disease.
        test: the N slices.
        probabilities: (N, C) of the classifier.
        shortcuts: (N, C) of each control.
        healthy_flagged: as from ``healthy_alarms``.
        localisation: as from ``localise``.
        groups: (N,) names of groups of one class, where those of the slices have several.
    """
    chance, reference, results, messages = compare_with_shortcuts(
        DISEASES[key], test.truth, probabilities, shortcuts, test.groups if groups is None else groups
    )
    return DiseaseControls(
        n_slices=len(test.records),
        n_groups=len(set(test.groups.tolist())),
        chance=chance,
        model=reference,
        shortcuts=results,
        messages=tuple(messages),
        healthy_flagged=healthy_flagged,
        localisation=localisation,
    )


def shortcut_probabilities(
    encoder: Encoder, slices: Store, splits: Sequence[tuple[list[int], list[int]]], preparation: Preparation
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
            is_wide = name == "background"
            fitted = control_probabilities(values[train], truth[train], values[test], n_classes, is_wide)
            predicted[name].append(fitted)
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
