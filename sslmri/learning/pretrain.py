"""Pre-training without labels: SimCLR (Chen et al. 2020, arXiv:2002.05709, algorithm 1)."""

import math
import time
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from sslmri.cohorts.store import Store
from sslmri.errors import TrainingError
from sslmri.learning.checkpoint import begun_with, check_finite, load_checkpoint, resuming, save_checkpoint
from sslmri.learning.distributed import distributed_model, gathered, n_processes, process_index
from sslmri.learning.encoder import Encoder, as_images, pick_device, standardise
from sslmri.learning.precision import autocast, with_precision
from sslmri.learning.probe import knn_probe
from sslmri.learning.progress import (
    MEASURED,
    add_epoch,
    collapse_measures,
    sample_views,
    tensorboard_events,
    write_views,
)
from sslmri.learning.schedule import set_learning_rates
from sslmri.learning.settings import PretrainSettings
from sslmri.learning.views import ViewParameters, draw_views, make_views
from sslmri.models.architecture import Architecture
from sslmri.models.history import HISTORY_FILE, collapse_sentence, write_epoch
from sslmri.scans.slices import Preparation

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PROJECTION_DIM = 128


class ProjectionHead(nn.Sequential):
    """The projection head g: features h (N, K) -> projections z (N, 128), through K / 2 and K / 4."""

    def __init__(self, feature_dim: int) -> None:
        layers: list[nn.Module] = []
        width = feature_dim
        for _ in range(2):
            layers += [nn.Linear(width, width // 2, bias=False), nn.BatchNorm1d(width // 2), nn.ReLU(inplace=True)]
            width //= 2
        super().__init__(*layers, nn.Linear(width, PROJECTION_DIM))


class SimCLR(nn.Module):
    """Encoder f and projection head g: slices (N, 1, H, W) -> features h (N, K) and projections z (N, 128)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.encoder = Encoder(architecture)
        self.head = ProjectionHead(architecture.feature_dim)

    def forward(self, slices: Tensor) -> tuple[Tensor, Tensor]:
        """Returns f(slices) and g(f(slices))."""
        features = self.encoder(slices)
        return features, self.head(features)


@dataclass(frozen=True)
class _Training:
    """What a pre-training works on; ``trained`` is the model as it is called in a step, ``start`` as on its card."""

    model: SimCLR
    trained: nn.Module
    optimizer: torch.optim.Optimizer
    pool: Store
    preparation: Preparation
    folder: Path
    settings: PretrainSettings
    start: str


def pretrain(
    pool: Store,
    probe: tuple[Store, Store],
    preparation: Preparation,
    folder: Path,
    settings: PretrainSettings,
    start: tuple[Encoder, str] | None = None,
    has_events: bool = False,
) -> Encoder:
    """Returns the encoder after pre-training on the slices of ``pool``, resuming from the folder's checkpoint.

    Every epoch draws its order and its views from ``(seed, epoch)`` alone and ends with an atomic checkpoint, so a run
    that was stopped and resumed has the weights of one that never was (bit for bit on the CPU, in one precision). Under
    torchrun the processes share each batch, and the first of them probes and writes. The labels of the pool are not
    used; the probe is a labelled bank with queries, whose groups are not in the pool. The folder keeps
    ``checkpoint.pt``, ``history.jsonl``, ``views.png``, a few pairs of views, and perhaps TensorBoard events. A start
    is the encoder to begin with, whose layers take the place of the architecture's, and what it is, in a sentence.

    Raises:
        TrainingError: fewer slices than a batch, a loss or weights that are not finite, a checkpoint of other settings.
    """
    device, settings = pick_device(settings.device), with_precision(settings)
    _check_batch_size(settings.batch_size, len(pool.records))
    if start:
        stride = settings.architecture.output_stride
        settings = replace(settings, architecture=replace(start[0].architecture, output_stride=stride))
    torch.manual_seed(settings.seed)
    model = SimCLR(settings.architecture).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start:
        model.encoder.load_state_dict(start[0].state_dict())
    trained = distributed_model(model)
    if device.type == "cuda":
        trained = torch.compile(trained)  # type: ignore[assignment]
    groups = [{"params": list(model.parameters()), "peak": settings.learning_rate}]
    optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
    training = _Training(model, trained, optimizer, pool, preparation, folder, settings, start[1] if start else "")
    _train(training, _resume(training), probe, has_events)
    return model.encoder


def _train(training: _Training, first: int, probe: tuple[Store, Store], has_events: bool) -> None:
    """Trains from an epoch on; the first process writes what can be watched."""
    is_first, events = process_index() == 0, training.folder / "tensorboard"
    views = sample_views(training.pool, training.settings.views, training.settings.seed)
    if is_first:
        write_views(training.folder, views)
    with tensorboard_events(events, first + 1, views) if is_first and has_events else nullcontext() as writer:
        for epoch in range(first, training.settings.epochs):
            entry = _run_epoch(training, epoch)
            if is_first:
                _record(training, entry, probe, writer)


def batch_loss(
    trained: nn.Module,
    pool: Store,
    rows: np.ndarray,
    views: ViewParameters,
    preparation: Preparation,
    settings: PretrainSettings,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns NT-Xent of one batch, and the features (2, N, K) and projections (2, N, 128) of both views of its slices.

    Each process makes the views of its part, of which these are; the negatives come from all. Rows
    are (N,); there are 2 N views, the first of each slice and then the second.
    """
    device = next(trained.parameters()).device
    part = torch.arange(len(rows)).view(n_processes(), -1)[process_index()]
    images = as_images(torch.from_numpy(pool.batch(rows[part.numpy()])).to(device))
    parameters = views.pick(torch.cat([part, part + len(rows)]))
    made = make_views(torch.cat([images, images]), parameters, settings.views)
    with autocast(device, settings.precision):
        features, projections = (both.unflatten(0, (2, -1)) for both in trained(standardise(made, preparation)))
    loss = nt_xent(gathered(projections), settings.temperature)
    return loss, features.detach(), projections.detach()


def nt_xent(projections: Tensor, temperature: float) -> Tensor:
    """Returns the NT-Xent loss of a batch: the mean over all 2N views of equation 1.

    The loss of a view is the cross-entropy of finding its partner among the 2N - 1 other views, with cosine
    similarities divided by the temperature as logits.

    Args:
        projections: (2, N, D); ``[0, n]`` and ``[1, n]`` are the positive pair of slice n.
        temperature: tau of equation 1, above 0.
    """
    n = projections.shape[1]
    unit = functional.normalize(projections.float().flatten(0, 1), dim=1)
    similarity = unit @ unit.T / temperature
    similarity.fill_diagonal_(float("-inf"))
    partner = torch.arange(2 * n, device=unit.device).roll(n)
    return functional.cross_entropy(similarity, partner)


def _resume(training: _Training) -> int:
    """Returns the first epoch to run, with model and optimiser as they were at its start."""
    path = training.folder / "checkpoint.pt"
    if not path.exists():
        return 0
    state = load_checkpoint(path, begun_with(training.settings, training.pool.records, training.start))
    with resuming(path):
        training.model.load_state_dict(state["model"])
        training.optimizer.load_state_dict(state["optimizer"])
        return int(state["epoch"])


def _record(
    training: _Training, entry: dict[str, Any], probe: tuple[Store, Store], writer: "SummaryWriter | None"
) -> None:
    """Probes where it is due, then writes the epoch's line of history, its events and its checkpoint, in this order.

    A training that was killed between two of them repeats the epoch: its line and its events replace the former.
    """
    settings, epoch = training.settings, entry["epoch"]
    is_probed = epoch % settings.probe_every == 0 or epoch == settings.epochs
    encoder = training.model.encoder
    knn = knn_probe(encoder, *probe, training.preparation, settings.precision) if is_probed else None
    entry |= {"knn": knn}
    write_epoch(training.folder / HISTORY_FILE, entry)
    if writer:
        add_epoch(writer, entry)
    if sentence := collapse_sentence(entry):
        print(f"epoch {epoch}: {sentence}", flush=True)
    state = {"epoch": epoch, "model": training.model.state_dict(), "optimizer": training.optimizer.state_dict()}
    begun = begun_with(settings, training.pool.records, training.start)
    save_checkpoint(training.folder / "checkpoint.pt", {"settings": begun, **state})


def _run_epoch(training: _Training, epoch: int) -> dict[str, Any]:
    """Runs one epoch and returns its line of history."""
    trained, optimizer, pool, settings = training.trained, training.optimizer, training.pool, training.settings
    generator = Generator().manual_seed(settings.seed * 1_000_003 + epoch)
    batches = _batches(len(pool.records), settings.batch_size, generator)
    losses, measured = [], deque[tuple[Tensor, Tensor]](maxlen=math.ceil(MEASURED / settings.batch_size))
    trained.train()
    description = f"pre-training {epoch + 1}/{settings.epochs}"
    bar = tqdm(batches, desc=description, unit="step", mininterval=1.0, disable=process_index() > 0)
    started = time.perf_counter()
    for step, rows in enumerate(bar):
        set_learning_rates(optimizer, epoch + (step + 1) / len(batches), settings)
        views = draw_views(2 * len(rows), settings.views, generator)
        optimizer.zero_grad(set_to_none=True)
        loss, features, projections = batch_loss(trained, pool, rows, views, training.preparation, settings)
        loss.backward()
        losses.append(loss.item())
        measured.append((features, projections))
        if not math.isfinite(losses[-1]):
            raise TrainingError(
                f"Expected a finite loss, got {losses[-1]} in epoch {epoch + 1}: lower the learning rate."
            )
        optimizer.step()
        check_finite({"model": trained.state_dict(), "optimizer": optimizer.state_dict()})
        bar.set_postfix(loss=f"{losses[-1]:.3f}")
    seconds = time.perf_counter() - started
    entry = {"epoch": epoch + 1, "epochs": settings.epochs, "loss": float(np.mean(losses))}
    entry |= {"batch_size": settings.batch_size, "learning_rate": optimizer.param_groups[0]["lr"]}
    entry |= collapse_measures(*(torch.cat(parts, dim=1)[:, -MEASURED:] for parts in zip(*measured, strict=True)))
    left = round(seconds * (settings.epochs - epoch - 1), 1)  # without the probes
    slices_per_s = round(len(batches) * settings.batch_size / seconds, 1)
    return entry | {"seconds": round(seconds, 2), "seconds_left": left, "slices_per_s": slices_per_s}


def _batches(n_slices: int, batch_size: int, generator: Generator) -> list[np.ndarray]:
    """Returns the rows of each batch (batch_size,), drawn at random; what is left over is left out of the epoch."""
    n_batches = n_slices // batch_size
    order = torch.randperm(n_slices, generator=generator)[: n_batches * batch_size]
    return list(np.sort(order.view(n_batches, batch_size).numpy()))


def _check_batch_size(size: int, n_slices: int) -> None:
    """Refuses a batch that is larger than the pool, or that the processes cannot share equally.

    Raises:
        TrainingError: saying so.
    """
    if size > n_slices:
        raise TrainingError(f"Expected at least {size} slices, got {n_slices}: lower the batch.")
    parts = n_processes()
    if size % parts or size // parts < 2:
        raise TrainingError(
            f"Expected a batch of at least 2 slices for each of {parts} processes, the same for all, got {size}: "
            f"choose a multiple of {parts}."
        )
