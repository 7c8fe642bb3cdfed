"""Where the time of one pre-training step goes: ``python -m benchmarks.step``.

*Before* is a step as one first writes it: float32, torch's own memory layout, views made slice by slice by torchvision,
an optimiser that goes over the weights one by one. *After* is ours. What was removed is what stands between the two.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Generator, Tensor
from torchvision.transforms import v2

from benchmarks.images import write_images
from sslmri.learning.encoder import as_images, standardise
from sslmri.learning.precision import autocast, choose_precision
from sslmri.learning.pretrain import SimCLR
from sslmri.learning.settings import Precision, ViewSettings
from sslmri.learning.simclr import nt_xent
from sslmri.learning.views import draw_views, make_views
from sslmri.models.architecture import RESNET50
from sslmri.scans.slices import Preparation

_CPU = torch.device("cpu")
_TEMPERATURE = 0.07
_PARTS = ("views", "forward", "loss", "backward", "update")


@dataclass(frozen=True)
class Settings:
    """Time the parts of a step.

    Attributes:
        size: pixels per side.
        batch_size: slices a step; each gives two views.
        rounds: steps after the one that warms up; the table shows their medians.
    """

    size: int = 128
    batch_size: int = 32
    rounds: int = 7


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table and, last, one line of JSON."""
    settings = tyro.cli(Settings, args=arguments, description=__doc__)
    with TemporaryDirectory() as folder:
        files = write_images(Path(folder), settings.batch_size, settings.size, ".png")
        slices = np.stack([np.asarray(Image.open(path)) for path in files])
    steps = {"before": _Before(slices, settings), "after": _After(slices, settings)}
    seconds: dict[str, list[list[float]]] = {name: [] for name in steps}
    for number in range(settings.rounds + 1):
        for name, step in steps.items():
            measured = step.run()
            if number:
                seconds[name].append(measured)
    parts = {name: [median(column) for column in zip(*rows, strict=True)] for name, rows in seconds.items()}
    totals = {name: sum(values) for name, values in parts.items()}
    print(f"batch {settings.batch_size}, {settings.size} px, {torch.get_num_threads()} threads\n")
    print("| | before, ms | fraction | after, ms | fraction |")
    print("|---|---|---|---|---|")
    for index, part in enumerate((*_PARTS, "whole step")):
        cells = []
        for name, values in parts.items():
            part_s = totals[name] if index == len(_PARTS) else values[index]
            cells.append(f"{1e3 * part_s:.1f} | {part_s / totals[name]:.3f}")
        print(f"| {part} | {' | '.join(cells)} |")
    figures = {
        "before_over_after": totals["before"] / totals["after"],
        "views_share": parts["after"][0] / totals["after"],
    }
    print(f"\n{json.dumps({name: round(value, 3) for name, value in figures.items()})}")


class _Step:
    """One step in parts, on a model of its own."""

    precision: Precision = "float32"
    optimizer: torch.optim.Optimizer

    def __init__(self, slices: np.ndarray, settings: Settings) -> None:
        self.slices, self.settings = slices, settings
        torch.manual_seed(0)
        self.model = SimCLR(RESNET50)

    def views(self) -> Tensor:
        """Returns both views of the batch, normalised: (2 N, 1, H, W)."""
        raise NotImplementedError

    def run(self) -> list[float]:
        """Returns the seconds of each part of a step."""
        times = [time.perf_counter()]

        def timed(part: Callable[[], Tensor | None]) -> Tensor:
            result = part()
            times.append(time.perf_counter())
            return torch.empty(0) if result is None else result

        views = timed(self.views)
        with autocast(_CPU, self.precision):
            projections = timed(lambda: self.model(views))
        loss = timed(lambda: nt_xent(projections.unflatten(0, (2, -1)), _TEMPERATURE))
        timed(loss.backward)
        timed(self.update)
        return np.diff(times).tolist()

    def update(self) -> None:
        """Takes the step and clears the gradients."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class _Before(_Step):
    def __init__(self, slices: np.ndarray, settings: Settings) -> None:
        super().__init__(slices, settings)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), foreach=False)
        jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4)], p=0.8)
        blur = v2.RandomApply([v2.GaussianBlur(settings.size // 10 | 1, (0.1, 2.0))], p=0.5)
        crop = v2.RandomResizedCrop(settings.size, scale=(0.3, 1.0))
        number = v2.ToDtype(torch.float32, scale=True)
        self._transform = v2.Compose([crop, v2.RandomHorizontalFlip(), jitter, blur, v2.ToImage(), number])

    def views(self) -> Tensor:
        images = [Image.fromarray(slice_) for slice_ in (*self.slices, *self.slices)]
        return (torch.stack([self._transform(image) for image in images]) - 0.2) / 0.25


class _After(_Step):
    precision = choose_precision(_CPU)

    def __init__(self, slices: np.ndarray, settings: Settings) -> None:
        super().__init__(slices, settings)
        self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), fused=True)
        self._settings, self._generator = ViewSettings(size=settings.size), Generator().manual_seed(0)

    def views(self) -> Tensor:
        images = as_images(torch.from_numpy(self.slices))
        parameters = draw_views(2 * len(images), self._settings, self._generator)
        return standardise(make_views(torch.cat([images, images]), parameters, self._settings), Preparation())


if __name__ == "__main__":
    main()
