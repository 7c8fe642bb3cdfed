"""Fine-tuning: linear heads for every disease on one shared encoder."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from sslmri.cohorts.inpainting import paint_lesions
from sslmri.cohorts.manifest import Record
from sslmri.cohorts.regions import read_regions
from sslmri.cohorts.store import Store
from sslmri.diseases import DISEASES
from sslmri.errors import TrainingError
from sslmri.learning.checkpoint import begun_with, check_finite, load_checkpoint, resuming, save_checkpoint
from sslmri.learning.dense_loss import dense_loss
from sslmri.learning.encoder import Encoder, Maps, as_images, pick_device, standardise
from sslmri.learning.features import extract_logits
from sslmri.learning.labels import balanced_epoch, mask_absent_classes, stopping_score, validation_scores
from sslmri.learning.logistic import fit_linear_probe
from sslmri.learning.model import Head
from sslmri.learning.multihead import MultiHead
from sslmri.learning.precision import autocast, with_precision
from sslmri.learning.schedule import set_learning_rates
from sslmri.learning.settings import FinetuneSettings
from sslmri.learning.views import augment, draw_augmentation, resample
from sslmri.models.history import write_epoch
from sslmri.scans.slices import Preparation

_LATE_RATE = 1 / 3  # of the encoder's learning rate, in the second phase
LATE = "late"  # folder of the second phase, in that of a fine-tuning


def _moving_average(average: Tensor, current: Tensor, n_averaged: Tensor, decay: float) -> Tensor:
    """Returns the next moving average; its first steps are short, so that the initial weights soon fade."""
    steps = float(n_averaged)
    return torch.lerp(current.float(), average.float(), min(decay, (1 + steps) / (10 + steps))).to(average.dtype)


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

    With ``late_epochs`` a second phase follows, in which heads for lesions read the second stage too. The stem and the
    first two stages are frozen, so diseases whose heads are fitted on the second stage afterwards are left out. Each
    epoch has as many copies from ``paint_lesions`` as other slices of each class. A ``linear-probe`` leaves the encoder
    as it is. The folder keeps ``checkpoint.pt`` and ``history.jsonl``.

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
    regions = read_regions(train.records, preparation) if settings.dense_weight else {}
    slices = _Slices(train, train.select([]), validation, regions, preparation)
    encoder, heads = _fit_jointly(MultiHead(encoder, diseases), slices, folder, settings)
    if not settings.late_epochs:
        return encoder, heads
    diseases = [key for key in diseases if not (settings.refits_atrophy and DISEASES[key].is_atrophy)]
    rate = settings.learning_rate * _LATE_RATE
    settings = replace(settings, epochs=settings.late_epochs, learning_rate=rate)
    encoder, late = _fit_jointly(MultiHead(encoder, diseases, heads), slices.late(diseases), folder / LATE, settings)
    return encoder, heads | late


@dataclass(frozen=True)
class _Slices:
    """What a fine-tuning works on: slices to train on, their painted copies, and those that choose the epoch.

    Training slices and copies give as many of each class to an epoch; ``regions`` are the annotated lesions by path,
    (H, W) bool.
    """

    train: Store
    copies: Store
    validation: Store
    regions: Mapping[Path, np.ndarray]
    preparation: Preparation

    def late(self, diseases: list[str]) -> "_Slices":
        """Returns the slices of some diseases, with copies of those with an annotated lesion."""
        focal = self.train.where(disease=[key for key in diseases if DISEASES[key].is_focal])
        copies = paint_lesions(focal, [self.regions.get(record.path) for record in focal.records])
        return replace(self, train=self.train.where(disease=diseases), copies=copies)

    def region(self, record: Record) -> np.ndarray:
        """Returns where the lesion of a training slice lies, empty without one: (H, W) bool."""
        found = None if record.label == DISEASES[str(record.disease)].reference else self.regions.get(record.path)
        return np.zeros(self.preparation.image_size, dtype=bool) if found is None else found


@dataclass(frozen=True)
class _Training:
    """The state of a fine-tuning."""

    model: MultiHead
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    slices: _Slices
    settings: FinetuneSettings

    def state(self) -> dict[str, Any]:
        """Returns weights, their moving average and the state of the optimiser."""
        weights = {"model": self.model.state_dict(), "average": self.average.state_dict()}
        return {**weights, "optimizer": self.optimizer.state_dict()}


def _fit_jointly(
    model: MultiHead, slices: _Slices, folder: Path, settings: FinetuneSettings
) -> tuple[Encoder, dict[str, Head]]:
    training = _start(model, slices, settings)
    progress, train, validation = _resume(training, folder), slices.train, slices.validation
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


def _start(model: MultiHead, slices: _Slices, settings: FinetuneSettings) -> _Training:
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
    return _Training(model, average, optimizer, slices, settings)


def _resume(training: _Training, folder: Path) -> dict[str, Any]:
    """Returns how far training is: epochs done, best score so far with its epoch and weights; -1 is below any."""
    best = training.model.state_dict()
    progress: dict[str, Any] = {"epoch": 0, "best_score": -1.0, "best_epoch": 0, "best": best}
    path = folder / "checkpoint.pt"
    if path.exists():
        saved = load_checkpoint(path, begun_with(training.settings, training.slices.train.records))
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
    optimizer, settings = training.optimizer, training.settings
    generator = Generator().manual_seed(settings.seed * 1_000_003 + epoch)
    drawn = _draw(training, generator)
    n_steps = max(1, len(drawn.records) // settings.batch_size)
    losses = []
    training.model.train()
    for step in tqdm(range(n_steps), desc=f"fine-tuning {epoch + 1}/{settings.epochs}", unit="step", mininterval=1.0):
        set_learning_rates(optimizer, epoch + (step + 1) / n_steps, settings)
        rows = range(len(drawn.records))[step * settings.batch_size : (step + 1) * settings.batch_size]
        loss = _loss(training, drawn.select(rows), generator)
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


def _draw(training: _Training, generator: Generator) -> Store:
    """Returns the slices of an epoch, in random order: as many of each class of the copies as of the others."""
    slices, settings = training.slices, training.settings
    limits = settings.slices_per_class, settings.slices_per_group
    order = balanced_epoch(slices.train, *limits, generator)
    if not slices.copies.records:
        return slices.train.select(order)
    both = slices.train.select(order).joined(slices.copies.select(balanced_epoch(slices.copies, *limits, generator)))
    return both.select(torch.randperm(len(both.records), generator=generator).tolist())


def _loss(training: _Training, batch: Store, generator: Generator) -> Tensor:
    """Returns the loss of an augmented batch: of its labels and of its annotated lesions."""
    model, settings = training.model, training.settings
    device = next(model.parameters()).device
    images = as_images(torch.from_numpy(batch.slices).to(device))
    parameters = draw_augmentation(len(images), settings.augmentation, generator, images.shape[2] / images.shape[3])
    with autocast(device, settings.precision):
        maps = model.encoder.maps(standardise(augment(images, parameters), training.slices.preparation))
    maps = Maps(*(stage.float() for stage in maps))
    total = maps.last.sum() * 0.0
    for key in model.heads:
        head, rows = model.head(key), batch.indices(disease=key)
        own, local = batch.select(rows), head.local_logits(Maps(*(stage[rows] for stage in maps)))
        truth = torch.from_numpy(own.truth).to(device)
        losses = functional.cross_entropy(
            head.slice_logits(local), truth, label_smoothing=settings.label_smoothing, reduction="sum"
        )
        total = total + losses / len(batch.records)
        if settings.dense_weight and DISEASES[key].is_focal and rows:
            dense = _dense_loss(training, own, local, parameters.theta[rows])
            total = total + settings.dense_weight * dense / len(batch.records)
    return total


def _dense_loss(training: _Training, own: Store, local: Tensor, theta: Tensor) -> Tensor:
    """Returns the dense loss of slices of one disease, times the number of those supervised at each location.

    These are slices with an annotated lesion, whose regions are augmented as they were, and slices without one. Of M
    slices there are the logits of their locations, (M, C, h, w), and how they were augmented, (M, 2, 3).
    """
    regions = torch.from_numpy(np.stack([training.slices.region(record) for record in own.records]))
    truth = torch.from_numpy(own.truth)
    chosen = regions.any(dim=(1, 2)) | (truth == 0)
    if not chosen.any():
        return local.sum() * 0.0
    regions = regions[chosen].unsqueeze(1).to(local.device).float()
    regions = resample(regions, theta[chosen], (regions.shape[2], regions.shape[3]))
    return dense_loss(local[chosen], truth[chosen].to(local.device), regions) * int(chosen.sum())


def _validate(training: _Training, validation: Store) -> dict[str, float]:
    """Returns the macro AUROC on slices of each disease, for diseases with two classes or more in validation."""
    model = training.average.module
    assert isinstance(model, MultiHead)
    logits = extract_logits(
        model.encoder, model.plain_heads(), validation, training.slices.preparation, training.settings.precision
    )
    return validation_scores(logits, validation, training.slices.train)
