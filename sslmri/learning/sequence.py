"""Fits the head of the sequence on the frozen encoder of a model, and predicts each group by a head without it."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import Generator, Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR

from sslmri.cohorts.sampling import sample_groups
from sslmri.cohorts.store import Store
from sslmri.learning.encoder import Encoder
from sslmri.learning.features import stream
from sslmri.learning.precision import autocast, choose_precision
from sslmri.learning.sequence_head import SequenceHead, reduced
from sslmri.learning.settings import AugmentSettings
from sslmri.learning.views import augment_slices
from sslmri.scans.scan import SEQUENCES
from sslmri.scans.slices import Preparation

_AUGMENTATION = AugmentSettings(
    max_rotation_deg=10.0,
    max_scale=0.1,
    max_shift=0.05,
    flip_probability=0.5,
    brightness=0.15,
    contrast=0.15,
    max_gamma=1.4,
    max_blur=0.8,
)
_COPIES = 4  # of each slice under such changes
_PER_SEQUENCE = 1300  # slices of each cohort
_EPOCHS, _BATCH, _LEARNING_RATE, _WEIGHT_DECAY, _SMOOTHING = 40, 64, 2e-3, 0.05, 0.05
_PARTS = 5  # of the groups, each predicted by a head that was fitted on the others


class SequenceFit(NamedTuple):
    """A head, and what heads that were fitted without their group predict for the slices that it was fitted on.

    Attributes:
        head: in evaluation mode.
        slices: the N slices.
        probabilities: (N, 4).
    """

    head: SequenceHead
    slices: Store
    probabilities: np.ndarray


def fit_sequence(encoder: Encoder, slices: Store, preparation: Preparation) -> SequenceFit | None:
    """Returns the head of an encoder fitted on slices of a known sequence; None for one sequence or one group."""
    chosen = sample_sequences(slices)
    truth, generator = sequence_truth(chosen), Generator().manual_seed(0)
    n_groups, sizes = len(set(chosen.groups.tolist())), np.unique(truth, return_counts=True)[1]
    if len(sizes) < 2 or n_groups < 2:
        return None
    pixels = chosen.slices
    seen = [pixels, *(augment_slices(pixels, _AUGMENTATION, generator) for _ in range(_COPIES))]
    maps = torch.stack([_maps_of(encoder, each, preparation) for each in seen])
    probabilities = np.zeros((len(truth), len(SEQUENCES)))
    parts = StratifiedGroupKFold(min(_PARTS, n_groups, max(2, int(sizes.min()))), shuffle=True, random_state=0)
    for known, unseen in parts.split(truth, truth, chosen.groups):
        head = _fit(maps[:, known], truth[known])
        probabilities[unseen] = _probabilities(head, maps[0, unseen])
    return SequenceFit(_fit(maps, truth), chosen, probabilities)


def sequence_truth(slices: Store) -> np.ndarray:
    """Returns the index in ``SEQUENCES`` of each slice's sequence, -1 where the manifest names none of them: (N,)."""
    index = {name: number for number, name in enumerate(SEQUENCES)}
    return np.array([index.get(record.contrast, -1) for record in slices.records], dtype=np.int64)


def sample_sequences(slices: Store, per_sequence: int = _PER_SEQUENCE) -> Store:
    """Returns at most ``per_sequence`` slices of each sequence in each cohort, as equally many of each group as it has.

    So cohorts with several sequences, in which the source says nothing, count as much as large ones with a single one.
    """
    rows: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row, (index, record) in enumerate(zip(sequence_truth(slices).tolist(), slices.records, strict=True)):
        if index >= 0:
            rows[index, record.cohort].append(row)
    return slices.select(
        sorted(
            own[position]
            for own in rows.values()
            for position in sample_groups([slices.records[row] for row in own], per_sequence)
        )
    )


def _maps_of(encoder: Encoder, slices: np.ndarray, preparation: Preparation) -> Tensor:
    """Returns the reduced maps of prepared slices (N, H, W) uint8, in half the memory of float32: (N, C, h, w)."""
    batches = stream(encoder, encoder.early_maps, slices, preparation, "auto")
    return torch.cat([reduced(early.float()).bfloat16().cpu() for early in batches])


def _fit(maps: Tensor, truth: np.ndarray) -> SequenceHead:
    """Returns the head fitted on copies of slices, (copies, N, C, h, w), of which each step draws one of each slice."""
    torch.manual_seed(0)
    n_copies, n_slices, channels = maps.shape[:3]
    head, targets = SequenceHead(channels).to(memory_format=torch.channels_last), torch.from_numpy(truth)
    counts = np.bincount(truth, minlength=len(SEQUENCES))
    weights = torch.from_numpy(np.sqrt(n_slices / np.maximum(counts, 1) / len(SEQUENCES))).float()
    size = min(_BATCH, n_slices)
    optimizer = torch.optim.AdamW(head.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    schedule = OneCycleLR(optimizer, _LEARNING_RATE, total_steps=_EPOCHS * (n_slices // size))
    precision = choose_precision(torch.device("cpu"))
    for _ in range(_EPOCHS):
        order = torch.randperm(n_slices)
        for step in range(n_slices // size):
            rows = order[step * size : (step + 1) * size]
            drawn = maps[torch.randint(n_copies, (size,)), rows].float().contiguous(memory_format=torch.channels_last)
            with autocast(torch.device("cpu"), precision):
                logits = head.read(drawn)
            loss = functional.cross_entropy(logits.float(), targets[rows], weights, label_smoothing=_SMOOTHING)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return head.eval()


@torch.inference_mode()
def _probabilities(head: SequenceHead, maps: Tensor) -> np.ndarray:
    return torch.cat([head.read(part.float()).softmax(dim=1) for part in maps.split(_BATCH)]).numpy()
