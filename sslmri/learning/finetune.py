"""Fine-tuning: linear heads for every disease on one shared encoder."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from sslmri.cohorts.regions import read_regions
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.errors import TrainingError
from sslmri.learning.checkpoint import begun_with, check_finite, load_checkpoint, resuming, save_checkpoint
from sslmri.learning.dense_loss import dense_loss
from sslmri.learning.encoder import Encoder, as_images, pick_device, standardise
from sslmri.learning.features import extract_logits
from sslmri.learning.labels import balanced_epoch, mask_absent_classes, stopping_score, validation_scores
from sslmri.learning.linear_probe import fit_linear_probe
from sslmri.learning.model import Head
from sslmri.learning.precision import autocast, with_precision
from sslmri.learning.schedule import set_learning_rates
from sslmri.learning.settings import FinetuneSettings
from sslmri.learning.views import augment, draw_augmentation, resample
from sslmri.models.history import write_epoch
from sslmri.scans.slices import Preparation


class MultiHead(nn.Module):
    """One encoder with a linear head for each disease."""

    def __init__(self, encoder: Encoder, diseases: list[str]) -> None:
        super().__init__()
        self.encoder = encoder
        feature_dim = encoder.architecture.feature_dim
        self.heads = nn.ModuleDict({key: _zero_head(feature_dim, len(DISEASES[key].classes)) for key in diseases})

    def head(self, key: str) -> Head:
        """Returns a head as it is now, with the gradients of its parameters.

        The classes of a focal one are relative to the reference class, whose logit is 0 at every location: otherwise
        tissue without a lesion, which every slice shows somewhere, would count as evidence against one.
        """
        weight, bias = (self.get_parameter(f"heads.{key}.{name}") for name in ("weight", "bias"))
        if DISEASES[key].is_focal:
            return Head(weight - weight[:1], bias - bias[:1], "log-mean-exp")
        return Head(weight, bias)

    @torch.no_grad()
    def plain_heads(self) -> dict[str, Head]:
        """Returns copies of the heads on the CPU."""
        heads = {key: self.head(key) for key in self.heads}
        return {
            key: Head(head.weight.cpu().clone(), head.bias.cpu().clone(), head.pooling) for key, head in heads.items()
        }


def _moving_average(average: Tensor, current: Tensor, n_averaged: Tensor, decay: float) -> Tensor:
    """Returns the next moving average; its first steps are short, so that the initial weights soon fade."""
    steps = float(n_averaged)
    return torch.lerp(current.float(), average.float(), min(decay, (1 + steps) / (10 + steps))).to(average.dtype)


def _zero_head(feature_dim: int, n_classes: int) -> nn.Linear:
    """Returns a head that starts with equal logits, so that its first gradients leave the pre-trained encoder alone."""
    head = nn.Linear(feature_dim, n_classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def finetune(
    encoder: Encoder,
    train: Store,
    validation: Store,
    preparation: Preparation,
    folder: Path,
    settings: FinetuneSettings,
) -> tuple[Encoder, dict[str, Head]]:
    """Returns the encoder and the heads with the best validation score, resuming from the folder's checkpoint.

    The score is the mean, over diseases with enough validation groups, of the AUROC of each class against the rest.

    Args:
        encoder: where to start from; left as it is by ``linear-probe``.
        train: labelled slices of the training groups.
        validation: labelled slices of the validation groups.
        preparation: how the slices were prepared.
        folder: where ``checkpoint.pt`` and ``history.jsonl`` are kept.
        settings: see there.

    Raises:
        TrainingError: no labels to train on, a loss or weights that are not finite, a checkpoint of other settings.
    """
    train = train.evenly_per_class(settings.labels_per_class)
    diseases = [key for key in DISEASES if any(record.disease == key for record in train.records)]
    if not diseases:
        raise TrainingError("Expected labelled training slices, got none: name a manifest with labels.")
    settings, encoder = with_precision(settings), encoder.with_output_stride(settings.output_stride)
    if settings.regime == "linear-probe":
        return encoder, fit_linear_probe(encoder, diseases, train, validation, preparation, settings)
    torch.manual_seed(settings.seed)
    return _fit_jointly(MultiHead(encoder, diseases), train, validation, preparation, folder, settings)


@dataclass(frozen=True)
class _Training:
    """What a fine-tuning works on; ``regions`` are the annotated lesions by path, (H, W) in [0, 1]."""

    model: MultiHead
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    train: Store
    regions: Mapping[Path, np.ndarray]
    preparation: Preparation
    settings: FinetuneSettings

    def state(self) -> dict[str, Any]:
        """Returns weights, their moving average and the state of the optimiser."""
        weights = {"model": self.model.state_dict(), "average": self.average.state_dict()}
        return {**weights, "optimizer": self.optimizer.state_dict()}


def _fit_jointly(
    model: MultiHead,
    train: Store,
    validation: Store,
    preparation: Preparation,
    folder: Path,
    settings: FinetuneSettings,
) -> tuple[Encoder, dict[str, Head]]:
    training = _start(model, train, preparation, settings)
    progress = _resume(training, folder)
    for epoch in range(progress["epoch"], settings.epochs):
        if epoch - progress["best_epoch"] >= settings.patience:
            break
        started = time.perf_counter()
        loss = _run_epoch(training, epoch)
        scores = _validate(training, validation)
        entry = {"epoch": epoch + 1, "loss": loss, "seconds": round(time.perf_counter() - started, 2), "auroc": scores}
        score = stopping_score(scores, validation) if scores else float(epoch)  # without any score the last epoch wins
        if not math.isfinite(score):
            raise TrainingError(f"Expected a finite score, got {score} in epoch {epoch + 1}: lower the learning rate.")
        progress["epoch"] = epoch + 1
        if score > progress["best_score"]:
            best = {name: value.clone() for name, value in training.average.module.state_dict().items()}
            progress |= {"best_score": score, "best_epoch": epoch + 1, "best": best}
        write_epoch(folder / "history.jsonl", entry)
        begun = {"settings": begun_with(settings, train.records)}
        save_checkpoint(folder / "checkpoint.pt", begun | progress | training.state())
    model.load_state_dict(progress["best"])
    return model.encoder.cpu(), mask_absent_classes(model.plain_heads(), train)


def _start(model: MultiHead, train: Store, preparation: Preparation, settings: FinetuneSettings) -> _Training:
    """Returns a training at its first step, on the device of the settings."""
    model.to(device=pick_device(settings.device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        [
            {"params": list(model.encoder.parameters()), "peak": settings.learning_rate},
            {"params": list(model.heads.parameters()), "peak": settings.head_learning_rate},
        ],
        weight_decay=settings.weight_decay,
        fused=True,
    )
    average = AveragedModel(model, avg_fn=partial(_moving_average, decay=settings.average_decay), use_buffers=True)
    regions = read_regions(train.records, preparation) if settings.dense_weight else {}
    return _Training(model, average, optimizer, train, regions, preparation, settings)


def _resume(training: _Training, folder: Path) -> dict[str, Any]:
    """Returns how far training is: epochs done, best score so far with its epoch and weights; -1 is below any."""
    best = training.model.state_dict()
    progress: dict[str, Any] = {"epoch": 0, "best_score": -1.0, "best_epoch": 0, "best": best}
    path = folder / "checkpoint.pt"
    if path.exists():
        saved = load_checkpoint(path, begun_with(training.settings, training.train.records))
        with resuming(path):
            for weights in ("best", "model"):  # the best are used at the end: refuse now what would not fit then
                training.model.load_state_dict(saved[weights])
            training.average.load_state_dict(saved["average"])
            training.optimizer.load_state_dict(saved["optimizer"])
            epochs = {"epoch": int(saved["epoch"]), "best_epoch": int(saved["best_epoch"])}
            progress = {**epochs, "best_score": float(saved["best_score"]), "best": saved["best"]}
    return progress


def _run_epoch(training: _Training, epoch: int) -> float:
    """Runs one epoch and returns its mean loss."""
    train, optimizer, settings = training.train, training.optimizer, training.settings
    generator = Generator().manual_seed(settings.seed * 1_000_003 + epoch)
    order = balanced_epoch(train, settings.slices_per_class, settings.slices_per_group, generator)
    n_steps = max(1, len(order) // settings.batch_size)
    losses = []
    training.model.train()
    for step in tqdm(range(n_steps), desc=f"fine-tuning {epoch + 1}/{settings.epochs}", unit="step", mininterval=1.0):
        set_learning_rates(optimizer, epoch + (step + 1) / n_steps, settings)
        batch = train.select(order[step * settings.batch_size : (step + 1) * settings.batch_size])
        loss = _loss(training, batch, generator)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"Expected a finite loss, got {loss.item()} in epoch {epoch + 1}: lower the learning rate."
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        training.average.update_parameters(training.model)
        check_finite(training.state())
        losses.append(loss.item())
    return float(np.mean(losses))


def _loss(training: _Training, batch: Store, generator: Generator) -> Tensor:
    """Returns the loss of an augmented batch: of its labels and of its annotated lesions."""
    model, settings = training.model, training.settings
    device = next(model.parameters()).device
    images = as_images(torch.from_numpy(batch.slices).to(device))
    parameters = draw_augmentation(len(images), settings.augmentation, generator, images.shape[2] / images.shape[3])
    with autocast(device, settings.precision):
        maps = model.encoder.feature_maps(standardise(augment(images, parameters), training.preparation))
    maps = maps.float()
    total = _cross_entropy(model, maps, batch, settings.label_smoothing)
    if settings.dense_weight:
        total = total + settings.dense_weight * _dense_loss(training, batch, maps, parameters.theta)
    return total


def _cross_entropy(model: MultiHead, maps: Tensor, batch: Store, label_smoothing: float) -> Tensor:
    """Returns the mean cross-entropy of a batch, each slice for its own disease only."""
    parts = []
    for key in model.heads:
        rows = batch.indices(disease=key)
        target = torch.from_numpy(batch.select(rows).truth).to(maps.device)
        logits = model.head(key).slice_logits(maps[rows])
        parts.append(functional.cross_entropy(logits, target, label_smoothing=label_smoothing, reduction="sum"))
    return torch.stack(parts).sum() / len(batch.records)


def _dense_loss(training: _Training, batch: Store, maps: Tensor, theta: Tensor) -> Tensor:
    """Returns the dense loss of a batch, weighted by its fraction of slices that are supervised at each location.

    These are slices with an annotated lesion, whose regions are augmented as they were, and slices without one.
    """
    total = maps.sum() * 0.0
    for key in filter(lambda key: DISEASES[key].is_focal, training.model.heads):
        reference = DISEASES[key].reference
        rows = [
            row
            for row, record in enumerate(batch.records)
            if record.disease == key and (record.label == reference or record.path in training.regions)
        ]
        if not rows:
            continue
        chosen, none = batch.select(rows), np.zeros(batch.pixels.shape[1:], dtype=bool)
        regions = torch.from_numpy(np.stack([training.regions.get(record.path, none) for record in chosen.records]))
        regions = regions.unsqueeze(1).to(maps.device).float()
        regions = resample(regions, theta[rows], (regions.shape[2], regions.shape[3]))
        local, truth = training.model.head(key).local_logits(maps[rows]), torch.from_numpy(chosen.truth)
        total = total + dense_loss(local, truth.to(maps.device), regions) * len(rows) / len(batch.records)
    return total


def _validate(training: _Training, validation: Store) -> dict[str, float]:
    """Returns the macro AUROC on slices of each disease, for diseases with two classes or more in validation."""
    model = training.average.module
    assert isinstance(model, MultiHead)
    logits = extract_logits(
        model.encoder, model.plain_heads(), validation, training.preparation, training.settings.precision
    )
    return validation_scores(logits, validation, training.train)
