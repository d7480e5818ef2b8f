"""YOLOX-nano (Ge et al. 2021, arXiv 2107.08430), for people alone: CSPDarknet, PAFPN and three decoupled heads.

It finds boxes, not joints: the finder that ships is this network. Its first layer is written as one convolution of 6x6,
and its pools one after the other, which give the same numbers faster.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.models.layers import ConvNorm

STRIDES = (8, 16, 32)
WIDTHS = (64, 128, 256)  # of the features at these strides
HEAD = 64


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> ConvNorm:
    return ConvNorm(inputs, outputs, kernel, stride, nn.SiLU(inplace=True), groups)


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 depthwise, then 1x1."""
    return nn.Sequential(conv(inputs, inputs, 3, stride, inputs), conv(inputs, outputs))


class Block(nn.Module):
    def __init__(self, channels: int, residual: bool):
        super().__init__()
        self.reduce = conv(channels, channels)
        self.mix = separable(channels, channels)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(self.reduce(x))
        return y + x if self.residual else y


class CrossStage(nn.Module):
    """Half of the channels through the blocks, half beside them."""

    def __init__(self, inputs: int, outputs: int, blocks: int = 1, residual: bool = False):
        super().__init__()
        half = outputs // 2
        self.main = conv(inputs, half)
        self.short = conv(inputs, half)
        self.blocks = nn.Sequential(*(Block(half, residual) for _ in range(blocks)))
        self.join = conv(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        main, short = self.main(x), self.short(x)
        return self.join(torch.cat([self.blocks(main), short], dim=1))


class PoolPyramid(nn.Module):
    """The features beside their maxima over 5, 9 and 13 cells, of which each is made from the last."""

    def __init__(self, channels: int):
        super().__init__()
        self.reduce = conv(channels, channels // 2)
        self.join = conv(channels * 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.reduce(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.join(torch.cat(parts, dim=1))


class Head(nn.Module):
    """At each cell: the box (centre's offset in cells, log of width and height in cells), is somebody here, is it a
    person; the last two as logits."""

    def __init__(self, inputs: int):
        super().__init__()
        self.stem = conv(inputs, HEAD)
        self.kind = nn.Sequential(separable(HEAD, HEAD), separable(HEAD, HEAD))
        self.person = nn.Conv2d(HEAD, 1, 1)
        self.place = nn.Sequential(separable(HEAD, HEAD), separable(HEAD, HEAD))
        self.box = nn.Conv2d(HEAD, 4, 1)
        self.thing = nn.Conv2d(HEAD, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        person = self.person(self.kind(x))
        place = self.place(x)
        return torch.cat([self.box(place), self.thing(place), person], dim=1)


class YOLOXNano(nn.Module):
    """Pictures (B, 3, H, W), BGR from 0 to 255, sides multiples of 32, to a map (B, 6, h, w) at each stride."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.stem = conv(3, 16, 6, 2)
        first = self.stem[0]
        assert isinstance(first, nn.Conv2d)
        first.padding = (2, 2)
        self.stage2 = nn.Sequential(separable(16, 32, 2), CrossStage(32, 32, 1, True))
        self.stage3 = nn.Sequential(separable(32, fine, 2), CrossStage(fine, fine, 3, True))
        self.stage4 = nn.Sequential(separable(fine, middle, 2), CrossStage(middle, middle, 3, True))
        self.stage5 = nn.Sequential(
            separable(middle, coarse, 2), PoolPyramid(coarse), CrossStage(coarse, coarse)
        )
        self.lateral5 = conv(coarse, middle)
        self.merge4 = CrossStage(coarse, middle)
        self.lateral4 = conv(middle, fine)
        self.merge3 = CrossStage(middle, fine)
        self.down3 = separable(fine, fine, 2)
        self.out4 = CrossStage(middle, middle)
        self.down4 = separable(middle, middle, 2)
        self.out5 = CrossStage(coarse, coarse)
        self.heads = nn.ModuleList(Head(width) for width in WIDTHS)

    def features(self, images: Tensor) -> list[Tensor]:
        three = self.stage3(self.stage2(self.stem(images)))
        four = self.stage4(three)
        low5 = self.lateral5(self.stage5(four))
        low4 = self.lateral4(self.merge4(torch.cat([double(low5), four], dim=1)))
        out3 = self.merge3(torch.cat([double(low4), three], dim=1))
        out4 = self.out4(torch.cat([self.down3(out3), low4], dim=1))
        out5 = self.out5(torch.cat([self.down4(out4), low5], dim=1))
        return [out3, out4, out5]

    def forward(self, images: Tensor) -> list[Tensor]:
        return [head(each) for head, each in zip(self.heads, self.features(images), strict=True)]


def rows_of(maps: Sequence[Tensor]) -> Tensor:
    """(B, N, 6): a row a cell, the finest grid first."""
    return torch.cat([each.flatten(2) for each in maps], dim=2).transpose(1, 2)


def with_chances(maps: Sequence[Tensor]) -> list[Tensor]:
    """The maps with their two logits as chances: what YOLOX's exports give."""
    return [torch.cat([each[:, :4], each[:, 4:].sigmoid()], dim=1) for each in maps]


def double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
