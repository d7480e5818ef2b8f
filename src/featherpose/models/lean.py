"""LE-HRNet's two parts: the partial convolution and efficient multi-scale attention (EMA)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.models.layers import mean

GROUPS = 32


class LConv(nn.Module):
    """3x3 convolution of the first quarter of the channels, the rest passing by, then 1x1 over all.

    At stride 2 the rest is averaged 2x2: the paper does not say how it shrinks, and an average has no parameters.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.partial = nn.Conv2d(inputs // 4, inputs // 4, 3, stride, padding=1, bias=False)
        self.rest = nn.Identity() if stride == 1 else nn.AvgPool2d(2)
        self.mix = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        quarter = self.partial.in_channels
        return self.mix(torch.cat((self.partial(x[:, :quarter]), self.rest(x[:, quarter:])), 1))


class SharedConv(nn.Conv2d):
    """One small convolution applied to each of the groups, in the form that trains fastest.

    CPUs are slow at grouped convolutions of a few channels. Of 2 channels a group, two depthwise ones take 0.35 to 0.6
    times as long, forward and backward; of 4 and 8, groups folded into the batch 0.45 to 0.6 (NCHW, one AVX2 core).
    """

    def forward(self, input: Tensor) -> Tensor:
        each = self.in_channels
        groups = input.shape[1] // each
        assert self.bias is not None
        if each > 2 and input.is_cpu:
            folded = input.reshape(-1, each, *input.shape[2:])
            return super().forward(folded).reshape(input.shape)
        bias = self.bias.repeat(groups)
        if each == 2 and input.is_cpu:
            swapped = input.unflatten(1, (groups, 2)).flip(2).flatten(1, 2)
            own = self._repeated(input, self.weight[(0, 1), (0, 1)].unsqueeze(1), bias)
            return own + self._repeated(swapped, self.weight[(0, 1), (1, 0)].unsqueeze(1), None)
        return self._repeated(input, self.weight, bias)

    def _repeated(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        groups = input.shape[1] // weight.shape[1]
        repeated = weight.repeat(input.shape[1] // len(weight), 1, 1, 1)
        return F.conv2d(input, repeated, bias, padding=self.padding, groups=groups)  # type: ignore[arg-type]


class SharedPointwise(nn.Conv2d):
    """A 1x1 convolution of each group of strips (B, G, C, L) as one product; PyTorch goes group by group."""

    def forward(self, input: Tensor) -> Tensor:
        assert self.bias is not None
        return self.weight.flatten(1) @ input + self.bias[:, None]


class SharedNorm(nn.GroupNorm):
    """Group norm with one channel per group, its scale and shift shared by all groups of channels."""

    def forward(self, input: Tensor) -> Tensor:
        groups = input.shape[1] // self.num_channels
        return F.group_norm(
            input, input.shape[1], self.weight.repeat(groups), self.bias.repeat(groups), self.eps
        )


class MultiscaleAttention(nn.Module):
    """Efficient multi-scale attention: 32 groups of channels, each weighted over space by one map.

    With 32 channels a group is one channel, the softmax over it is constant, and the attention is purely spatial.
    """

    def __init__(self, channels: int):
        super().__init__()
        each = channels // GROUPS
        self.conv1 = SharedPointwise(each, each, 1)
        self.conv3 = SharedConv(each, each, 3, padding=1)
        self.norm = SharedNorm(each, each)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        strips = torch.cat((mean(x, (3,)), mean(x, (2,))), 2).unflatten(1, (GROUPS, -1))
        rows, columns = self.conv1(strips).sigmoid().flatten(1, 2).split([height, width], 2)
        x1 = self.norm(x * rows.unsqueeze(3) * columns.unsqueeze(2))
        x2 = self.conv3(x)
        if self.conv1.in_channels == 1:  # both softmaxes are over one channel
            return x * (x1 + x2).sigmoid()
        # Of a channel that is normalised over its pixels, the average is the norm's shift.
        shares1 = self.norm.bias.softmax(0).repeat(GROUPS).view(-1, 1, 1).to(x2.dtype)
        shares2 = mean(x2, (2, 3), keepdim=True).unflatten(1, (GROUPS, -1)).softmax(2).flatten(1, 2)
        weighted = (shares1 * x2 + shares2.to(x1.dtype) * x1).unflatten(1, (GROUPS, -1))
        weights = weighted.sum(2, keepdim=True).sigmoid().to(x.dtype)
        return (x.unflatten(1, (GROUPS, -1)) * weights).flatten(1, 2)

    def for_export(self) -> ExportedEMA:
        return ExportedEMA(self)


class ExportedEMA(nn.Module):
    """An EMA whose shared weights are written out once, in operators that an exporter keeps as they are.

    Translated as it trains, one EMA is 200 ONNX nodes that repeat weights and compute shapes, and LE-HRNet has 108.
    """

    def __init__(self, ema: MultiscaleAttention):
        super().__init__()
        each = ema.conv1.in_channels
        channels = each * GROUPS
        self.each = each
        self.conv1 = nn.Conv2d(channels, channels, 1, groups=GROUPS)
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1, groups=GROUPS)
        self.sum = nn.Conv2d(channels, GROUPS, 1, groups=GROUPS, bias=False)
        self.spread = nn.Conv2d(GROUPS, channels, 1, groups=GROUPS, bias=False)
        self.eps = ema.norm.eps
        with torch.no_grad():
            for ours, theirs in ((self.conv1, ema.conv1), (self.conv3, ema.conv3)):
                assert ours.bias is not None and theirs.bias is not None
                ours.weight.copy_(theirs.weight.repeat(GROUPS, 1, 1, 1))
                ours.bias.copy_(theirs.bias.repeat(GROUPS))
            self.sum.weight.fill_(1)
            self.spread.weight.fill_(1)
            scale, shift, shares = (
                values.repeat(GROUPS).view(1, -1, 1, 1)
                for values in (ema.norm.weight, ema.norm.bias, ema.norm.bias.softmax(0))
            )
        for name, value in (("scale", scale), ("shift", shift), ("shares", shares)):
            self.register_buffer(name, value.clone())

    def forward(self, x: Tensor) -> Tensor:
        rows = self.conv1(x.mean(3, keepdim=True)).sigmoid()
        columns = self.conv1(x.mean(2, keepdim=True)).sigmoid()
        y = x * rows * columns
        y = y - y.mean((2, 3), keepdim=True)
        x1 = y * (self.scale * ((y * y).mean((2, 3), keepdim=True) + self.eps).rsqrt()) + self.shift
        x2 = self.conv3(x)
        if self.each > 1:
            mean = x2.mean((2, 3)).reshape(-1, GROUPS, self.each)
            x1 = x1 * mean.softmax(2).reshape(-1, GROUPS * self.each, 1, 1)
        return x * self.spread(self.sum(self.shares * x2 + x1).sigmoid())
