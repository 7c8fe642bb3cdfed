"""The learning rate of both trainings: linear warm-up, then cosine decay."""

import math

from torch.optim import Optimizer

from sslmri.learning.settings import FinetuneSettings, PretrainSettings


def cosine_with_warmup(progress: float, warmup: float) -> float:
    """Returns the learning rate as a fraction of its peak: rises to 1 at ``warmup``, falls to 0 at progress 1.

    Both arguments are fractions of the whole training (Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5).
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def set_learning_rates(optimizer: Optimizer, epoch: float, settings: PretrainSettings | FinetuneSettings) -> None:
    """Sets the rate of each parameter group, from its ``peak``, for the point reached, in epochs with fractions."""
    warmup = min(0.5, settings.warmup_epochs / settings.epochs)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * cosine_with_warmup(epoch / settings.epochs, warmup)
