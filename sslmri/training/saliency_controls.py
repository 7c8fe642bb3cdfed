"""Where the saliency maps of a classifier point, on slices with an annotated lesion."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sslmri.cohorts.manifest import Record
from sslmri.diseases import DISEASES
from sslmri.errors import ScanError
from sslmri.evidence.localisation import Target, measure_maps, open_target, points_inside, rank_correlation
from sslmri.learning.model import Head, Model
from sslmri.models.metrics import Localisation
from sslmri.screening.maps import enlarge
from sslmri.screening.saliency import class_maps
from sslmri.text import printable_line

_BATCH = 64
_RANDOM_HEADS = 10
_SEED = 0


def localise(parts: Sequence[tuple[Model, Sequence[Record]]], key: str) -> Localisation | None:
    """Returns where the maps of one head point on records with a marked finding, None where there are none.

    Args:
        parts: each model with the records that it is measured on: several in a cross-validation.
        key: of the disease.
    """
    targets: list[Target] = []
    measured: list[tuple[np.ndarray, ...]] = []
    for model, marked in parts:
        found = []
        for record in marked:
            try:
                target = open_target(record, model.card.encoder.preparation)
            except ScanError as error:
                print(printable_line(f"left out: {record.name}: {error}"))
                continue
            found += [target] if target else []
        targets += found
        batches = [found[start : start + _BATCH] for start in range(0, len(found), _BATCH)]
        measured += [_maps_of(model, model.heads[key], batch) for batch in batches]
    if not targets:
        return None
    n_left_out = sum(len(marked) for _, marked in parts) - len(targets)
    predicted, true, hits, correlations = (np.concatenate(values) for values in zip(*measured, strict=True))
    return measure_maps(targets, predicted, true, hits, correlations, n_left_out)


@torch.inference_mode()
def _maps_of(model: Model, head: Head, targets: Sequence[Target]) -> tuple[np.ndarray, ...]:
    """Returns what N targets show, with R random heads.

    In turn: the maps of the predicted and of the true class, (N, H, W); whether the map of the true class by each
    random head points at the finding, (N, R); its rank correlation with that of the true head, (N, R). Random heads
    are compared before rectification, so that a map below 0 everywhere has a highest value too.
    """
    maps = head.read(model.maps(np.stack([target.slice_ for target in targets])))
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
    """Returns the weights of random heads, each class of the scale that it has in the head: (R, C, K)."""
    generator = torch.Generator().manual_seed(_SEED)
    normal = torch.randn(_RANDOM_HEADS, *head.weight.shape, generator=generator)
    return normal * head.weight.std(dim=1, keepdim=True)
