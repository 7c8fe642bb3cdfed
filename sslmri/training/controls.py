"""The shortcut controls of a run: shortcuts, false alarms on healthy scans, and where saliency maps point."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from sslmri.cohorts.manifest import Record
from sslmri.cohorts.protocols import EVIDENCE_FOLDERS, GROUP_DISJOINT
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.errors import ScanError, TrainingError
from sslmri.evidence.false_alarms import false_alarms, family_wise_false_alarms
from sslmri.evidence.localisation import (
    Target,
    game_metrics,
    localisable,
    localisation_messages,
    open_target,
    points_inside,
    random_head_metrics,
    random_point,
    rank_correlation,
)
from sslmri.evidence.shortcuts import (
    RULE,
    blank_head,
    compare_with_shortcuts,
    control_probabilities,
    file_traits,
    thumbnails,
)
from sslmri.learning.encoder import Encoder
from sslmri.learning.features import extract_features
from sslmri.learning.model import Head, Model, calibrated
from sslmri.models.evidence import Controls, write_evidence
from sslmri.models.folder import ENCODER_FILE
from sslmri.models.history import created_now
from sslmri.models.metrics import DiseaseControls, Localisation, Rate
from sslmri.scans.slices import Preparation
from sslmri.screening.maps import enlarge
from sslmri.screening.saliency import class_maps
from sslmri.text import printable_line
from sslmri.training.options import RunOptions
from sslmri.training.steps import open_run

_BATCH = 64
_RANDOM_HEADS = 10
_SEED = 0


def run_controls(options: RunOptions) -> Controls:
    """Measures shortcuts, false alarms and localisation of the run's model and writes ``evidence/controls.json``.

    Everything is measured on test groups, none of which the controls were trained on; slices are prepared as the
    model's were.

    Raises:
        SslmriError: the data or the model is at fault.
    """
    if options.protocol != GROUP_DISJOINT:
        raise TrainingError(f"Expected the protocol {GROUP_DISJOINT}, got {options.protocol}: leave --protocol out.")
    model, (records, store) = open_run(options)
    labelled = store.where(disease=model.heads)
    train, test = labelled.where(split="train"), labelled.where(split="test")
    probabilities = _probabilities(model, test)
    flagged = {key: 1 - p[:, 0] >= model.card.heads[key].threshold_high for key, p in probabilities.items()}
    bad = {name for name, _ in store.bad}
    marked = [record for record in localisable(records) if record.name not in bad]
    controls = Controls(
        created=created_now(),
        encoder_sha256=model.card.files[ENCODER_FILE],
        rule=RULE,
        diseases={
            key: _disease_controls(model, key, train, test, probabilities[key], flagged[key], marked)
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
    heads = model.card.heads
    if not test.records:
        return {key: np.zeros((0, len(head.classes))) for key, head in heads.items()}
    logits = model.logits(test.slices)
    return {
        key: calibrated(each.astype(np.float64), heads[key].calibration_temperature) for key, each in logits.items()
    }


def _disease_controls(
    model: Model,
    key: str,
    train: Store,
    test: Store,
    probabilities: np.ndarray,
    flagged: np.ndarray,
    marked: Sequence[Record],
) -> DiseaseControls:
    """Returns the controls of one classifier; probabilities (N, C) and flagged (N,) are of all N test slices."""
    disease, preparation = DISEASES[key], model.card.encoder.preparation
    rows = test.indices(disease=key)
    own_train, own_test = train.where(disease=key), test.select(rows)
    truth = own_train.truth
    traits = {
        "background": [background_features(model.encoder, store, preparation) for store in (own_train, own_test)],
        "thumbnail": [thumbnails(store.slices) for store in (own_train, own_test)],
        "file": own_file_traits(own_train, own_test),
    }
    predicted = {
        name: control_probabilities(learned, truth, tested, len(disease.classes), is_wide=name == "background")
        for name, (learned, tested) in traits.items()
    }
    chance, reference, shortcuts, messages = compare_with_shortcuts(
        disease, own_test.truth, probabilities[rows], predicted, own_test.groups
    )
    return DiseaseControls(
        n_slices=len(rows),
        n_groups=len(set(own_test.groups)),
        chance=chance,
        model=reference,
        shortcuts=shortcuts,
        messages=tuple(messages),
        healthy_flagged=healthy_alarms(test.records, flagged, but=key),
        localisation=localise([(model, [record for record in marked if record.disease == key])], key),
    )


def background_features(encoder: Encoder, store: Store, preparation: Preparation) -> np.ndarray:
    """Returns the features of N prepared slices without the head: (N, D); equal ones, many once blank, cost one."""
    slices = blank_head(store.slices)
    flat, member = np.unique(slices.reshape(len(slices), -1), axis=0, return_inverse=True)
    return extract_features(encoder, flat.reshape(-1, *slices.shape[1:]), preparation, "float32").numpy()[member]


def own_file_traits(train: Store, test: Store) -> list[np.ndarray]:
    """Returns the traits of the training and of the test files, in the same columns."""
    traits = file_traits([record.path for record in [*train.records, *test.records]])
    return [traits[: len(train.records)], traits[len(train.records) :]]


def _healthy_rows(records: Sequence[Record], but: str | None = None) -> list[int]:
    """Returns which slices show nothing of any disease: those of the reference class, of groups with no other class."""
    reference = [r.disease is not None and r.label == DISEASES[r.disease].reference for r in records]
    ill = {record.group_key for record, healthy in zip(records, reference, strict=True) if not healthy}
    return [
        row
        for row, (record, healthy) in enumerate(zip(records, reference, strict=True))
        if healthy and record.group_key not in ill and record.disease != but
    ]


def healthy_alarms(records: Sequence[Record], flagged: np.ndarray, but: str) -> dict[str, Rate]:
    """Returns the fraction flagged among the healthy slices of other diseases, by cohort: flagged is bool (N,)."""
    rows = _healthy_rows(records, but)
    cohorts, groups = (np.array([getattr(records[row], name) for row in rows]) for name in ("cohort", "group_key"))
    return false_alarms(flagged[rows], cohorts, groups)


def family_wise(records: Sequence[Record], flagged: Mapping[str, np.ndarray]) -> Rate:
    """Returns the fraction of the healthy slices of all cohorts that at least one classifier flags."""
    rows = _healthy_rows(records)
    cohorts, groups = (np.array([getattr(records[row], name) for row in rows]) for name in ("cohort", "group_key"))
    return family_wise_false_alarms({key: flags[rows] for key, flags in flagged.items()}, cohorts, groups)


def _open(record: Record, preparation: Preparation) -> Target | None:
    """Returns a record's slice with its lesion, None where that is too small or the image cannot be read."""
    try:
        return open_target(record, preparation)
    except ScanError as error:
        print(printable_line(f"left out: {record.name}: {error}"))
        return None


def localise(parts: Sequence[tuple[Model, Sequence[Record]]], key: str) -> Localisation | None:
    """Returns where the maps of one head point on records with a marked finding, None where there are none.

    Args:
        parts: each model with the records that it is measured on: several in a cross-validation.
        key: of the disease.
    """
    targets: list[Target] = []
    measured: list[tuple[np.ndarray, ...]] = []
    for model, marked in parts:
        opened = [_open(record, model.card.encoder.preparation) for record in marked]
        found = [target for target in opened if target is not None]
        targets += found
        batches = [found[start : start + _BATCH] for start in range(0, len(found), _BATCH)]
        measured += [_maps_of(model, model.heads[key], batch) for batch in batches]
    if not targets:
        return None
    predicted, true, hits, correlations = (np.concatenate(values) for values in zip(*measured, strict=True))
    true_class, chance = game_metrics(targets, true), random_point(targets)
    random = random_head_metrics(targets, hits, correlations)
    return Localisation(
        n_slices=len(targets),
        n_groups=len({target.record.group_key for target in targets}),
        n_left_out=sum(len(marked) for _, marked in parts) - len(targets),
        random_point=chance,
        predicted=game_metrics(targets, predicted),
        true=true_class,
        random_head=random,
        messages=tuple(localisation_messages(true_class.pointing, chance.head, random.pointing)),
    )


@torch.inference_mode()
def _maps_of(model: Model, head: Head, targets: Sequence[Target]) -> tuple[np.ndarray, ...]:
    """Returns what N targets show, with R random heads.

    In turn: the maps of the predicted and of the true class, (N, H, W); whether the map of the true class by each
    random head points at the finding, (N, R); its rank correlation with that of the true head, (N, R). Random heads
    are compared before rectification, so that a map below 0 everywhere has a highest value too.
    """
    maps = model.feature_maps(np.stack([target.slice_ for target in targets]))
    truth = torch.tensor([DISEASES[str(t.record.disease)].classes.index(str(t.record.label)) for t in targets])
    shown = class_maps(maps, head)
    known = torch.einsum("nkhw,nk->nhw", maps, head.weight[truth]).numpy()
    guessed = torch.einsum("nkhw,rnk->nrhw", maps, _random_weights(head)[:, truth]).numpy()
    return (
        _enlarged(shown, head.slice_logits(maps).argmax(dim=1), targets),
        _enlarged(shown, truth, targets),
        np.array(
            [
                [points_inside(enlarge(one, t.region.shape), t.region) for one in own]
                for own, t in zip(guessed, targets, strict=True)
            ]
        ),
        np.array([[rank_correlation(one, true) for one in own] for own, true in zip(guessed, known, strict=True)]),
    )


def _enlarged(maps: Tensor, classes: Tensor, targets: Sequence[Target]) -> np.ndarray:
    """Returns the map of one class for each target at the shape of its slice: (N, C, h, w) -> (N, H, W)."""
    chosen = maps[torch.arange(len(targets)), classes].numpy()
    return np.stack([enlarge(map_, target.region.shape) for map_, target in zip(chosen, targets, strict=True)])


def _random_weights(head: Head) -> Tensor:
    """Returns the weights of random heads, each class of the scale that it has in the head: (R, C, 2048)."""
    generator = torch.Generator().manual_seed(_SEED)
    normal = torch.randn(_RANDOM_HEADS, *head.weight.shape, generator=generator)
    return normal * head.weight.std(dim=1, keepdim=True)
