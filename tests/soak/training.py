"""The trials of training. They fork their process, so its torch has one thread: others do not outlive a fork."""

import os
from collections.abc import Callable
from functools import partial

import torch

from tests.soak import badfiles, disks, kills, nonfinite, reproducible
from tests.soak.result import Row


def on_one_thread(trial: Callable[[], Row]) -> Row:
    """Returns the row of a trial that has this process to itself."""
    torch.set_num_threads(1)
    os.environ |= {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}  # of the processes it starts
    return trial()


TRIALS: tuple[Callable[[], Row], ...] = tuple(
    partial(on_one_thread, trial)
    for trial in (
        kills.killed,
        partial(kills.killed, count=12, least_in_saves=3, steps=("pretrain",), is_small=False),
        *(disks.full_at_each_file, disks.full_after, disks.read_only),
        nonfinite.not_finite,
        *(badfiles.bad_files, badfiles.too_many_bad_files),
        *(reproducible.same_seed, reproducible.shipped_figures),
    )
)
