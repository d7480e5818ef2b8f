"""Dite-HRNet (Li et al., IJCAI 2022, arXiv 2204.10762): Lite-HRNet with kernels and contexts that follow the picture.

Written as its public code is, which made the printed scores; where that is not what the paper says, the line says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.models.layers import ConvNorm
from featherpose.models.peers.branches import Branches
from featherpose.models.peers.lite_hrnet import shuffle

GROUPS = (1, 1, 2, 4)  # by branch, the finest first: kernels of 3, 5, 7 and 9 side by side
KERNELS = (4, 4, 2, 1)  # summed by each picture's own attention
REDUCTION = (4, 4, 8, 8)  # of the global context


class DynamicConv(nn.Module):
    """`kernels` convolutions in one: each picture weights their kernels by its own means, 1x1 or depthwise.

    A depthwise kernel is applied tap by tap, so that a file with an open batch can hold it: the public code folds the
    batch into groups, which is the same numbers.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, kernels: int):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        middle = inputs // 4
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            ConvNorm(inputs, middle, 1, 1, nn.ReLU(inplace=True)),
            nn.Conv2d(middle, kernels, 1),
            nn.Sigmoid(),
        )
        self.shape = (outputs, 1 if kernel > 1 else inputs, kernel, kernel)
        # flat: torch can't lay out five axes with channels last
        self.weight = nn.Parameter(torch.empty(kernels, math.prod(self.shape)))
        for each in self.weight.detach():
            nn.init.kaiming_uniform_(each.view(self.shape))

    def forward(self, x: Tensor) -> Tensor:
        shares = self.attention(x).flatten(1)  # (B, kernels)
        # (B, outputs, inputs or 1, kernel, kernel)
        weight = (shares @ self.weight.to(shares.dtype)).unflatten(1, self.shape)
        if self.kernel == 1:
            return (weight.flatten(2) @ x.flatten(2)).unflatten(2, x.shape[2:])
        height, width = x.shape[2:]
        padded = F.pad(x, [self.kernel // 2] * 4)
        taps = []
        for row in range(self.kernel):
            for column in range(self.kernel):
                rows = slice(row, row + height, self.stride)
                columns = slice(column, column + width, self.stride)
                taps.append(weight[:, :, :, row, column, None] * padded[:, :, rows, columns])
        return torch.stack(taps).sum(0)


def dynamic(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, kernels: int = 4, act: bool = False
) -> nn.Sequential:
    """A dynamic convolution, its norm, and an activation or none; of one kernel it is an ordinary one."""
    if kernels == 1:
        return ConvNorm(inputs, outputs, kernel, stride, groups=inputs)
    conv = DynamicConv(inputs, outputs, kernel, stride, kernels)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([nn.ReLU(inplace=True)] if act else []))


class SplitConv(nn.Module):
    """Parts of the channels through depthwise kernels of 3, 5, 7, ...; then shuffled."""

    def __init__(self, channels: int, branch: int):
        super().__init__()
        self.groups = GROUPS[branch]
        part = channels // self.groups
        self.parts = nn.ModuleList(
            dynamic(part, part, 3 + 2 * i, kernels=KERNELS[branch]) for i in range(self.groups)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.groups == 1:
            return self.parts[0](x)
        parts = zip(self.parts.children(), x.chunk(self.groups, 1), strict=True)
        return shuffle(torch.cat([conv(part) for conv, part in parts], 1), self.groups)


def perceptron(channels: int, reduction: int) -> nn.Sequential:
    """Weights of channels from what was pooled."""
    middle = channels // reduction
    return nn.Sequential(
        ConvNorm(channels, middle, 1, 1, nn.ReLU(inplace=True)),
        nn.Conv2d(middle, channels, 1),
        nn.Sigmoid(),
    )


def pool(x: Tensor, mask: Tensor, height: int, width: int) -> Tensor:
    """The features summed by the mask's softmax over all places, to height x width cells: (B, C, height, width).

    Of more than one cell the public code cuts memory into runs, channels and places alike, so that a cell is no region
    of the picture, as the paper has it. Its weights were trained so.
    """
    cells = height * width
    weights = mask.flatten(2).softmax(2).to(x.dtype)  # (B, 1, H W)
    channels, each = x.shape[1], x.shape[2] * x.shape[3] // cells
    runs = x.flatten(1).unflatten(1, (cells, channels, each))
    pooled = runs @ weights.unflatten(2, (cells, each)).transpose(1, 2).transpose(2, 3)
    return pooled.squeeze(3).transpose(1, 2).unflatten(2, (height, width))


class GlobalContext(nn.Module):
    """Channels weighted by the whole picture's context."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.mask = nn.Conv2d(channels, 1, 1)
        self.weights = perceptron(channels, reduction)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x * self.weights(pool(x, self.mask(x), 1, 1)))


class DenseContext(nn.Module):
    """Channels of every branch weighted by the contexts of all, at each place of the coarsest one."""

    def __init__(self, widths: Sequence[int], reduction: int = 8):
        super().__init__()
        self.widths = list(widths)
        # The public code has one for the coarsest branch too, which nothing reads.
        self.masks = nn.ModuleList(nn.Conv2d(w, 1, 1) for w in widths[:-1])
        self.weights = perceptron(sum(widths), reduction)

    def forward(self, xs: Sequence[Tensor]) -> list[Tensor]:
        size = xs[-1].shape[2:]
        finer = zip(self.masks.children(), xs[:-1], strict=True)
        pooled = [pool(x, mask(x), *size) for mask, x in finer]
        weights = self.weights(torch.cat([*pooled, xs[-1]], 1)).split(self.widths, 1)
        return [
            x * F.interpolate(w, size=x.shape[2:], mode="nearest")
            for x, w in zip(xs, weights, strict=True)
        ]


class DynamicContextBlock(nn.Module):
    """Half of each branch passes by; the other half is weighted across branches, filtered, and weighted again."""

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        halves = [w // 2 for w in widths]
        self.across = DenseContext(halves)
        self.split = nn.ModuleList(SplitConv(w, i) for i, w in enumerate(halves))
        self.context = nn.ModuleList(GlobalContext(w, REDUCTION[i]) for i, w in enumerate(halves))

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        pairs = [x.chunk(2, 1) for x in xs]
        weighted = self.across([second for _, second in pairs])
        steps = zip(pairs, weighted, self.split.children(), self.context.children(), strict=True)
        return [
            shuffle(torch.cat((first, context(split(x))), 1))
            for (first, _), x, split, context in steps
        ]


class Stem(nn.Module):
    """A convolution of stride 2, then a dynamic block of stride 2: 32 channels at a quarter of the size."""

    def __init__(self, width: int = 32):
        super().__init__()
        half = width // 2
        self.conv = ConvNorm(3, width, 3, 2, nn.ReLU(inplace=True))
        self.first = nn.Sequential(
            dynamic(half, half, 3, 2), GlobalContext(half, 4), dynamic(half, half, act=True)
        )
        self.second = nn.Sequential(
            dynamic(half, half, 3),
            GlobalContext(half, 4),
            dynamic(half, half // 4, act=True),
            dynamic(half // 4, half),
            dynamic(half, half, 3, 2, act=True),
        )

    def forward(self, images: Tensor) -> Tensor:
        x1, x2 = self.conv(images).chunk(2, 1)
        return shuffle(torch.cat((self.first(x1), self.second(x2)), 1))


class DiteHRNet(Branches):
    """`modules` (2, 4, 2) is Dite-HRNet-18, (3, 8, 3) is Dite-HRNet-30."""

    def __init__(self, joints: int, channels: int = 40, modules: Sequence[int] = (3, 8, 3)):
        block, how = DynamicContextBlock, {"doubled": True, "rectified": True}
        super().__init__(joints, Stem(), 32, channels, modules, block, **how)
