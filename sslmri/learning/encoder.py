"""ResNet-50 for slices of one channel: (N, 1, H, W) -> (N, 2048)."""

import os

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from sslmri.errors import TrainingError
from sslmri.scans.slices import Preparation

FEATURE_DIM = 512 * Bottleneck.expansion
_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, stride (He et al. 2016, table 1)


class Encoder(nn.Module):
    """The encoder f: ResNet-50 (He et al. 2016, arXiv:1512.03385) without its classifier, for one-channel slices.

    Parameter names are torchvision's, so weights move between the two; only the stem's input has one channel in
    place of three. The last batch norm of each block starts at zero, which keeps training from scratch stable
    (Goyal et al. 2017, arXiv:1706.02677, section 5.1).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        width_in = 64
        for index, (width, n_blocks, stride) in enumerate(_STAGES, start=1):
            self.add_module(f"layer{index}", _stage(width_in, width, n_blocks, stride))
            width_in = width * Bottleneck.expansion
        _initialise(self)

    def feature_maps(self, slices: Tensor) -> Tensor:
        """Returns the last feature maps A: (N, 1, H, W) -> (N, 2048, H / 32, W / 32)."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(slices))))
        for index in range(1, len(_STAGES) + 1):
            maps = self.get_submodule(f"layer{index}")(maps)
        return maps

    def forward(self, slices: Tensor) -> Tensor:
        """Returns the features h, the feature maps averaged over space: (N, 1, H, W) -> (N, 2048)."""
        return pool(self.feature_maps(slices))


def pool(maps: Tensor) -> Tensor:
    """Returns the average over space: (N, C, h, w) -> (N, C)."""
    return maps.mean(dim=(2, 3))


def normalise(slices: Tensor, preparation: Preparation) -> Tensor:
    """Returns prepared slices (N, H, W) uint8 as the encoder's input (N, 1, H, W) float32."""
    return ((slices.unsqueeze(1).float() / 255.0) - preparation.mean) / preparation.std


def _stage(width_in: int, width: int, n_blocks: int, stride: int) -> nn.Sequential:
    width_out = width * Bottleneck.expansion
    shortcut = nn.Sequential(
        nn.Conv2d(width_in, width_out, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(width_out)
    )
    first = Bottleneck(width_in, width, stride, shortcut)
    return nn.Sequential(first, *(Bottleneck(width_out, width) for _ in range(n_blocks - 1)))


def _initialise(encoder: Encoder) -> None:
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)


def pick_device(name: str) -> torch.device:
    """Returns the device of that name; ``"auto"`` is a GPU, or the CPU where there is none.

    Under torchrun a process takes the GPU of its own number on its machine.

    Raises:
        TrainingError: there is no such device here.
    """
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    own = int(os.environ.get("LOCAL_RANK", "0"))
    if name == "cpu" or (name == "auto" and n_gpus == 0):
        return torch.device("cpu")
    if name in ("auto", "cuda") and own < n_gpus:
        return torch.device("cuda", own)
    raise TrainingError(f"Expected the device {name} number {own}, got a machine with {n_gpus} GPUs: use cpu or auto.")
