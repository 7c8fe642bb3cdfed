"""ResNet-50 for slices of one channel: (N, 1, H, W) -> (N, 2048)."""

import math
import os
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from sslmri.errors import ModelError, TrainingError
from sslmri.scans.slices import Preparation

FEATURE_DIM = 512 * Bottleneck.expansion
ARCHITECTURES = {32: "resnet50-1ch", 16: "resnet50-1ch-os16"}  # by output stride
_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, stride (He et al. 2016, table 1)
_EARLY = 2  # the stage whose textures tell a brain from other pictures


class Maps(NamedTuple):
    """Feature maps of two stages: ``early`` (N, 512, H / 8, W / 8) of the second, ``last`` (N, 2048, h, w)."""

    early: Tensor
    last: Tensor


class Encoder(nn.Module):
    """The encoder f: ResNet-50 (He et al. 2016, arXiv:1512.03385) without its classifier, for one-channel slices.

    Parameter names are torchvision's, so weights move between the two; only the stem's input has one channel in
    place of three. The last batch norm of each block starts at zero, which keeps training from scratch stable
    (Goyal et al. 2017, arXiv:1706.02677, section 5.1).

    With output stride 16 the last stage keeps its resolution and its filters are spread out instead (Yu et al. 2017,
    arXiv:1705.09914, section 2; torchvision's ``replace_stride_with_dilation``): the same weights, looked at in twice
    as many places along each axis, so that a map can tell a finding of 16 pixels from what lies beside it.

    Args:
        output_stride: pixels of the slice from one place of the last feature maps to the next, 32 or 16.
    """

    def __init__(self, output_stride: int = 32) -> None:
        super().__init__()
        self.output_stride = output_stride
        self.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        width_in = 64
        for index, (width, n_blocks, stride) in enumerate(_STAGES, start=1):
            is_spread = index == len(_STAGES) and output_stride == 16
            self.add_module(f"layer{index}", _stage(width_in, width, n_blocks, stride, is_spread))
            width_in = width * Bottleneck.expansion
        _initialise(self)

    def maps(self, slices: Tensor) -> Maps:
        """Returns the feature maps of the second and of the last stage for slices (N, 1, H, W)."""
        maps = early = self.maxpool(self.relu(self.bn1(self.conv1(slices))))
        for index in range(1, len(_STAGES) + 1):
            maps = self.get_submodule(f"layer{index}")(maps)
            early = maps if index == _EARLY else early
        return Maps(early, maps)

    def feature_maps(self, slices: Tensor) -> Tensor:
        """Returns the last feature maps A: (N, 1, H, W) -> (N, 2048, H / stride, W / stride)."""
        return self.maps(slices).last

    def forward(self, slices: Tensor) -> Tensor:
        """Returns the features h, the feature maps averaged over space: (N, 1, H, W) -> (N, 2048)."""
        return pool(self.feature_maps(slices))

    @property
    def architecture(self) -> str:
        """Name of what the weights belong to, as cards give it."""
        return ARCHITECTURES[self.output_stride]

    @classmethod
    def of(cls, architecture: str) -> "Encoder":
        """Returns an untrained encoder of the architecture that a card names.

        Raises:
            ModelError: there is no such architecture.
        """
        strides = {name: stride for stride, name in ARCHITECTURES.items()}
        if architecture not in strides:
            raise ModelError(
                f"Expected the architecture {' or '.join(strides)}, got {architecture!r}: the model is of another "
                "version, train it anew."
            )
        return cls(strides[architecture])

    def with_output_stride(self, output_stride: int) -> "Encoder":
        """Returns an encoder of that output stride with a copy of these weights."""
        other = Encoder(output_stride)
        other.load_state_dict(self.state_dict())
        return other


def pool(maps: Tensor) -> Tensor:
    """Returns the average over space: (N, C, h, w) -> (N, C)."""
    return maps.mean(dim=(2, 3))


def textures(maps: Tensor) -> Tensor:
    """Returns the mean of each channel over space and its spread: (N, C, h, w) -> (N, 2C).

    They say what a picture is made of and not where (Huang and Belongie 2017, arXiv:1703.06868, equations 5 and 6).
    """
    mean = pool(maps)
    spread = torch.linalg.vector_norm(maps - mean[..., None, None], dim=(2, 3))  # a third of the time of torch.std
    return torch.cat([mean, spread / math.sqrt(max(maps.shape[2] * maps.shape[3] - 1, 1))], dim=1)


def normalise(slices: Tensor, preparation: Preparation) -> Tensor:
    """Returns prepared slices (N, H, W) uint8 as the encoder's input (N, 1, H, W) float32."""
    return ((slices.unsqueeze(1).float() / 255.0) - preparation.mean) / preparation.std


def _stage(width_in: int, width: int, n_blocks: int, stride: int, is_spread: bool) -> nn.Sequential:
    """Returns the blocks of a stage; a spread one keeps its resolution, and its later filters reach twice as far."""
    stride, dilation = (1, 2) if is_spread else (stride, 1)
    width_out = width * Bottleneck.expansion
    shortcut = nn.Sequential(
        nn.Conv2d(width_in, width_out, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(width_out)
    )
    first = Bottleneck(width_in, width, stride, shortcut)
    return nn.Sequential(first, *(Bottleneck(width_out, width, dilation=dilation) for _ in range(n_blocks - 1)))


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
