"""What can be watched of a pre-training: whether its features collapse, a few pairs of views, TensorBoard events."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from pydantic import JsonValue
from torch import Generator, Tensor
from torch.nn import functional

from sslmri.cohorts.store import Store
from sslmri.errors import TrainingError
from sslmri.files import write_atomically
from sslmri.learning.encoder import as_images
from sslmri.learning.settings import ViewSettings
from sslmri.learning.views import draw_views, make_views
from sslmri.models.history import VIEWS_FILE

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

MEASURED = 256  # slices, the last of an epoch
_PAIRS = 8


def collapse_measures(features: Tensor, projections: Tensor) -> dict[str, float]:
    """Returns what tells whether the features or the projections of different slices become the same.

    - ``feature_std``: standard deviation over slices of each of the K normalised features, mean over features; 0 where
      all slices have the same features, 1 / sqrt(K) where they point in all directions alike (Chen and He 2021,
      arXiv:2011.10566, section 4.1).
    - ``effective_rank``: exponential of the entropy of the singular values of the features, divided by their sum (Roy
      and Vetterli 2007; Garrido et al. 2023, arXiv:2210.02885, eq. 1), at most the smaller of N and K.
    - ``alignment``: mean squared distance between the normalised projections of a pair (Wang and Isola 2020,
      arXiv:2005.10242, alpha = 2), 0 to 4.
    - ``uniformity``: logarithm of the mean of exp(-2 d^2) over the distances d between the normalised projections of
      different slices (same paper, t = 2), mean of both views, -8 to 0; 0 where all are the same.

    Features are (2, N, K) and projections (2, N, D), of the two views of N slices, two or more.
    """
    first = features[0].double().cpu()
    narrow = first if first.shape[0] <= first.shape[1] else first.T
    singular = torch.linalg.eigvalsh(narrow @ narrow.T).clamp(min=0).sqrt()  # a tenth of the time of svdvals
    unit = functional.normalize(projections.double().cpu(), dim=2)
    uniformity = [torch.pdist(view).square().mul(-2).exp().mean().log() for view in unit]
    measures = {
        "feature_std": functional.normalize(first, dim=1).std(dim=0).mean(),
        "effective_rank": torch.special.entr(singular / singular.sum().clamp(min=1e-12)).sum().exp(),
        "alignment": (unit[0] - unit[1]).square().sum(dim=1).mean(),
        "uniformity": torch.stack(uniformity).mean(),
    }
    return {name: round(float(value), 5) for name, value in measures.items()} | {"feature_dim": first.shape[1]}


def sample_views(pool: Store, settings: ViewSettings, seed: int) -> np.ndarray:
    """Returns views of a few slices of the pool, (2 * size, n * size) uint8: each column is a pair of one slice."""
    generator = Generator().manual_seed(seed)
    rows = torch.randperm(len(pool.records), generator=generator)[:_PAIRS].numpy()
    images = as_images(torch.from_numpy(pool.batch(np.sort(rows))))
    views = make_views(torch.cat([images, images]), draw_views(2 * len(rows), settings, generator), settings)
    pairs = views.unflatten(0, (2, -1)).squeeze(2)  # (2, n, size, size)
    return np.asarray((pairs.transpose(1, 2).flatten(2).flatten(0, 1) * 255).round().byte())


def write_views(folder: Path, views: np.ndarray) -> None:
    """Writes sample views into the folder of a pre-training, as PNG."""
    image = Image.fromarray(views)
    write_atomically(folder / VIEWS_FILE, partial(image.save, format="PNG"))


@contextmanager
def tensorboard_events(folder: Path, first: int, views: np.ndarray) -> Iterator["SummaryWriter"]:
    """Gives what writes TensorBoard events into a folder, with the sample views; they replace those from ``first`` on.

    Raises:
        TrainingError: the package is missing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise TrainingError(
            'Expected the package tensorboard, got none: run `pip install "sslmri[tensorboard]"`, or leave '
            "--tensorboard out."
        ) from error
    with SummaryWriter(str(folder), purge_step=first) as writer:
        writer.add_image("views", views, first, dataformats="HW")
        yield writer


def add_epoch(writer: "SummaryWriter", entry: Mapping[str, JsonValue]) -> None:
    """Adds the numbers of an epoch's line of history, and waits until they are on the disk."""
    for name, value in entry.items():
        for key, number in value.items() if isinstance(value, dict) else [("", value)]:
            if number is not None and name != "epoch":
                writer.add_scalar(f"{name}/{key}".rstrip("/"), number, entry["epoch"])
    writer.flush()
