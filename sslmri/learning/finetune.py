"""Fine-tuning: linear heads for every disease on one shared encoder."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
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
from sslmri.learning.checkpoint import check_finite, load_checkpoint, resuming, save_checkpoint
from sslmri.learning.consistency import HARMLESS, consistency_loss
from sslmri.learning.encoder import Encoder, pick_device, pool
from sslmri.learning.labels import (
    FinetuneSettings,
    balanced_epoch,
    mask_absent_classes,
    stopping_score,
    validation_scores,
)
from sslmri.learning.linear_probe import fit_linear_probe
from sslmri.learning.localisation_loss import localisation_loss
from sslmri.learning.model import Head
from sslmri.learning.pretrain import autocast, cosine_with_warmup
from sslmri.learning.probe import extract_features
from sslmri.learning.views import ViewParameters, augment, compose, draw_augmentation, resample
from sslmri.models.history import append_history, keep_history
from sslmri.scans.slices import Preparation


class MultiHead(nn.Module):
    """One encoder with a linear head for each disease: slices (N, 1, H, W) -> logits of all heads, and the maps."""

    def __init__(self, encoder: Encoder, diseases: list[str]) -> None:
        super().__init__()
        self.encoder = encoder
        feature_dim = encoder.architecture.feature_dim
        self.heads = nn.ModuleDict({key: _zero_head(feature_dim, len(DISEASES[key].classes)) for key in diseases})

    def forward(self, slices: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Returns the logits (N, C) of each disease, and the last feature maps (N, 2048, h, w)."""
        maps = self.encoder.feature_maps(slices)
        features = pool(maps)
        return {key: head(features) for key, head in self.heads.items()}, maps

    def plain_heads(self) -> dict[str, Head]:
        """Returns the heads as plain float32 tensors."""
        state = {name: value.detach().cpu().float() for name, value in self.heads.state_dict().items()}
        return {key: Head(state[f"{key}.weight"], state[f"{key}.bias"]) for key in self.heads}


def _moving_average(average: Tensor, current: Tensor, n_averaged: Tensor, decay: float) -> Tensor:
    """Returns the next moving average; its first steps are short, so that the start weights are soon forgotten."""
    steps = float(n_averaged)
    return torch.lerp(current.float(), average.float(), min(decay, (1 + steps) / (10 + steps))).to(average.dtype)


def _zero_head(feature_dim: int, n_classes: int) -> nn.Linear:
    """Returns a head that starts undecided, so that its first gradients do not shake the pre-trained encoder."""
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
        TrainingError: no labels to learn from, a loss or weights that are not finite, a checkpoint of other settings.
    """
    train = train.evenly_per_class(settings.labels_per_class)
    diseases = [key for key in DISEASES if any(record.disease == key for record in train.records)]
    if not diseases:
        raise TrainingError("Expected labelled training slices, got none: name a manifest with labels.")
    encoder = encoder.with_output_stride(settings.output_stride)
    if settings.regime == "linear-probe":
        heads = fit_linear_probe(encoder, diseases, train, validation, preparation, settings)
        return encoder, mask_absent_classes(heads, train)
    torch.manual_seed(settings.seed)
    return _fit_jointly(MultiHead(encoder, diseases), train, validation, preparation, folder, settings)


def _fit_jointly(
    model: MultiHead,
    train: Store,
    validation: Store,
    preparation: Preparation,
    folder: Path,
    settings: FinetuneSettings,
) -> tuple[Encoder, dict[str, Head]]:
    device = pick_device(settings.device)
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        [
            {"params": list(model.encoder.parameters()), "peak": settings.learning_rate},
            {"params": list(model.heads.parameters()), "peak": settings.head_learning_rate},
        ],
        weight_decay=settings.weight_decay,
        fused=True,
    )
    average = AveragedModel(model, avg_fn=partial(_moving_average, decay=settings.average_decay), use_buffers=True)
    state = _resume(folder, model, average, optimizer, settings)
    regions = read_regions(train.records, preparation) if settings.localisation_weight else {}
    for epoch in range(state["epoch"], settings.epochs):
        if epoch - state["best_epoch"] >= settings.patience:
            break
        started = time.perf_counter()
        loss = _run_epoch(model, average, optimizer, train, regions, preparation, epoch, settings)
        scores = _validate(average.module, train, validation, preparation)
        entry = {"epoch": epoch + 1, "loss": loss, "seconds": round(time.perf_counter() - started, 2), "auroc": scores}
        score = stopping_score(scores, validation) if scores else float(epoch)  # nothing to stop by: the last one
        if not math.isfinite(score):
            raise TrainingError(f"Expected a finite score, got {score} in epoch {epoch + 1}: lower the rate.")
        state["epoch"] = epoch + 1
        if score > state["best_score"]:
            best = {name: value.clone() for name, value in average.module.state_dict().items()}
            state |= {"best_score": score, "best_epoch": epoch + 1, "best": best}
        append_history(folder / "history.jsonl", entry)
        weights = _weights(model, average, optimizer)
        save_checkpoint(folder / "checkpoint.pt", {"settings": asdict(settings), **state, **weights})
    model.load_state_dict(state["best"])
    return model.encoder.cpu(), mask_absent_classes(model.plain_heads(), train)


def _weights(model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}


def _resume(
    folder: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, settings: FinetuneSettings
) -> dict[str, Any]:
    """Returns where training stands: epochs done, best score so far with its epoch and weights; -1 is below any."""
    state: dict[str, Any] = {"epoch": 0, "best_score": -1.0, "best_epoch": 0, "best": model.state_dict()}
    path = folder / "checkpoint.pt"
    if path.exists():
        saved = load_checkpoint(path, asdict(settings))
        with resuming(path):
            for weights in ("best", "model"):  # the best are taken at the end: better to know now that they fit
                model.load_state_dict(saved[weights])
            average.load_state_dict(saved["average"])
            optimizer.load_state_dict(saved["optimizer"])
            numbers = {"epoch": int(saved["epoch"]), "best_epoch": int(saved["best_epoch"])}
            state = {**numbers, "best_score": float(saved["best_score"]), "best": saved["best"]}
    keep_history(folder / "history.jsonl", state["epoch"])
    return state


def _run_epoch(
    model: MultiHead,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
    train: Store,
    regions: Mapping[Path, np.ndarray],
    preparation: Preparation,
    epoch: int,
    settings: FinetuneSettings,
) -> float:
    """Runs one epoch and returns its mean loss."""
    generator = Generator().manual_seed(settings.seed * 1_000_003 + epoch)
    order = balanced_epoch(train, settings.labels_per_class, generator)
    n_steps = max(1, len(order) // settings.batch_size)
    warmup = min(0.5, settings.warmup_epochs / settings.epochs)
    losses = []
    model.train()
    for step in tqdm(range(n_steps), desc=f"fine-tuning {epoch + 1}/{settings.epochs}", unit="step", mininterval=1.0):
        share = cosine_with_warmup((epoch + (step + 1) / n_steps) / settings.epochs, warmup)
        for parameters in optimizer.param_groups:
            parameters["lr"] = share * parameters["peak"]
        batch = train.select(order[step * settings.batch_size : (step + 1) * settings.batch_size])
        loss = _loss(model, batch, regions, preparation, settings, generator)
        if not torch.isfinite(loss):
            raise TrainingError(f"Expected a finite loss, got {loss.item()} in epoch {epoch + 1}: lower the rate.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.update_parameters(model)
        check_finite(_weights(model, average, optimizer))
        losses.append(loss.item())
    return float(np.mean(losses))


def _loss(
    model: MultiHead,
    batch: Store,
    regions: Mapping[Path, np.ndarray],
    preparation: Preparation,
    settings: FinetuneSettings,
    generator: Generator,
) -> Tensor:
    """Returns the loss of a batch: of its labels, of what its maps miss, and of what a small change does to it."""
    device = next(model.parameters()).device
    slices, parameters, batch = _augmented(batch, settings, generator, device)
    slices = (slices - preparation.mean) / preparation.std
    with autocast(device):
        logits, maps = model(slices.contiguous(memory_format=torch.channels_last))
    total = _cross_entropy(logits, batch, settings.label_smoothing)
    if settings.consistency_weight:
        total = total + settings.consistency_weight * consistency_loss(pool(maps))
    marked = [row for row, record in enumerate(batch.records) if record.path in regions]
    if not marked:
        return total
    return total + settings.localisation_weight * _localisation_loss(model, batch, marked, maps, regions, parameters)


def _augmented(
    batch: Store, settings: FinetuneSettings, generator: Generator, device: torch.device
) -> tuple[Tensor, ViewParameters, Store]:
    """Returns a batch's slices (N, 1, H, W) as they are shown, how they were changed, and their batch.

    Where the loss compares twins every slice is there once more, in a second half, changed a little more.
    """
    slices = torch.from_numpy(batch.slices).to(device).unsqueeze(1).float() / 255.0
    aspect = slices.shape[2] / slices.shape[3]
    parameters = draw_augmentation(len(slices), settings.augmentation, generator, aspect)
    if settings.consistency_weight:
        twins = compose(parameters, draw_augmentation(len(slices), HARMLESS, generator, aspect))
        parameters = ViewParameters(*(torch.cat(pair) for pair in zip(parameters, twins, strict=True)))
        slices, batch = torch.cat([slices, slices]), batch.select([*range(len(slices))] * 2)
    return augment(slices, parameters), parameters, batch


def _cross_entropy(logits: Mapping[str, Tensor], batch: Store, label_smoothing: float) -> Tensor:
    """Returns the mean cross-entropy of a batch, each slice for its own disease only."""
    parts = []
    for key, values in logits.items():
        rows = batch.indices(disease=key)
        target = torch.from_numpy(batch.select(rows).truth).to(values.device)
        own = values[rows].float()
        parts.append(functional.cross_entropy(own, target, label_smoothing=label_smoothing, reduction="sum"))
    return torch.stack(parts).sum() / len(batch.records)


def _localisation_loss(
    model: MultiHead,
    batch: Store,
    marked: list[int],
    maps: Tensor,
    regions: Mapping[Path, np.ndarray],
    parameters: ViewParameters,
) -> Tensor:
    """Returns the location loss of the marked slices of a batch, their regions changed as they were."""
    shown = torch.from_numpy(np.stack([regions[batch.records[row].path] for row in marked])).unsqueeze(1)
    shown = resample(shown.to(maps.device).float(), parameters.theta[marked], (shown.shape[2], shown.shape[3]))
    keys = [str(batch.records[row].disease) for row in marked]
    truth = batch.select(marked).truth.tolist()
    parts = [model.get_parameter(f"heads.{key}.weight")[index] for key, index in zip(keys, truth, strict=True)]
    return localisation_loss(maps[marked], torch.stack(parts), shown)


def _validate(model: nn.Module, train: Store, validation: Store, preparation: Preparation) -> dict[str, float]:
    """Returns the macro AUROC on slices of each disease, for diseases with two classes or more on this side."""
    assert isinstance(model, MultiHead)
    features = extract_features(model.encoder, validation.slices, preparation)
    return validation_scores(model.plain_heads(), features, validation, train)
