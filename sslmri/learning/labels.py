"""The labelled slices of fine-tuning: their balance, the classes they lack, and the score of early stopping."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Generator, Tensor

from sslmri.cohorts.sampling import rows_by_class
from sslmri.cohorts.store import Store
from sslmri.learning.model import Head
from sslmri.models.cards import MASKED

_MIN_GROUPS = 3  # validation groups of a class: with two, chance would choose the epoch


def balanced_epoch(train: Store, per_class: int, per_group: int, generator: Generator) -> list[int]:
    """Returns the shuffled rows of one epoch: each class as often as the largest of its disease, at most ``per_class``.

    A group gives at most ``per_group`` of its slices, drawn for each epoch: more of them look alike and would take the
    place of other people. Smaller classes are raised by drawing again; a repeated slice differs each time,
    because every training slice is augmented before it reaches the encoder.
    """
    groups_of = {key: list(groups.values()) for key, groups in rows_by_class(train.records).items()}
    available = {key: sum(min(len(rows), per_group) for rows in groups) for key, groups in groups_of.items()}
    epoch: list[int] = []
    for key, groups in groups_of.items():
        count = min(per_class, max(number for (disease, _), number in available.items() if disease == key[0]))
        chosen: list[int] = []
        while len(chosen) < count:
            drawn = [row for rows in groups for row in _shuffled(rows, generator)[:per_group]]
            chosen += _shuffled(drawn, generator)
        epoch += chosen[:count]
    return _shuffled(epoch, generator)


def _shuffled(rows: list[int], generator: Generator) -> list[int]:
    return [rows[position] for position in torch.randperm(len(rows), generator=generator).tolist()]


def mask_absent_classes(heads: Mapping[str, Head], train: Store) -> dict[str, Head]:
    """Returns the heads with every class that has no training slice masked: probability 0 and an empty map.

    The output of such a class is not trained, but would get a part of the probability all the same.
    """
    masked = {}
    for key, head in heads.items():
        absent = np.setdiff1d(np.arange(len(head.bias)), train.where(disease=key).truth)
        weight, bias = head.weight.clone(), head.bias.clone()
        weight[absent], bias[absent] = 0.0, MASKED
        masked[key] = replace(head, weight=weight, bias=bias)
    return masked


def validation_scores(logits: Mapping[str, Tensor], validation: Store, train: Store) -> dict[str, float]:
    """Returns the macro AUROC of each disease with two classes or more among the validation slices."""
    scores = {}
    for key, values in logits.items():
        rows = validation.indices(disease=key)
        probabilities, truth = values[rows].softmax(dim=1).numpy(), validation.select(rows).truth
        score = macro_auroc(probabilities, truth, train.where(disease=key).truth)
        if score is not None:
            scores[key] = score
    return scores


def stopping_score(scores: Mapping[str, float], validation: Store) -> float:
    """Returns the mean of the scores of diseases with enough validation groups, NaN without any score.

    Enough are two classes of at least three groups each. Where no disease has that many, all count.
    """
    large = Counter(key for (key, _), groups in rows_by_class(validation.records).items() if len(groups) >= _MIN_GROUPS)
    enough = [key for key in scores if large[key] > 1]
    return float(np.mean([scores[key] for key in enough or scores])) if scores else math.nan


def macro_auroc(probabilities: np.ndarray, truth: np.ndarray, trained: np.ndarray) -> float | None:
    """Returns the mean AUROC of each class against the rest; None with one class, or no trained one, among the slices.

    A class without training slices does not count: the ranking of an untrained output says nothing about learning.
    Probabilities are (N, C), class indices (N,), those of the training slices (M,).
    """
    counted = np.intersect1d(truth, trained)
    if len(counted) == 0 or len(np.unique(truth)) < 2:
        return None
    return float(np.mean([roc_auc_score(truth == index, probabilities[:, index]) for index in counted]))
