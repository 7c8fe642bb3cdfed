"""Several processes on one training, started by torchrun: gloo between CPUs, NCCL between GPUs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather
from torch.nn.parallel import DistributedDataParallel

from sslmri.learning.encoder import pick_device

_TIMEOUT = timedelta(hours=1)  # the first process probes and writes while the others wait


def n_processes() -> int:
    """Returns how many processes train together; 1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_index() -> int:
    """Returns the rank of this process; the one of rank 0 writes."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextmanager
def joined_processes(device: str) -> Iterator[None]:
    """Joins the processes that torchrun started for the time of the context; does nothing without torchrun.

    Raises:
        TrainingError: there are fewer GPUs than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    chosen = pick_device(device)
    backend = "gloo"
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
        backend = "nccl"
    dist.init_process_group(backend, timeout=_TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def first_on_each_host() -> Iterator[None]:
    """Lets the first process of each host run before the others, which then find what it has written."""
    is_first = os.environ.get("LOCAL_RANK", "0") == "0"
    if dist.is_initialized() and not is_first:
        dist.barrier()
    yield
    if dist.is_initialized() and is_first:
        dist.barrier()


def distributed_model(model: nn.Module) -> nn.Module:
    """Returns the model as it is called in training, with gradients averaged over all processes.

    Batch norm is taken over the joint batch on GPUs. On CPUs each process takes it over its part of the batch
    (``nn.SyncBatchNorm`` needs GPUs), and the running statistics that are saved are those of the first process.
    """
    if n_processes() == 1:
        return model
    is_on_gpu = next(model.parameters()).is_cuda
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(model) if is_on_gpu else model
    return DistributedDataParallel(synchronised, broadcast_buffers=False)


def gathered(projections: Tensor) -> Tensor:
    """Returns the projections of all processes: (2, N, D) of this one -> (2, N * processes, D), in their order.

    Every process then takes the same loss over all negatives. The gradient of a projection is the sum over the losses
    of all processes; divided by their number, as DistributedDataParallel does, it is that of the joint batch.
    """
    if n_processes() == 1:
        return projections
    return torch.cat(all_gather(projections.float().contiguous()), dim=1)
