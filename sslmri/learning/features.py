"""Passes of the encoder over any number of slices, in batches: the one loop for probes, fits, gate and screening."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from sslmri.cohorts.store import Store
from sslmri.learning.encoder import Encoder, Maps, normalise, pool
from sslmri.learning.model import Head
from sslmri.learning.precision import autocast, choose_precision
from sslmri.learning.settings import Precision
from sslmri.scans.slices import Preparation

BATCH = 64
Computed = TypeVar("Computed")


def stream(
    encoder: Encoder,
    compute: Callable[[Tensor], Computed],
    slices: Store | np.ndarray,
    preparation: Preparation,
    precision: Precision = "float32",
) -> Iterator[Computed]:
    """Yields what is computed of each batch of prepared slices (N, H, W) uint8, in order, on the encoder's device.

    A store is read batch by batch. The encoder is put into evaluation mode for as long as a batch takes.

    ``compute`` is the method ``maps`` of the encoder, or ``early_maps`` where the second stage is enough.

    Raises:
        TrainingError: the device lacks the precision.
    """
    device = next(encoder.parameters()).device
    chosen = choose_precision(device, precision)
    n_slices = len(slices.records) if isinstance(slices, Store) else len(slices)
    for start in range(0, n_slices, BATCH):
        rows = range(n_slices)[start : start + BATCH]
        batch = slices.batch(rows) if isinstance(slices, Store) else np.array(slices[rows.start : rows.stop])
        was_training = encoder.training
        encoder.eval()
        with torch.inference_mode(), autocast(device, chosen):
            computed = compute(normalise(torch.from_numpy(batch).to(device), preparation))
        encoder.train(was_training)
        yield computed


def extract_features(
    encoder: Encoder, slices: Store | np.ndarray, preparation: Preparation, precision: Precision = "auto"
) -> Tensor:
    """Returns the features h of prepared slices (N, H, W) uint8: (N, feature_dim) float32 on the CPU.

    For probes; what a scan is compared with is computed in float32, as a scan is.
    """
    batches = [pool(maps.last.float()).cpu() for maps in stream(encoder, encoder.maps, slices, preparation, precision)]
    return torch.cat(batches) if batches else torch.zeros(0, encoder.architecture.feature_dim)


def extract_logits(
    encoder: Encoder,
    heads: Mapping[str, Head],
    slices: Store | np.ndarray,
    preparation: Preparation,
    precision: Precision = "auto",
) -> dict[str, Tensor]:
    """Returns the logits of every head for prepared slices (N, H, W) uint8: (N, C) float32 each, on the CPU."""
    logits: dict[str, list[Tensor]] = {key: [torch.zeros(0, len(head.bias))] for key, head in heads.items()}
    for maps in stream(encoder, encoder.maps, slices, preparation, precision):
        maps = Maps(*(stage.float().cpu() for stage in maps))
        for key, head in heads.items():
            logits[key].append(head.slice_logits(head.local_logits(maps)))
    return {key: torch.cat(parts) for key, parts in logits.items()}
