"""HF-HRNet (Zhang et al., TCSVT 2024): Lite-HRNet without shuffles, on operations that run well on small hardware.

Its block cascades two depthwise convolutions, each followed by a context branch (mean pooling to half the size, a
1x1 convolution, growing back), after one weighting of channels across the branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.models.layers import ConvNorm
from featherpose.models.peers.branches import (
    Branches,
    CrossResolutionWeighting,
    is_doubled,
    separable,
)
from featherpose.settings import choice


class Context(nn.Module):
    """Adds what a 1x1 convolution sees at half the size, or of the mean of the whole image."""

    def __init__(self, channels: int, act: bool = False, whole: bool = False):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1) if whole else nn.AvgPool2d(3, 2, padding=1)
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)
        self.act = nn.ReLU(inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.mix(self.pool(x)))
        return x + F.interpolate(
            y, size=x.shape[2:], mode="nearest"
        )  # to x's own size: 384x288 has a branch 9 wide


class Stem(nn.Module):
    """A convolution of stride 2, then one cascade of stride 2 beside a separable short cut."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.conv = ConvNorm(3, width, 3, 2, nn.ReLU(inplace=True))
        self.cascade = nn.Sequential(
            ConvNorm(width, outputs, 1, 1, nn.ReLU(inplace=True)),
            ConvNorm(outputs, outputs, 3, 1, nn.ReLU(inplace=True), groups=outputs),
            Context(outputs, act=True),
            ConvNorm(outputs, outputs, 3, 2, groups=outputs),
            Context(outputs, act=True),
        )
        self.short = separable(width, outputs, 2, act=False)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images)
        return self.cascade(x) + self.short(x)


class MugBlock(nn.Module):
    """The hardware-friendly uniform-sized mug: weighting, depthwise, context, depthwise, context, and the input."""

    def __init__(self, widths: Sequence[int], whole: int | None = None):
        super().__init__()
        self.across = CrossResolutionWeighting(widths)
        self.cascades = nn.ModuleList(
            nn.Sequential(
                ConvNorm(w, w, 3, 1, nn.ReLU(inplace=True), groups=w),
                Context(w, whole=w == whole),
                ConvNorm(w, w, 3, groups=w),
                Context(w, whole=w == whole),
            )
            for w in widths
        )

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        weighted = self.across(xs)
        return [
            x + cascade(w)
            for x, w, cascade in zip(xs, weighted, self.cascades.children(), strict=True)
        ]


class HFHRNet(Branches):
    """`modules` (2, 4, 2) is HF-HRNet-18, (3, 8, 3) is HF-HRNet-30.

    Args:
        fusion: `paper` adds each branch once; `doubled` sums them as the public code does, which its weights need.
        coarsest: context of the fourth branch: `half` its size, or its `whole` mean, as the public code has it for
            384x288, where that branch is 9 wide and cannot be halved.
    """

    def __init__(
        self,
        joints: int,
        channels: int = 48,
        modules: Sequence[int] = (2, 4, 2),
        fusion: str = "paper",
        coarsest: str = "half",
    ):
        choice("model.coarsest", coarsest, ("half", "whole"))
        whole = channels * 8 if coarsest == "whole" else None
        super().__init__(
            joints,
            Stem(32, channels),
            channels,
            channels,
            modules,
            partial(MugBlock, whole=whole),
            doubled=is_doubled(fusion),
        )
