"""The shortcut controls of a run: shortcuts, false alarms on healthy scans, and where saliency maps point."""

from collections.abc import Mapping, Sequence

import numpy as np

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.protocols import EVIDENCE_FOLDERS, GROUP_DISJOINT
from sslmri.cohorts.splits import NEGATIVES_DISEASE
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.evidence.intervals import rate_of
from sslmri.evidence.localisation import localisable
from sslmri.evidence.same_source import same_source_aurocs, same_source_message
from sslmri.evidence.shortcuts import RULE, blank_head, compare_with_shortcuts, file_traits, thumbnails
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
from sslmri.training.measure import ModelAnswers, Splits, answer_split, one_class_groups, trait_predictions
from sslmri.training.options import RunOptions
from sslmri.training.saliency_controls import localise
from sslmri.training.steps import open_run

_WIDE_INVERSE_PENALTY = 0.01  # of the features of the background: as many as slices
Marked = Sequence[tuple[Model, Sequence[Record]]]  # each model with the records with an annotated lesion for it


def run_controls(options: RunOptions) -> Controls:
    """Measures shortcuts, false alarms and localisation of the run's model and writes ``evidence/controls.json``.

    Everything is measured on test groups, none of which the controls were trained on; slices are prepared as the
    model's were.

    Raises:
        SslmriError: the data or the model is at fault.
    """
    require_group_disjoint(options)
    model, (records, store) = open_run(options)
    bad = {name for name, _ in store.bad}
    annotated = [record for record in localisable(records) if record.name not in bad]
    marked = {key: [(model, [r for r in annotated if r.disease == key])] for key in model.heads}
    controls = measure_controls(model, answer_split(model, store), store, model.encoder, marked)
    write_evidence(model.card.folder / EVIDENCE_FOLDERS[GROUP_DISJOINT], controls)
    return controls


def measure_controls(
    model: Model, tested: ModelAnswers, store: Store, encoder: Encoder, marked: Mapping[str, Marked]
) -> Controls:
    """Returns the controls of a model, or of the recipe that it was trained by.

    Args:
        model: that the evidence is stored with.
        tested: what it, or the models of its recipe, answer.
        store: all slices.
        encoder: whose features of the background are compared.
        marked: by disease.
    """
    assessed, records = assessed_slices(model, tested.slices), tested.slices.records
    flagged = {key: head.flagged(tested.logits[key]) & assessed[key] for key, head in tested.heads.items()}
    diseases = {}
    for key, head in tested.heads.items():
        own = tested.slices.select(head.rows.tolist())
        if not head.splits[0][0]:
            print(f"{key}: no training groups, no controls")
            continue
        shortcuts = _shortcuts(encoder, store.where(disease=key), head.splits, model.card.encoder.preparation)
        chance, reference, results, messages = compare_with_shortcuts(
            DISEASES[key], own.truth, head.slices.probabilities, shortcuts, one_class_groups(own)
        )
        diseases[key] = DiseaseControls(
            n_slices=len(own.records),
            n_groups=len(set(own.groups.tolist())),
            chance=chance,
            model=reference,
            shortcuts=results,
            messages=tuple(messages),
            healthy_flagged=healthy_alarms(records, flagged[key], but=key),
            localisation=localise(marked[key], key),
        )
    return Controls(
        created=created_now(),
        encoder_sha256=model.card.files[ENCODER_FILE],
        rule=RULE,
        diseases=diseases,
        family_wise=family_wise(records, flagged),
        same_source=measure_same_source(tested),
    )


def measure_same_source(tested: ModelAnswers) -> SameSource | None:
    """Returns tumour or none on cohorts whose patients have slices with and without one, None without such cohorts."""
    head = tested.heads.get(NEGATIVES_DISEASE)
    if head is None:
        return None
    slices = tested.slices.select(head.rows.tolist())
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


def _shortcuts(encoder: Encoder, slices: Store, splits: Splits, preparation: Preparation) -> dict[str, np.ndarray]:
    """Returns what each control predicts for the tested slices of a disease: (M, C)."""
    background = _background_features(encoder, slices, preparation)
    files = file_traits([record.path for record in slices.records])
    return {
        "background": trait_predictions(background, slices, splits, _WIDE_INVERSE_PENALTY),
        "thumbnail": trait_predictions(thumbnails(slices.slices), slices, splits),
        "file": trait_predictions(files, slices, splits),
    }


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
