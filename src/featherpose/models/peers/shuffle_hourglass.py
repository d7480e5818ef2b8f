"""The plain hourglass with ShuffleNet's blocks (Zhang et al., CVPR 2018, arXiv 1707.01083).

LAPX's section 2 compares them with depthwise separable blocks and takes the latter: grouped 1x1 convolutions cost
fewer operations, yet no less time.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.models.hourglass import Hourglass
from featherpose.models.layers import DepthwiseBlock
from featherpose.models.peers.lite_hrnet import shuffle


class ShuffleBlock(DepthwiseBlock):
    """The hourglass's block with its 1x1 convolutions in groups, and a shuffle between so that groups mix."""

    def __init__(self, inputs: int, outputs: int, soft_gate: bool = False, groups: int = 4):
        super().__init__(inputs, outputs, soft_gate)
        middle = outputs // 2
        self.groups = groups
        self.reduce = nn.Conv2d(inputs, middle, 1, groups=groups, bias=False)
        self.expand = nn.Conv2d(middle, outputs, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(self.act(self.norm1(x)))
        y = shuffle(y, self.groups)
        y = self.depthwise(self.act(self.norm2(y)))
        y = self.expand(self.act(self.norm3(y)))
        skip = self.skip(x)
        return y + (skip if self.alpha is None else self.alpha.to(skip.dtype) * skip)


class ShuffleHourglass(Hourglass):
    """`channels=None` takes the width of the plain hourglass of as many stages."""

    def __init__(
        self,
        joints: int,
        stages: int = 3,
        channels: int | None = None,
        depth: int = 4,
        groups: int = 4,
    ):
        if groups < 1 or (channels or 16 * groups) % (4 * groups):
            raise PoseError(
                f"model.groups of at least 1 must divide a quarter of model.channels, not {groups} of {channels}."
            )
        super().__init__(
            joints, stages, channels, depth, block=partial(ShuffleBlock, groups=groups)
        )
