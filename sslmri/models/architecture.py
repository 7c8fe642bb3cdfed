"""What an encoder is built of, described without torch."""

from dataclasses import dataclass
from typing import Literal

EXPANSION = 4  # output channels of a bottleneck block over its width
_MAX_WIDTH, _MAX_BLOCKS = 1024, 64  # what fits into the file of an encoder


@dataclass(frozen=True)
class Architecture:
    """A ResNet of bottleneck blocks for one channel; by default ResNet-50 (He et al. 2016, arXiv:1512.03385, table 1).

    Attributes:
        widths: filters of the 3 x 3 convolutions of each stage; the stem has as many as the first stage.
        blocks: number of blocks of each stage.
        output_stride: pixels of the slice per location of the last feature maps.

    Raises:
        ValueError: a width or a number of blocks is out of range.
    """

    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    output_stride: Literal[32, 16] = 32

    def __post_init__(self) -> None:
        """Refuses sizes that no encoder has."""
        if min(*self.widths, *self.blocks) < 1 or max(self.widths) > _MAX_WIDTH or sum(self.blocks) > _MAX_BLOCKS:
            raise ValueError(
                f"an encoder has four stages of 1 to {_MAX_WIDTH} filters per layer and at most {_MAX_BLOCKS} blocks"
            )

    @property
    def name(self) -> str:
        """A short name, such as ``resnet50-1ch-os16``, that no other architecture has."""
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


def _joined(sizes: tuple[int, ...]) -> str:
    return ".".join(map(str, sizes))


RESNET50 = Architecture()
