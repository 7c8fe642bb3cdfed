"""The shortcut controls of a run: shortcuts, false alarms on healthy scans, and where saliency maps point."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.protocols import EVIDENCE_FOLDERS, GROUP_DISJOINT
from sslmri.cohorts.splits import NEGATIVES_DISEASE
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.errors import ScanError
from sslmri.evidence.intervals import rate_of
from sslmri.evidence.localisation import (
    Target,
    localisable,
    measure_maps,
    measure_slice,
    open_target,
    points_inside,
    rank_correlation,
)
from sslmri.evidence.shortcuts import (
    RULE,
    blank_head,
    compare_with_shortcuts,
    file_traits,
    same_source_aurocs,
    same_source_message,
    thumbnails,
)
from sslmri.gate.measure import assessed_slices
from sslmri.learning.encoder import Encoder
from sslmri.learning.features import extract_features
from sslmri.learning.model import Head, Model
from sslmri.models.evidence import Controls, write_evidence
from sslmri.models.folder import ENCODER_FILE
from sslmri.models.history import created_now
from sslmri.models.metrics import DiseaseControls, Localisation, Rate, SameSource
from sslmri.scans.slices import Preparation
from sslmri.screening.maps import enlarge
from sslmri.screening.saliency import class_maps
from sslmri.text import printable_line
from sslmri.training.data import require_group_disjoint
from sslmri.training.measure import ModelAnswers, Splits, answer_split, one_class_groups, trait_predictions
from sslmri.training.options import RunOptions
from sslmri.training.steps import open_run

_BATCH, _RANDOM_HEADS, _SEED = 64, 10, 0
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
    model, cohort = open_run(options)
    store, bad = cohort.store, {record.name for record, _ in cohort.store.bad}
    annotated = [record for record in localisable(cohort.records) if record.name not in bad]
    marked = {key: [(model, [r for r in annotated if r.disease == key])] for key in model.heads}
    controls = measure_controls(model, answer_split(model, store), store, model.encoder, marked)
    write_evidence(model.card.folder / EVIDENCE_FOLDERS[GROUP_DISJOINT], controls)
    return controls


def measure_controls(
    model: Model, tested: ModelAnswers, store: Store, encoder: Encoder, marked: Mapping[str, Marked]
) -> Controls:
    """Returns the controls of a model, or of the recipe that it was trained by."""
    assessed, healthy = assessed_slices(model, tested.slices), _healthy_slices(tested.slices.records)
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
            healthy_flagged={
                str(cohort): _flagged(flagged[key], slices)
                for cohort, slices in healthy[healthy["disease"] != key].groupby("cohort")
            },
            localisation=localise(marked[key], key),
        )
    return Controls(
        created=created_now(),
        encoder_sha256=model.card.files[ENCODER_FILE],
        rule=RULE,
        diseases=diseases,
        family_wise=_flagged(np.any(list(flagged.values()), axis=0), healthy),
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
    blank = blank_head(slices.slices)
    # equal slices, as many are once blank, cost one pass of the encoder
    flat, member = np.unique(blank.reshape(len(blank), -1), axis=0, return_inverse=True)
    background = extract_features(encoder, flat.reshape(-1, *blank.shape[1:]), preparation, "float32").numpy()
    files = file_traits([record.path for record in slices.records])
    return {
        "background": trait_predictions(background[member], slices, splits, _WIDE_INVERSE_PENALTY),
        "thumbnail": trait_predictions(thumbnails(slices.slices), slices, splits),
        "file": trait_predictions(files, slices, splits),
    }


def _healthy_slices(records: Sequence[Record]) -> pd.DataFrame:
    """Returns group, cohort and disease of the slices, by their row, that show nothing of any disease.

    They are those of the reference class, of groups with no other class.
    """
    table = pd.DataFrame(
        {
            "group": [record.group_key for record in records],
            "cohort": [record.cohort for record in records],
            "disease": [record.disease for record in records],
            "is_reference": [bool(r.disease) and r.label == DISEASES[str(r.disease)].reference for r in records],
        }
    )
    return table[table.groupby("group")["is_reference"].transform("all")]


def _flagged(flagged: np.ndarray, slices: pd.DataFrame) -> Rate:
    """Returns the fraction of some slices, a table with the rows of ``flagged`` (N,) bool, that are flagged."""
    groups, cohorts = (slices[name].to_numpy(dtype=str) for name in ("group", "cohort"))
    return rate_of(flagged[slices.index], groups, cohorts)


def localise(parts: Sequence[tuple[Model, Sequence[Record]]], key: str) -> Localisation | None:
    """Returns where the maps of one head point on records with a marked finding, None where there are none."""
    rows: list[dict[str, str | float]] = []
    for model, marked in parts:
        targets = []
        for record in marked:
            try:
                targets.append(open_target(record, model.card.encoder.preparation))
            except ScanError as error:
                print(printable_line(f"left out: {record.name}: {error}"))
        found = [target for target in targets if target]
        for start in range(0, len(found), _BATCH):
            rows += _measure(model, model.heads[key], found[start : start + _BATCH])
    n_left_out = sum(len(marked) for _, marked in parts) - len(rows)
    return measure_maps(pd.DataFrame(rows), _RANDOM_HEADS, n_left_out) if rows else None


@torch.inference_mode()
def _measure(model: Model, head: Head, targets: Sequence[Target]) -> list[dict[str, str | float]]:
    """Returns a row of ``measure_maps`` for each of N targets.

    Random heads are compared before rectification, so that a map below 0 everywhere has a highest value too.
    """
    stages = model.maps(np.stack([target.slice_ for target in targets]))
    maps, local = head.read(stages), head.local_logits(stages)
    classes = [DISEASES[str(t.record.disease)].classes.index(str(t.record.label)) for t in targets]
    shown, predicted = class_maps(local, head).numpy(), head.slice_logits(local).argmax(dim=1).tolist()
    known = torch.einsum("nkhw,nk->nhw", maps, head.weight[classes]).numpy()
    guessed = torch.einsum("nkhw,rnk->nrhw", maps, _random_weights(head)[:, classes]).numpy()
    rows = []
    for row, target in enumerate(targets):
        shape = target.region.shape
        measured = measure_slice(target, *(enlarge(shown[row, of[row]], shape) for of in (predicted, classes)))
        hits = [points_inside(enlarge(one, shape), target.region) for one in guessed[row]]
        alike = [rank_correlation(one, known[row]) for one in guessed[row]]
        rows.append(measured | {"random_pointing": float(np.mean(hits)), "random_correlation": float(np.mean(alike))})
    return rows


def _random_weights(head: Head) -> Tensor:
    """Returns the weights of random heads, each class of the scale that it has in the head: (R, C, K)."""
    generator = torch.Generator().manual_seed(_SEED)
    normal = torch.randn(_RANDOM_HEADS, *head.weight.shape, generator=generator)
    return normal * head.weight.std(dim=1, keepdim=True)
