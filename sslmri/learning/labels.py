"""The labelled slices of fine-tuning: how many, how balanced, and the score they are stopped by."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Generator, Tensor

from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.learning.model import Head
from sslmri.learning.views import AugmentSettings

_MIN_JUDGED = 3  # validation groups of a class: with two, their luck would choose the epoch
_SILENT = -6e4  # a logit whose softmax is 0 at any calibration temperature, and that float16 can hold


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings of fine-tuning.

    Attributes:
        regime: ``fine-tune`` trains encoder and heads jointly on all diseases; ``linear-probe`` freezes the encoder.
        labels_per_class: labelled slices used of each class; classes with fewer are raised to it by augmentation.
        epochs: passes over the balanced slices, at most.
        patience: epochs without a better validation score before training stops.
        batch_size: slices a step, of all diseases mixed.
        learning_rate: of AdamW for the encoder, at its peak.
        head_learning_rate: of AdamW for the heads, at its peak.
        weight_decay: of AdamW.
        warmup_epochs: epochs over which the learning rates rise from 0, before their cosine decay to 0.
        label_smoothing: share of the target spread evenly over the classes of a disease.
        average_decay: of the moving average of the weights, a step; the average is what is validated and kept.
        output_stride: of the encoder while it learns and ever after: 16 gives finer maps for 1.7 times the work of 32.
        location_weight: of the loss that draws the map of the true class to a marked finding; 0 for labels alone.
        consistency_weight: of the loss that keeps a slice's features where they are when it is changed a little, as no
            reader would notice; 0 does without, in half the time a step.
        seed: of the heads, the order of slices and their augmentation.
        device: ``auto``, ``cpu`` or ``cuda``.
        augmentation: how training slices are changed.
    """

    regime: Literal["fine-tune", "linear-probe"] = "fine-tune"
    labels_per_class: int = 450
    epochs: int = 8
    patience: int = 6
    batch_size: int = 64
    learning_rate: float = 3e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.05
    average_decay: float = 0.99
    output_stride: Literal[32, 16] = 16
    localisation_weight: float = 0.2
    consistency_weight: float = 0.0
    seed: int = 0
    device: str = "auto"
    augmentation: AugmentSettings = field(default_factory=AugmentSettings)


def balanced_epoch(train: Store, per_class: int, generator: Generator) -> list[int]:
    """Returns the shuffled rows of one epoch: each class as often as the largest of its disease, at most ``per_class``.

    Smaller classes are raised by repetition; a repeated slice is another picture each time, because every training
    slice is augmented on its way in.
    """
    rows: list[Tensor] = []
    by_class = _rows_by_class(train)
    for (disease, _), own in by_class.items():
        count = min(per_class, max(len(found) for (other, _), found in by_class.items() if other == disease))
        repeats = -(-count // len(own))
        order = torch.cat([torch.randperm(len(own), generator=generator) for _ in range(repeats)])[:count]
        rows.append(torch.tensor(own)[order])
    epoch = torch.cat(rows)
    shuffled: list[int] = epoch[torch.randperm(len(epoch), generator=generator)].tolist()
    return shuffled


def mask_absent_classes(heads: Mapping[str, Head], train: Store) -> dict[str, Head]:
    """Returns the heads with every class that has no training slice silenced: probability 0 and an empty map.

    Nobody taught such an output what to say; left alone, it is handed a share of the probability all the same.
    """
    silenced = {}
    for key, head in heads.items():
        taught = {str(record.label) for record in train.records if record.disease == key}
        untaught = [index for index, label in enumerate(DISEASES[key].classes) if label not in taught]
        weight, bias = head.weight.clone(), head.bias.clone()
        weight[untaught], bias[untaught] = 0.0, _SILENT
        silenced[key] = Head(weight, bias)
    return silenced


def validation_scores(heads: Mapping[str, Head], features: Tensor, validation: Store, train: Store) -> dict[str, float]:
    """Returns the macro AUROC of each disease with two classes or more among the validation slices.

    A class without training slices does not count: how an untaught output ranks says nothing about learning.

    Args:
        heads: by disease.
        features: (N, 2048) of the validation slices.
        validation: the N slices.
        train: the slices that were learned from.
    """
    scores = {}
    for key, head in heads.items():
        rows = validation.indices(disease=key)
        truth = validation.select(rows).truth
        taught = {DISEASES[key].classes.index(str(r.label)) for r in train.records if r.disease == key}
        counted = sorted(taught & set(truth.tolist()))
        if len(set(truth.tolist())) > 1 and counted:
            scores[key] = macro_auroc(head.logits(features[rows]).softmax(dim=1).numpy(), truth, counted)
    return scores


def stopping_score(scores: Mapping[str, float], validation: Store) -> float:
    """Returns the mean of the scores of diseases that the validation side can judge, NaN without any score.

    Judged is a disease with two classes of at least three groups each. Where no disease has that many, all count.
    """
    groups: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for record in validation.records:
        groups[str(record.disease)][str(record.label)].add(record.group_key)
    judged = [key for key in scores if sum(len(own) >= _MIN_JUDGED for own in groups[key].values()) > 1]
    return float(np.mean([scores[key] for key in judged or scores])) if scores else math.nan


def macro_auroc(probabilities: np.ndarray, truth: np.ndarray, counted: Iterable[int]) -> float:
    """Returns the mean AUROC of each counted class against the rest: probabilities (N, C), truth (N,)."""
    return float(np.mean([roc_auc_score(truth == index, probabilities[:, index]) for index in counted]))


def _rows_by_class(store: Store) -> dict[tuple[str, str], list[int]]:
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, record in enumerate(store.records):
        if record.disease is not None:
            rows[record.disease, str(record.label)].append(row)
    return dict(sorted(rows.items()))
