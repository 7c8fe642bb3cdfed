"""The encoder: a ResNet for slices of one channel, (N, 1, H, W) -> (N, feature_dim)."""

import math
import os
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sslmri.errors import TrainingError
from sslmri.models.architecture import EXPANSION, RESNET50, Architecture
from sslmri.scans.slices import Preparation

_STRIDES = (1, 2, 2, 2)  # of the stages (He et al. 2016, table 1)


class Maps(NamedTuple):
    """Feature maps of two stages: ``early`` of the second, (N, 512, H / 8, W / 8), ``last`` (N, 2048, h, w).

    The numbers of channels are those of ResNet-50.
    """

    early: Tensor
    last: Tensor


class Bottleneck(nn.Module):
    """A bottleneck block (He et al. 2016, arXiv:1512.03385, figure 5): (N, C, H, W) -> (N, 4 width, H', W').

    As in torchvision the 3 x 3 convolution has the stride.
    """

    def __init__(self, channels: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * EXPANSION, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * EXPANSION)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None

    def forward(self, maps: Tensor) -> Tensor:
        """Returns the residual of three convolutions added to the maps."""
        residual = self.relu(self.bn1(self.conv1(maps)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        residual += maps if self.downsample is None else self.downsample(maps)
        return self.relu(residual)


class Encoder(nn.Module):
    """The encoder f: a ResNet (He et al. 2016, arXiv:1512.03385) without its classifier, for one-channel slices.

    Parameter names are torchvision's, so weights move between the two; only the stem's input has one channel in
    place of three. The last batch norm of each block starts at zero, which keeps training from scratch stable
    (Goyal et al. 2017, arXiv:1706.02677, section 5.1).

    With output stride 16 the last stage keeps its resolution and its filters are dilated instead (Yu et al. 2017,
    arXiv:1705.09914, section 2; torchvision's ``replace_stride_with_dilation``): the same weights, evaluated at twice
    as many locations along each axis, so that a map can tell a finding of 16 pixels from its surroundings.
    """

    def __init__(self, architecture: Architecture = RESNET50) -> None:
        super().__init__()
        self.architecture = architecture
        channels = architecture.widths[0]
        self.conv1 = nn.Conv2d(1, channels, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        stages: list[nn.Sequential] = []
        for width, n_blocks, stride in zip(architecture.widths, architecture.blocks, _STRIDES, strict=True):
            is_dilated = len(stages) == 3 and architecture.output_stride == 16
            stages.append(_stage(channels, width, n_blocks, stride, is_dilated))
            channels = width * EXPANSION
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        _initialise(self)

    def maps(self, slices: Tensor) -> Maps:
        """Returns the feature maps of the second and of the last stage for slices (N, 1, H, W)."""
        early = self.early_maps(slices)
        return Maps(early, self.layer4(self.layer3(early)))

    def early_maps(self, slices: Tensor) -> Tensor:
        """Returns those of the second stage alone, in a third of the time."""
        return self.layer2(self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(slices))))))

    def forward(self, slices: Tensor) -> Tensor:
        """Returns the features h, the feature maps averaged over space: (N, 1, H, W) -> (N, feature_dim)."""
        return pool(self.maps(slices).last)

    @property
    def first_stages(self) -> tuple[nn.Module, ...]:
        """The stem and the first two stages, as far as they have parameters."""
        return self.conv1, self.bn1, self.layer1, self.layer2

    def with_output_stride(self, output_stride: Literal[32, 16]) -> "Encoder":
        """Returns an encoder of that output stride with a copy of these weights."""
        copied = Encoder(replace(self.architecture, output_stride=output_stride))
        copied.load_state_dict(self.state_dict())
        return copied

    def folded(self) -> "Encoder":
        """Returns a copy for inference alone, in which each batch norm is part of the convolution before it."""
        copied = deepcopy(self).eval()
        for module in list(copied.modules()):
            for (name, layer), (name_of_norm, norm) in pairwise(list(module.named_children())):
                if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    setattr(module, name, fuse_conv_bn_eval(layer, norm))
                    setattr(module, name_of_norm, nn.Identity())
        return copied


def pool(maps: Tensor) -> Tensor:
    """Returns the average over space: (N, C, h, w) -> (N, C)."""
    return maps.mean(dim=(2, 3))


def halves(maps: Tensor) -> Tensor:
    """Returns each channel twice, kept in the upper and in the lower half: (N, C, h, w) -> (N, 2C, h, w).

    Both are doubled, so that the mean of each over space is the mean of the channel over that half.
    """
    middle = maps.shape[2] // 2
    both = maps.new_zeros(maps.shape[0], 2, *maps.shape[1:])
    both[:, 0, :, :middle], both[:, 1, :, middle:] = 2 * maps[:, :, :middle], 2 * maps[:, :, middle:]
    return both.flatten(1, 2)


def both_stages(maps: Maps) -> Tensor:
    """Returns the maps of both stages at the locations of the second, the last ones interpolated: (N, K, H / 8, W / 8).

    The last stage tells what a location shows, the second one where (Lin et al. 2017, arXiv:1612.03144, section 3).
    """
    return torch.cat([maps.early, interpolate(maps.last, maps.early)], dim=1)


def interpolate(maps: Tensor, early: Tensor) -> Tensor:
    """Returns maps of the last stage at the locations of the second, bilinear: (N, C, h, w) -> (N, C, H / 8, W / 8)."""
    shape = (early.shape[2], early.shape[3])
    return functional.interpolate(maps, size=shape, mode="bilinear", align_corners=False)


def weigh(maps: Tensor, weight: Tensor) -> Tensor:
    """Returns the weighted sums of the channels at each location: (N, K, h, w) and (C, K) -> (N, C, h, w)."""
    return torch.einsum("nkhw,ck->nchw", maps, weight)


def textures(maps: Tensor) -> Tensor:
    """Returns the mean and the standard deviation of each channel over space: (N, C, h, w) -> (N, 2C).

    They describe the texture of an image without its layout (Huang and Belongie 2017, arXiv:1703.06868, eq. 5 and 6).
    """
    mean = pool(maps)
    deviation = torch.linalg.vector_norm(maps - mean[..., None, None], dim=(2, 3))  # a third of the time of torch.std
    return torch.cat([mean, deviation / math.sqrt(max(maps.shape[2] * maps.shape[3] - 1, 1))], dim=1)


def as_images(slices: Tensor) -> Tensor:
    """Returns prepared slices (N, H, W) uint8 as images (N, 1, H, W) float32 in [0, 1]."""
    return slices.unsqueeze(1).float() / 255.0


def standardise(images: Tensor, preparation: Preparation) -> Tensor:
    """Returns images (N, 1, H, W) in [0, 1] as the encoder's input, with the mean and deviation of the preparation."""
    return ((images - preparation.mean) / preparation.std).contiguous(memory_format=torch.channels_last)


def normalise(slices: Tensor, preparation: Preparation) -> Tensor:
    """Returns prepared slices (N, H, W) uint8 as the encoder's input (N, 1, H, W) float32."""
    return standardise(as_images(slices), preparation)


def _stage(channels: int, width: int, n_blocks: int, stride: int, is_dilated: bool) -> nn.Sequential:
    """Returns the blocks of a stage; a dilated one keeps its resolution, its later filters have twice the reach."""
    stride, dilation = (1, 2) if is_dilated else (stride, 1)
    first = Bottleneck(channels, width, stride)
    channels_out = width * EXPANSION
    first.downsample = nn.Sequential(
        nn.Conv2d(channels, channels_out, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(channels_out)
    )
    return nn.Sequential(first, *(Bottleneck(channels_out, width, dilation=dilation) for _ in range(n_blocks - 1)))


def _initialise(encoder: Encoder) -> None:
    if encoder.conv1.weight.is_meta:  # nothing to initialise, and drawing there would import torch's compiler
        return
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)


def pick_device(name: str) -> torch.device:
    """Returns the device of that name; ``"auto"`` is a GPU, or the CPU where there is none.

    Under torchrun each process of a host takes the GPU of its local rank.

    Raises:
        TrainingError: there is no such device here.
    """
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    if name == "cpu" or (name == "auto" and n_gpus == 0):
        return torch.device("cpu")
    if name in ("auto", "cuda") and rank < n_gpus:
        return torch.device("cuda", rank)
    raise TrainingError(f"Expected the device {name} number {rank}, got a host with {n_gpus} GPUs: use fewer.")
