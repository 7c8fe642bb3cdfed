"""Several processes on one training, started by torchrun: gloo between CPUs, NCCL between GPUs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from sslmri.errors import TrainingError
from sslmri.learning.encoder import pick_device

_TIMEOUT = timedelta(hours=1)  # the first process probes and writes while the others wait


def n_processes() -> int:
    """Returns how many processes train together; 1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_index() -> int:
    """Returns which of them this one is; 0 is the one that writes."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextmanager
def joined_processes(device: str) -> Iterator[None]:
    """Joins the processes that torchrun started for as long as the context lasts; does nothing without torchrun.

    Raises:
        TrainingError: a process has no GPU of its own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    chosen = pick_device(device)
    backend = "gloo"
    if chosen.type == "cuda":
        _check_enough(torch.cuda.device_count(), int(os.environ["LOCAL_WORLD_SIZE"]))
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "nccl"
    dist.init_process_group(backend, timeout=_TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def first_on_each_machine() -> Iterator[None]:
    """Lets the first process of each machine through before the others: it builds what they then find."""
    is_first = os.environ.get("LOCAL_RANK", "0") == "0"
    if dist.is_initialized() and not is_first:
        dist.barrier()
    yield
    if dist.is_initialized() and is_first:
        dist.barrier()


def distributed_model(model: nn.Module) -> nn.Module:
    """Returns the model as it is called in training: gradients averaged and batch norm taken over all processes."""
    if n_processes() == 1:
        return model
    on_gpu = next(model.parameters()).is_cuda
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(model) if on_gpu else _with_global_batch_norm(model)
    return DistributedDataParallel(synchronised, broadcast_buffers=False)


def gathered(projections: Tensor) -> Tensor:
    """Returns the projections of all processes: (2, N, D) of this one -> (2, N * processes, D), in their order.

    Every process then takes the same loss over all negatives. The gradient of a projection is the sum of what all
    processes ask of it; divided by their number, as DistributedDataParallel does, it is that of the joint batch.
    """
    if n_processes() == 1:
        return projections
    n = projections.shape[1]
    everyone = projections.new_zeros((2, n * n_processes(), projections.shape[2]), dtype=torch.float32)
    everyone[:, process_index() * n : (process_index() + 1) * n] = projections.float()
    return _sum_over_processes(everyone)


class _Sum(Function):
    """The sum over processes; the gradient of each summand is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def _sum_over_processes(values: Tensor) -> Tensor:
    if n_processes() == 1:
        return values
    total: Tensor = _Sum.apply(values)
    return total


class GlobalBatchNorm(_BatchNorm):
    """Batch norm with mean and variance of the joint batch of all processes, for the CPU.

    torch's own SyncBatchNorm runs on GPUs only. The variance is taken in a second pass, about the joint mean.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Takes what BatchNorm1d and BatchNorm2d take."""

    def forward(self, values: Tensor) -> Tensor:
        """Returns values (N, C, ...) normalised over all but the channels; in evaluation as any batch norm."""
        if not self.training:
            normalised: Tensor = super().forward(values)
            return normalised
        axes, shape = [0, *range(2, values.dim())], (1, -1, *[1] * (values.dim() - 2))
        wide = values.float()
        count = wide.numel() // wide.shape[1] * n_processes()
        mean = _sum_over_processes(wide.sum(axes)) / count
        centered = wide - mean.view(shape)
        variance = _sum_over_processes(centered.square().sum(axes)) / count
        self._remember(mean.detach(), variance.detach() * count / max(1, count - 1))
        scaled = centered * (variance + self.eps).rsqrt().view(shape)
        return (scaled * self.weight.view(shape) + self.bias.view(shape)).to(values.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


def _with_global_batch_norm(module: nn.Module) -> nn.Module:
    """Replaces every batch norm below the module by one over all processes, with the same weights and names."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            joint = GlobalBatchNorm(child.num_features, child.eps, child.momentum)
            joint.load_state_dict(child.state_dict())
            setattr(module, name, joint)
        else:
            _with_global_batch_norm(child)
    return module


def _check_enough(n_devices: int, n_local: int) -> None:
    if n_local > n_devices:
        raise TrainingError(
            f"Expected a GPU for each of {n_local} processes on this machine, got {n_devices}: "
            f"start torchrun with --nproc-per-node {n_devices}."
        )
