"""Lite-HRNet (Yu et al., CVPR 2021, arXiv 2104.06403): shuffle blocks whose 1x1 convolutions are channel weightings.

The paper's plain variants, which keep the 1x1 convolutions, are here too: PP-TinyPose is the wider one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.models.layers import ConvNorm
from featherpose.models.peers.branches import (
    Branches,
    CrossResolutionWeighting,
    is_doubled,
    separable,
)


def shuffle(x: Tensor, groups: int = 2) -> Tensor:
    """Channels of the groups in turn, so that each next group sees all of them."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class Stem(nn.Module):
    """A convolution of stride 2, then a shuffle block of stride 2: 32 channels at a quarter of the size."""

    def __init__(self, width: int = 32):
        super().__init__()
        half = width // 2
        self.conv = ConvNorm(3, width, 3, 2, nn.ReLU(inplace=True))
        self.first = separable(half, half, 2)
        self.second = nn.Sequential(
            ConvNorm(half, width, 1, 1, nn.ReLU(inplace=True)), separable(width, half, 2)
        )

    def forward(self, images: Tensor) -> Tensor:
        x1, x2 = self.conv(images).chunk(2, 1)
        return shuffle(torch.cat((self.first(x1), self.second(x2)), 1))


class SpatialWeighting(nn.Module):
    """One weight for each channel from its mean: squeeze and excitation, reduction 4."""

    def __init__(self, channels: int, reduction: int = 4):
        super().__init__()
        self.weights = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // reduction, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // reduction, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weights(x)


class ConditionalChannelWeighting(nn.Module):
    """Half of each branch passes by; the other half is weighted across branches, filtered, and weighted again."""

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        halves = [w // 2 for w in widths]
        self.across = CrossResolutionWeighting(halves)
        self.depthwise = nn.ModuleList(ConvNorm(w, w, 3, groups=w) for w in halves)
        self.spatial = nn.ModuleList(SpatialWeighting(w) for w in halves)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        pairs = [x.chunk(2, 1) for x in xs]
        weighted = self.across([second for _, second in pairs])
        outputs = []
        for (first, _), x, depthwise, spatial in zip(
            pairs, weighted, self.depthwise.children(), self.spatial.children(), strict=True
        ):
            outputs.append(shuffle(torch.cat((first, spatial(depthwise(x))), 1)))
        return outputs


class ShuffleUnits(nn.Module):
    """On each branch half of the channels passes by; the other half goes through 1x1, depthwise 3x3 and 1x1."""

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        halves = [w // 2 for w in widths]
        self.units = nn.ModuleList(
            nn.Sequential(ConvNorm(w, w, 1, 1, nn.ReLU(inplace=True)), separable(w, w))
            for w in halves
        )

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        pairs = [x.chunk(2, 1) for x in xs]
        return [
            shuffle(torch.cat((first, unit(second)), 1))
            for (first, second), unit in zip(pairs, self.units.children(), strict=True)
        ]


class LiteHRNet(Branches):
    """`modules` (2, 4, 2) is Lite-HRNet-18, (3, 8, 3) is Lite-HRNet-30.

    Args:
        fusion: `paper` adds each branch once, which the printed FLOPs count; `doubled` sums them as the public code
            does, which all published weights were trained by.
    """

    def __init__(
        self,
        joints: int,
        channels: int = 40,
        modules: Sequence[int] = (2, 4, 2),
        fusion: str = "paper",
    ):
        doubled = is_doubled(fusion)
        super().__init__(
            joints, Stem(), 32, channels, modules, ConditionalChannelWeighting, doubled=doubled
        )


class NaiveLiteHRNet(Branches):
    """Plain shuffle units instead of channel weightings: 30 `channels` are naive Lite-HRNet, 40 the wider one.

    Args:
        fusion: `doubled` sums the branches as the public code does, which all published weights were trained by;
            `paper` adds each once.
        norms: `batch` as usual; `fixed` keeps the running statistics in training too, so that each norm is a learned
            scale and bias. Weights with folded norms need it: the batch's statistics would make another network
            of them at the first step.
    """

    def __init__(
        self,
        joints: int,
        channels: int = 40,
        modules: Sequence[int] = (2, 4, 2),
        fusion: str = "doubled",
        norms: str = "batch",
    ):
        doubled = is_doubled(fusion)
        if norms not in ("batch", "fixed"):
            raise PoseError(f"model.norms is batch or fixed, not {norms!r}.")
        super().__init__(joints, Stem(), 32, channels, modules, ShuffleUnits, doubled=doubled)
        self.norms = norms

    def train(self, mode: bool = True) -> NaiveLiteHRNet:
        super().train(mode)
        if self.norms == "fixed":
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self
