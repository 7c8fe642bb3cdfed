"""What an encoder is built of, described without torch."""

import re
from dataclasses import dataclass
from typing import Literal

from sslmri.errors import ModelError

EXPANSION = 4  # output channels of a bottleneck block over its width
_LARGEST = 4096  # filters of a layer or blocks of a stage: more is a damaged description
_NAME = re.compile(r"resnet\d+-1ch(?:-w([\d.]+)-b([\d.]+))?(-os16)?", re.ASCII)


@dataclass(frozen=True)
class Architecture:
    """A ResNet of bottleneck blocks for one channel; by default ResNet-50 (He et al. 2016, arXiv:1512.03385, table 1).

    Attributes:
        widths: filters of the 3 x 3 convolutions of each stage; the stem has as many as the first stage.
        blocks: number of blocks of each stage.
        output_stride: pixels of the slice per location of the last feature maps.

    Raises:
        ModelError: a width or a number of blocks is out of range.
    """

    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    output_stride: Literal[32, 16] = 32

    def __post_init__(self) -> None:
        """Refuses sizes that no encoder has."""
        sizes = (*self.widths, *self.blocks)
        if not all(1 <= size <= _LARGEST for size in sizes) or self.output_stride not in (32, 16):
            raise ModelError(
                "Expected an encoder of four stages with 1 to 4096 filters and blocks each and output stride 32 or 16, "
                f"got {self.widths}, {self.blocks} and {self.output_stride}: correct the architecture."
            )

    @property
    def name(self) -> str:
        """A short name, such as ``resnet50-1ch-os16``, from which the architecture can be read again."""
        depth = 2 + 3 * sum(self.blocks)
        is_standard = (self.widths, self.blocks) == (Architecture.widths, Architecture.blocks)
        sizes = "" if is_standard else f"-w{_joined(self.widths)}-b{_joined(self.blocks)}"
        return f"resnet{depth}-1ch{sizes}{'-os16' if self.output_stride == 16 else ''}"

    @property
    def feature_dim(self) -> int:
        """Length of the features h: the channels of the last stage."""
        return self.widths[-1] * EXPANSION

    @property
    def texture_dim(self) -> int:
        """Length of the textures: mean and standard deviation of each channel of the second stage."""
        return 2 * self.widths[1] * EXPANSION

    @classmethod
    def from_name(cls, name: str) -> "Architecture":
        """Returns the architecture of a name.

        Raises:
            ModelError: it is the name of no architecture.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise ModelError(
                f"Expected an architecture such as {cls().name}, got {name!r:.80}: the model is of another version."
            )
        widths, blocks, stride = match.groups()
        output_stride: Literal[32, 16] = 16 if stride else 32
        if widths is None:
            return cls(output_stride=output_stride)
        return cls(_sizes(widths), _sizes(blocks), output_stride)


def _joined(sizes: tuple[int, ...]) -> str:
    return ".".join(map(str, sizes))


def _sizes(text: str) -> tuple[int, int, int, int]:
    """Returns four numbers with dots in between; 0, which no encoder has, for those that are missing."""
    first, second, third, fourth = ([int(part or 0) for part in text.split(".")] + [0] * 4)[:4]
    return first, second, third, fourth


RESNET50 = Architecture()
