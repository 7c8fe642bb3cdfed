"""Pre-training without labels: SimCLR (Chen et al. 2020, arXiv:2002.05709, algorithm 1)."""

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn
from tqdm import tqdm

from sslmri.cohorts.store import Store
from sslmri.errors import TrainingError
from sslmri.learning.checkpoint import load_checkpoint, save_checkpoint
from sslmri.learning.encoder import Encoder, pick_device
from sslmri.learning.probe import knn_probe
from sslmri.learning.run import append_history, keep_history
from sslmri.learning.simclr import ProjectionHead, nt_xent
from sslmri.learning.views import ViewSettings, two_views
from sslmri.scans.slices import Preparation


@dataclass(frozen=True)
class PretrainSettings:
    """Settings of pre-training.

    Attributes:
        epochs: passes over the pre-training slices.
        batch_size: slices a step; each gives two views, so a view has ``2 * batch_size - 2`` negatives.
        learning_rate: of AdamW, at its peak.
        weight_decay: of AdamW.
        warmup_epochs: epochs over which the learning rate rises from 0, before its cosine decay to 0.
        temperature: tau of NT-Xent.
        probe_every: epochs between two kNN probes on validation groups.
        seed: of the weights, the order of slices and the views.
        device: ``auto``, ``cpu`` or ``cuda``.
        views: how a view is made.
    """

    epochs: int = 3
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup_epochs: float = 1.0
    temperature: float = 0.07
    probe_every: int = 5
    seed: int = 0
    device: str = "auto"
    views: ViewSettings = field(default_factory=ViewSettings)


class SimCLR(nn.Module):
    """Encoder f and projection head g: slices (N, 1, H, W) -> projections z (N, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.head = ProjectionHead()

    def forward(self, slices: Tensor) -> Tensor:
        """Returns g(f(slices))."""
        return self.head(self.encoder(slices))


def pretrain(
    pool: Store, probe: tuple[Store, Store], preparation: Preparation, folder: Path, settings: PretrainSettings
) -> Encoder:
    """Returns the encoder after pre-training on the slices of ``pool``, resuming from the folder's checkpoint.

    Every epoch draws its order and its views from ``(seed, epoch)`` alone and ends with an atomic checkpoint, so a
    run that was stopped and resumed has the weights of one that never was (bit for bit on the CPU).

    Args:
        pool: the slices to learn from; labels are not looked at.
        probe: labelled (bank, queries) for the kNN probe; the queries' groups are not in ``pool``.
        preparation: how the slices were prepared.
        folder: where ``checkpoint.pt`` and ``history.jsonl`` are kept.
        settings: see there.

    Raises:
        TrainingError: fewer slices than a batch, a loss that is not finite, a checkpoint of other settings.
    """
    n_steps = len(pool.records) // settings.batch_size
    if n_steps == 0:
        raise TrainingError(
            f"Expected at least {settings.batch_size} slices, got {len(pool.records)}: lower the batch."
        )
    device = pick_device(settings.device)
    torch.manual_seed(settings.seed)
    model = SimCLR().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=settings.weight_decay, fused=True)
    first = _resume(folder, model, optimizer, settings)
    for epoch in range(first, settings.epochs):
        started = time.perf_counter()
        loss = _run_epoch(model, optimizer, pool, preparation, epoch, settings)
        seconds = time.perf_counter() - started
        is_probed = (epoch + 1) % settings.probe_every == 0 or epoch + 1 == settings.epochs
        entry = {
            "epoch": epoch + 1,
            "loss": loss,
            "seconds": round(seconds, 2),
            "slices_per_s": round(n_steps * settings.batch_size / seconds, 1),
            "knn": knn_probe(model.encoder, *probe, preparation) if is_probed else None,
        }
        append_history(folder / "history.jsonl", entry)
        state = {"epoch": epoch + 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
        save_checkpoint(folder / "checkpoint.pt", {"settings": asdict(settings), **state})
    return model.encoder


def cosine_with_warmup(progress: float, warmup: float) -> float:
    """Returns the learning rate as a share of its peak: rises to 1 at ``warmup``, falls to 0 at progress 1.

    Both arguments are shares of the whole training (Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5).
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def autocast(device: torch.device) -> torch.autocast:
    """Returns the bfloat16 context in which training steps run."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _resume(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, settings: PretrainSettings) -> int:
    """Returns the first epoch to run, with model and optimiser as they were at its start."""
    path = folder / "checkpoint.pt"
    first = 0
    if path.exists():
        state = load_checkpoint(path, asdict(settings))
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"]
    keep_history(folder / "history.jsonl", first)
    return first


def _run_epoch(
    model: SimCLR,
    optimizer: torch.optim.Optimizer,
    pool: Store,
    preparation: Preparation,
    epoch: int,
    settings: PretrainSettings,
) -> float:
    """Runs one epoch and returns its mean loss."""
    device = next(model.parameters()).device
    generator = Generator().manual_seed(settings.seed * 1_000_003 + epoch)
    order = torch.randperm(len(pool.records), generator=generator).numpy()
    n_steps = len(order) // settings.batch_size
    warmup = min(0.5, settings.warmup_epochs / settings.epochs)
    losses = []
    model.train()
    bar = tqdm(range(n_steps), desc=f"pre-training {epoch + 1}/{settings.epochs}", unit="step", mininterval=1.0)
    for step in bar:
        rate = settings.learning_rate * cosine_with_warmup((epoch + (step + 1) / n_steps) / settings.epochs, warmup)
        for parameters in optimizer.param_groups:
            parameters["lr"] = rate
        chosen = order[step * settings.batch_size : (step + 1) * settings.batch_size]
        slices = torch.from_numpy(np.ascontiguousarray(pool.slices[np.sort(chosen)])).to(device)
        loss = _loss(model, slices, preparation, settings, generator)
        if not torch.isfinite(loss):
            raise TrainingError(f"Expected a finite loss, got {loss.item()} in epoch {epoch + 1}: lower the rate.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        bar.set_postfix(loss=f"{losses[-1]:.3f}", slices_per_s=f"{_rate(bar) * settings.batch_size:.1f}")
    return float(np.mean(losses))


def _loss(
    model: SimCLR, slices: Tensor, preparation: Preparation, settings: PretrainSettings, generator: Generator
) -> Tensor:
    views = two_views(slices.unsqueeze(1).float() / 255.0, settings.views, generator)
    views = (views.flatten(0, 1) - preparation.mean) / preparation.std
    with autocast(slices.device):
        projections = model(views.contiguous(memory_format=torch.channels_last))
    return nt_xent(projections.unflatten(0, (2, -1)), settings.temperature)


def _rate(bar: tqdm) -> float:
    return float(bar.format_dict["rate"] or 0.0)
