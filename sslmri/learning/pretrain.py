"""Pre-training without labels: SimCLR (Chen et al. 2020, arXiv:2002.05709, algorithm 1)."""

import math
import time
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor, nn
from tqdm import tqdm

from sslmri.cohorts.store import Store
from sslmri.errors import TrainingError
from sslmri.learning.batch_size import largest_batch
from sslmri.learning.checkpoint import check_finite, load_checkpoint, resuming, save_checkpoint
from sslmri.learning.distributed import distributed_model, gathered, n_processes, process_index
from sslmri.learning.encoder import Encoder, pick_device
from sslmri.learning.model import load_encoder
from sslmri.learning.pairs import PairSampler
from sslmri.learning.probe import knn_probe
from sslmri.learning.simclr import ProjectionHead, nt_xent
from sslmri.learning.views import ViewParameters, ViewSettings, draw_views, make_views
from sslmri.models.architecture import RESNET50, Architecture
from sslmri.models.cards import ENCODER_FILE
from sslmri.models.history import append_history, keep_history
from sslmri.scans.slices import Preparation


@dataclass(frozen=True)
class PretrainSettings:
    """Settings of pre-training.

    Attributes:
        epochs: passes over the pre-training slices.
        batch_size: slices a step, over all processes; each gives two views, so a view has ``2 * batch_size - 2``
            negatives. 0 takes the largest that fits on the GPU.
        micro_batches: parts in which a step is computed where memory is short; negatives then come from the part.
        learning_rate: of AdamW, at its peak.
        weight_decay: of AdamW.
        warmup_epochs: epochs over which the learning rate rises from 0, before its cosine decay to 0.
        temperature: tau of NT-Xent.
        start: folder of an earlier pre-training whose encoder this one goes on from, with a new projection head; Azizi
            et al. 2021 (arXiv:2101.05224) learn from pairs of a person's pictures after SimCLR as published.
        neighbours: how many slice numbers apart two slices of one group may be to make a positive pair; 0: both views
            come from one slice, as published.
        probe_every: epochs between two kNN probes on validation groups.
        seed: of the weights, the order of slices and the views.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: of the forward pass; weights and loss are float32.
        architecture: of the encoder.
        views: how a view is made.
    """

    epochs: int = 3
    batch_size: int = 64
    micro_batches: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup_epochs: float = 1.0
    temperature: float = 0.07
    start: str = ""
    neighbours: int = 0
    probe_every: int = 5
    seed: int = 0
    device: str = "auto"
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    architecture: Architecture = RESNET50
    views: ViewSettings = field(default_factory=ViewSettings)


class SimCLR(nn.Module):
    """Encoder f and projection head g: slices (N, 1, H, W) -> projections z (N, 128)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.encoder = Encoder(architecture)
        self.head = ProjectionHead(architecture.feature_dim)

    def forward(self, slices: Tensor) -> Tensor:
        """Returns g(f(slices))."""
        return self.head(self.encoder(slices))


def pretrain(
    pool: Store, probe: tuple[Store, Store], preparation: Preparation, folder: Path, settings: PretrainSettings
) -> Encoder:
    """Returns the encoder after pre-training on the slices of ``pool``, resuming from the folder's checkpoint.

    Every epoch draws its order and its views from ``(seed, epoch)`` alone and ends with an atomic checkpoint, so a
    run that was stopped and resumed has the weights of one that never was (bit for bit on the CPU). Under torchrun
    the processes share each batch and the first of them probes and writes.

    Args:
        pool: the slices to learn from; labels are not looked at.
        probe: labelled (bank, queries) for the kNN probe; the queries' groups are not in ``pool``.
        preparation: how the slices were prepared.
        folder: where ``checkpoint.pt`` and ``history.jsonl`` are kept.
        settings: see there.

    Raises:
        TrainingError: fewer slices than a batch, a loss or weights that are not finite, a checkpoint of other settings.
    """
    device = pick_device(settings.device)
    torch.manual_seed(settings.seed)
    model = SimCLR(settings.architecture)
    if settings.start:
        model.encoder.load_state_dict(load_encoder(Path(settings.start) / ENCODER_FILE).state_dict())
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    settings = replace(settings, batch_size=_batch_size(model, len(pool.records), settings))
    trained = distributed_model(model)
    if device.type == "cuda":
        trained = torch.compile(trained)  # type: ignore[assignment]
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=settings.weight_decay, fused=True)
    first = _resume(folder, model, optimizer, settings)
    sampler = PairSampler(pool, settings.neighbours)
    for epoch in range(first, settings.epochs):
        entry = _run_epoch(trained, optimizer, pool, sampler, preparation, epoch, settings)
        if process_index() == 0:
            _record(model, optimizer, entry, probe, preparation, folder, settings)
    return model.encoder


def cosine_with_warmup(progress: float, warmup: float) -> float:
    """Returns the learning rate as a share of its peak: rises to 1 at ``warmup``, falls to 0 at progress 1.

    Both arguments are shares of the whole training (Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5).
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def autocast(device: torch.device, precision: str = "bfloat16") -> torch.autocast:
    """Returns the context in which training steps run."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def _resume(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, settings: PretrainSettings) -> int:
    """Returns the first epoch to run, with model and optimiser as they were at its start."""
    path = folder / "checkpoint.pt"
    first = 0
    if path.exists():
        state = load_checkpoint(path, asdict(settings))
        with resuming(path):
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            first = int(state["epoch"])
    if process_index() == 0:
        keep_history(folder / "history.jsonl", first)
    return first


def _record(
    model: SimCLR,
    optimizer: torch.optim.Optimizer,
    entry: dict[str, Any],
    probe: tuple[Store, Store],
    preparation: Preparation,
    folder: Path,
    settings: PretrainSettings,
) -> None:
    """Probes where it is due, then writes the epoch's line of history and its checkpoint."""
    epoch = entry["epoch"]
    is_probed = epoch % settings.probe_every == 0 or epoch == settings.epochs
    knn = knn_probe(model.encoder, *probe, preparation) if is_probed else None
    append_history(folder / "history.jsonl", entry | {"knn": knn})
    state = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    save_checkpoint(folder / "checkpoint.pt", {"settings": asdict(settings), **state})


def _run_epoch(
    trained: nn.Module,
    optimizer: torch.optim.Optimizer,
    pool: Store,
    sampler: PairSampler,
    preparation: Preparation,
    epoch: int,
    settings: PretrainSettings,
) -> dict[str, Any]:
    """Runs one epoch and returns its line of history."""
    generator = Generator().manual_seed(settings.seed * 1_000_003 + epoch)
    batches = sampler.epoch(settings.batch_size, generator)
    n_steps = len(batches)
    warmup = min(0.5, settings.warmup_epochs / settings.epochs)
    losses = []
    trained.train()
    description = f"pre-training {epoch + 1}/{settings.epochs}"
    bar = tqdm(batches, desc=description, unit="step", mininterval=1.0, disable=process_index() > 0)
    started = time.perf_counter()
    for step, pairs in enumerate(bar):
        rate = settings.learning_rate * cosine_with_warmup((epoch + (step + 1) / n_steps) / settings.epochs, warmup)
        for parameters in optimizer.param_groups:
            parameters["lr"] = rate
        views = draw_views(pairs.size, settings.views, generator)
        optimizer.zero_grad(set_to_none=True)
        losses.append(backpropagate(trained, pool, pairs, views, preparation, settings))
        if not math.isfinite(losses[-1]):
            raise TrainingError(f"Expected a finite loss, got {losses[-1]} in epoch {epoch + 1}: lower the rate.")
        optimizer.step()
        check_finite({"model": trained.state_dict(), "optimizer": optimizer.state_dict()})
        bar.set_postfix(loss=f"{losses[-1]:.3f}", slices_per_s=f"{_rate(bar) * settings.batch_size:.1f}")
    seconds = time.perf_counter() - started
    rate = round(n_steps * settings.batch_size / seconds, 1)
    entry = {"epoch": epoch + 1, "loss": float(np.mean(losses)), "batch_size": settings.batch_size}
    return entry | {"seconds": round(seconds, 2), "slices_per_s": rate}


def backpropagate(
    trained: nn.Module,
    pool: Store,
    pairs: np.ndarray,
    views: ViewParameters,
    preparation: Preparation,
    settings: PretrainSettings,
) -> float:
    """Adds the gradients of one batch and returns its loss.

    The batch is cut into micro-batches, and each of them among the processes; which process makes a view changes
    nothing about it.

    Args:
        trained: the model, as ``distributed_model`` returns it.
        pool: the slices.
        pairs: (2, N) rows of the pool; a column is a positive pair.
        views: 2 N parameters, of the first slices of the pairs and then of the second.
        preparation: how the slices were prepared.
        settings: see there.
    """
    device = next(trained.parameters()).device
    parts = torch.arange(pairs.shape[1]).view(settings.micro_batches, n_processes(), -1)[:, process_index()]
    total = 0.0
    for rows in parts:
        slices = torch.from_numpy(pool.batch(pairs[:, rows.numpy()].ravel())).to(device).unsqueeze(1).float() / 255.0
        own = views.pick(torch.cat([rows, rows + pairs.shape[1]]))
        made = make_views(slices, own, settings.views)
        loss = _loss(trained, (made - preparation.mean) / preparation.std, settings) / settings.micro_batches
        loss.backward()
        total += loss.item()
    return total


def _loss(trained: nn.Module, views: Tensor, settings: PretrainSettings) -> Tensor:
    """Returns NT-Xent of views (2 N, 1, H, W) among those of all processes."""
    return nt_xent(gathered(_projections(trained, views, settings)), settings.temperature)


def _projections(trained: nn.Module, views: Tensor, settings: PretrainSettings) -> Tensor:
    """Returns the projections (2, N, 128) of views (2 N, 1, H, W)."""
    with autocast(views.device, settings.precision):
        projections: Tensor = trained(views.contiguous(memory_format=torch.channels_last))
    return projections.unflatten(0, (2, -1))


def _loss_alone(model: nn.Module, views: Tensor, settings: PretrainSettings) -> Tensor:
    """Returns NT-Xent of views among those of this process: what a step costs, without a word to the others."""
    return nt_xent(_projections(model, views, settings), settings.temperature)


def _batch_size(model: SimCLR, n_slices: int, settings: PretrainSettings) -> int:
    """Returns the slices of a step, found where they are asked to be.

    Raises:
        TrainingError: the batch is larger than the pool, or cannot be cut into equal parts.
    """
    size = settings.batch_size
    if size == 0:
        alone = partial(_loss_alone, settings=settings)
        size = largest_batch(model, settings.views.size, alone)
    if size > n_slices:
        raise TrainingError(f"Expected at least {size} slices, got {n_slices}: lower the batch.")
    parts = settings.micro_batches * n_processes()
    if size % parts or size // parts < 2:
        raise TrainingError(
            f"Expected a batch of at least 2 slices for each of {parts} parts (processes x micro-batches), all equal, "
            f"got {size}: choose a multiple of {parts}."
        )
    return size


def _rate(bar: tqdm) -> float:
    return float(bar.format_dict["rate"] or 0.0)
