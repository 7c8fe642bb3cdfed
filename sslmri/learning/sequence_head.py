"""The head that reads the sequence of a slice, T1, T1 with contrast agent, T2 or FLAIR, from an encoder's second stage.

The second stage shows how bright each kind of tissue is, and where; the last one, which SimCLR makes invariant to
brightness and contrast, was less accurate, and so was a linear classifier of means and deviations over the slice.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslmri.learning.encoder import pool
from sslmri.scans.scan import SEQUENCES


class SequenceHead(nn.Module):
    """Three convolutions on the maps of the second stage, then mean and maximum of each channel over space."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 2
        layers: list[nn.Module] = []
        for before, side in ((channels, 1), (width, 3), (width, 3)):
            convolution = nn.Conv2d(before, width, side, padding=side // 2, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.layers, self.dropout = nn.Sequential(*layers), nn.Dropout(0.3)
        self.linear = nn.Linear(2 * width, len(SEQUENCES))

    def forward(self, early: Tensor) -> Tensor:
        """Returns the logits of maps of the second stage: (N, C, h, w) -> (N, 4), in the order of ``SEQUENCES``."""
        return self.read(reduced(early))

    def read(self, maps: Tensor) -> Tensor:
        """Returns the logits of reduced maps: (N, C, h / 2, w / 2) -> (N, 4)."""
        maps = self.layers(maps).float()
        return self.linear(self.dropout(torch.cat([pool(maps), maps.amax(dim=(2, 3))], dim=1)))


def reduced(early: Tensor) -> Tensor:
    """Returns maps at half their resolution, which a head needs no finer: (N, C, h, w) -> (N, C, h / 2, w / 2)."""
    return functional.avg_pool2d(early, 2)
