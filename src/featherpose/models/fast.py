"""LAPX made lighter: the same three stages in forms that a CPU runs faster.

What is different, and why (docs/latency.md says what is measured):

- Blocks are convolution, batch norm, ReLU, so that every batch norm and activation melts into a convolution. LAPX's
  pre-activated blocks with ELU and gates leave over half of its time outside its convolutions.
- The first halving is a 3x3 convolution, where LAPX has a 7x7.
- Fewer channels at a quarter of the input, where two thirds of LAPX's multiply-accumulates are; as many as LAPX below.
- Attention over channels alone (ECA). CBAM's spatial half reads every feature map twice along its slowest axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.models.hourglass import Level, Return, Stacked, Stem, necks
from featherpose.models.layers import ConvNorm, attention


class FastBlock(nn.Module):
    """1x1 to half the width, depthwise 3x3, 1x1 to the outputs without an activation, beside a short cut."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        middle = outputs // 2
        self.body = nn.Sequential(
            ConvNorm(inputs, middle, 1, 1, nn.ReLU(inplace=True)),
            ConvNorm(middle, middle, 3, 1, nn.ReLU(inplace=True), groups=middle),
            ConvNorm(middle, outputs),
        )
        self.skip = nn.Identity() if inputs == outputs else ConvNorm(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.skip(x)


class FastStage(nn.Module):
    """An hourglass, the features after it, and the heatmaps they give."""

    def __init__(
        self, channels: Sequence[int], joints: int, neck: str | None, attention_name: str | None
    ):
        super().__init__()
        inner: nn.Module = nn.Sequential(
            FastBlock(channels[-1], channels[-1]), attention(neck, channels[-1])
        )
        for here, below in reversed(list(pairwise(channels))):
            inner = Level(here, below, inner, FastBlock)
        self.hourglass = inner
        self.block = FastBlock(channels[0], channels[0])
        self.features = ConvNorm(channels[0], channels[0], 1, 1, nn.ReLU(inplace=True))
        self.attention = attention(attention_name, channels[0])
        self.heatmaps = nn.Conv2d(channels[0], joints, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.attention(self.features(self.block(self.hourglass(x))))
        return features, self.heatmaps(features)


class FastHourglass(Stacked):
    """`channels` holds one width for each size, from a quarter of the input down; LAPX has 208 everywhere."""

    def __init__(
        self,
        joints: int,
        stages: int = 3,
        channels: Sequence[int] = (128, 192, 208, 208, 208),
        stem_attention: str | None = "eca",
        stage_attention: str | None = "eca",
        neck: str | Sequence[str | None] | None = "eca_nonlocal_at_ends",
    ):
        super().__init__()
        if stages < 1 or joints < 1 or len(channels) < 2:
            raise PoseError(
                "A fast hourglass needs at least one stage, one joint and the channels of two sizes."
            )
        if any(width % 8 or width < 16 for width in channels):
            raise PoseError(
                f"A fast hourglass's channels are multiples of 8 and at least 16, not {list(channels)}."
            )
        self.joints = joints
        self.depth = len(channels) - 1
        self.channels = channels[0]
        self.stem = Stem(channels[0], stem_attention, FastBlock, kernel=3, activation="relu")
        self.stages = nn.ModuleList(
            FastStage(channels, joints, name, stage_attention) for name in necks(neck, stages)
        )
        self.returns = nn.ModuleList(Return(channels[0], joints) for _ in range(stages - 1))
