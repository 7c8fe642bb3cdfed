"""The largest batch that fits into the memory of a GPU."""

from collections.abc import Callable
from copy import deepcopy

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sslmri.errors import TrainingError
from sslmri.learning.distributed import n_processes

SMALLEST, LARGEST = 32, 1024  # slices a process; larger batches learn little more (Chen et al. 2020, figure 9)


def largest_batch(model: nn.Module, size: int, loss: Callable[[nn.Module, Tensor], Tensor]) -> int:
    """Returns the largest batch, a power of two for each process, whose step fits into the GPU's memory.

    Args:
        model: what is trained; a copy of it is tried.
        size: side of a view in pixels.
        loss: of a model and its views (2 N, 1, size, size).

    Raises:
        TrainingError: the model is not on a GPU, or not even the smallest batch fits.
    """
    device = next(model.parameters()).device
    if device.type != "cuda":
        raise TrainingError("Expected a GPU to find the batch size on, got the CPU: give a batch size.")
    found = largest_that_fits(lambda n: _step_fits(model, n, size, loss))
    if n_processes() > 1:
        smallest = torch.tensor(found, device=device)
        dist.all_reduce(smallest, dist.ReduceOp.MIN)
        found = int(smallest)
    if found == 0:
        raise TrainingError(f"Expected memory for a batch of {SMALLEST}, got too little: give a smaller batch size.")
    return found * n_processes()


def largest_that_fits(fits: Callable[[int], bool]) -> int:
    """Returns the largest power of two from SMALLEST to LARGEST that fits, asked in rising order; 0 if none does."""
    found, size = 0, SMALLEST
    while size <= LARGEST and fits(size):
        found, size = size, size * 2
    return found


def _step_fits(model: nn.Module, n: int, size: int, loss: Callable[[nn.Module, Tensor], Tensor]) -> bool:
    """Returns whether forward, backward and update of 2 n views fit, with the memory that AdamW keeps."""
    tried = deepcopy(model)
    try:
        optimizer = torch.optim.AdamW(tried.parameters(), fused=True)
        loss(tried, torch.rand(2 * n, 1, size, size, device=next(model.parameters()).device)).backward()
        optimizer.step()
    except torch.cuda.OutOfMemoryError:
        return False
    finally:
        del tried
        torch.cuda.empty_cache()
    return True
