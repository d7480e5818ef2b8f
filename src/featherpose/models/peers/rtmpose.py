"""RTMPose (Jiang et al. 2023, arXiv 2303.07399): CSPNeXt (arXiv 2212.07784) and a head that gives one vector per axis.

The heads' vectors say where a joint lies along x and along y, in bins of half a pixel (SimCC). `output="vectors"`
returns just these two, as its authors train (`loss=simcc`), deploy and measure it. `output="heatmaps"` multiplies them,
pooled to a quarter of the input, so that the network trains and is scored like every other here: a Gaussian target is
itself such a product.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.errors import PoseError
from featherpose.models.layers import ConvNorm
from featherpose.models.network import PoseNetwork
from featherpose.vectors import BINS

STAGES = ((64, 128, 3, True), (128, 256, 6, True), (256, 512, 6, True), (512, 1024, 3, False))
"""CSPNeXt at full size: channels in and out, blocks, whether blocks add their input."""


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> ConvNorm:
    return ConvNorm(inputs, outputs, kernel, stride, nn.SiLU(inplace=True), groups)


class Block(nn.Module):
    """3x3, depthwise 5x5, 1x1."""

    def __init__(self, channels: int, residual: bool):
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels, 3),
            conv(channels, channels, 5, groups=channels),
            conv(channels, channels),
        )
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


class CrossStage(nn.Module):
    """Half of the channels through the blocks, half beside them; both weighted by channel and mixed."""

    def __init__(self, channels: int, blocks: int, residual: bool):
        super().__init__()
        half = channels // 2
        self.main = nn.Sequential(
            conv(channels, half), *(Block(half, residual) for _ in range(blocks))
        )
        self.short = conv(channels, half)
        self.weights = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Hardsigmoid()
        )
        self.mix = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat((self.main(x), self.short(x)), 1)
        return self.mix(both * self.weights(both))


class PyramidPooling(nn.Module):
    """Maxima over windows of 5, 9 and 13 beside the features."""

    def __init__(self, channels: int):
        super().__init__()
        half = channels // 2
        self.reduce, self.mix = conv(channels, half), conv(4 * half, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        return self.mix(torch.cat((x, *(F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13))), 1))


def cspnext(deepen: float, widen: float) -> nn.Sequential:
    """Images to features at 1/32 of their size."""
    first = int(64 * widen)
    layers: list[nn.Module] = [
        conv(3, first // 2, 3, 2),
        conv(first // 2, first // 2, 3),
        conv(first // 2, first, 3),
    ]
    for number, (inputs, outputs, blocks, residual) in enumerate(STAGES):
        width = int(outputs * widen)
        layers.append(conv(int(inputs * widen), width, 3, 2))
        if number == 3:
            layers.append(PyramidPooling(width))
        layers.append(CrossStage(width, max(round(blocks * deepen), 1), residual))
    return nn.Sequential(*layers)


class ScaleNorm(nn.Module):
    """The whole vector to one learned length."""

    def __init__(self, length: int):
        super().__init__()
        self.scale, self.root = nn.Parameter(torch.ones(1)), sqrt(length)

    def forward(self, x: Tensor) -> Tensor:
        length = (x.float().square().sum(-1, keepdim=True)).sqrt() / self.root
        return x * (self.scale / length.clamp_min(1e-5)).to(x.dtype)


class GatedAttention(nn.Module):
    """One gated attention unit (Hua et al. 2022) between the joints, squared ReLU instead of softmax."""

    def __init__(self, width: int = 256, expand: int = 2, keys: int = 128):
        super().__init__()
        self.sizes, self.root = (expand * width, expand * width, keys), sqrt(keys)
        self.norm = ScaleNorm(width)
        self.enter = nn.Linear(width, sum(self.sizes), bias=False)
        self.leave = nn.Linear(expand * width, width, bias=False)
        self.gamma, self.beta = (nn.Parameter(torch.rand(2, keys)) for _ in range(2))
        self.shortcut = nn.Parameter(torch.ones(width))
        nn.init.xavier_uniform_(self.enter.weight)

    def forward(self, x: Tensor) -> Tensor:
        gate, values, base = F.silu(self.enter(self.norm(x))).split(self.sizes, -1)
        queries, keys = (base[:, :, None] * self.gamma.to(x.dtype) + self.beta.to(x.dtype)).unbind(
            2
        )
        weights = F.relu(queries @ keys.transpose(1, 2) / self.root).square()
        return self.shortcut.to(x.dtype) * x + self.leave(gate * (weights @ values))


class RTMPose(PoseNetwork):
    """`deepen` and `widen` are 0.167 and 0.375 for RTMPose-t, 0.33 and 0.5 for -s. Its heads fit one input size."""

    stride = 4
    natural_height = 256

    def __init__(
        self,
        joints: int,
        deepen: float = 0.167,
        widen: float = 0.375,
        input_size: Sequence[int] | None = None,
        aspect: float = 0.75,
        output: str = "heatmaps",
    ):
        super().__init__()
        if output not in ("heatmaps", "vectors"):
            raise PoseError(f"model.output is heatmaps or vectors, not {output}.")
        height, width = input_size or (self.natural_height, round(self.natural_height * aspect))
        if height % 32 or width % 32:
            raise PoseError(
                f"RTMPose takes inputs in multiples of 32, not {height}x{width}; set data.input_size."
            )
        self.joints, self.output, self.input_size = joints, output, (height, width)
        self.gives_vectors = output == "vectors"
        self.backbone = cspnext(deepen, widen)
        self.places = nn.Conv2d(int(1024 * widen), joints, 7, padding=3)
        cells = (height // 32) * (width // 32)
        self.tokens = nn.Sequential(ScaleNorm(cells), nn.Linear(cells, 256, bias=False))
        self.attention = GatedAttention()
        self.x, self.y = (
            nn.Linear(256, BINS * width, bias=False),
            nn.Linear(256, BINS * height, bias=False),
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """[heatmaps], or with `output="vectors"` [x (B, K, 2W), y (B, K, 2H)]."""
        self.check_size(images)
        tokens = self.attention(self.tokens(self.places(self.backbone(images)).flatten(2)))
        x, y = self.x(tokens), self.y(tokens)
        if self.output == "vectors":
            return [x, y]
        x, y = (F.avg_pool1d(v, BINS * self.stride) for v in (x, y))
        return [y[:, :, :, None] * x[:, :, None, :]]
