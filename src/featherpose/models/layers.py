"""The blocks and attention modules that the networks share.

Learnable scales (`alpha`, `gamma`) are cast to the features' dtype before they multiply, so that under bf16 autocast
the residual stream stays bf16: left alone, a float32 scale would promote every hourglass feature map to float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from featherpose.errors import PoseError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hard_swish": nn.Hardswish,
}


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm, then an activation or none."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        act: nn.Module | None = None,
        groups: int = 1,
    ):
        conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )
        super().__init__(conv, nn.BatchNorm2d(outputs), *([act] if act else []))


class DepthwiseBlock(nn.Module):
    """Pre-activated residual block: 1x1 to half the width, 3x3 depthwise, 1x1 back.

    With `soft_gate` the skip is scaled by `alpha`, one learned number per channel that starts at 0: the block begins
    as a plain function of its input and learns how much of the input to let by.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        soft_gate: bool = False,
        activation: str = "elu",
        expansion: float = 0.5,
        kernel: int = 3,
    ):
        super().__init__()
        middle = int(outputs * expansion)
        # In place is safe: each follows a batch norm, whose backward needs its input and not its output.
        self.act = ACTIVATIONS[activation](inplace=True)
        self.norm1 = nn.BatchNorm2d(inputs)
        self.reduce = nn.Conv2d(inputs, middle, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(middle)
        self.depthwise = nn.Conv2d(
            middle, middle, kernel, padding=kernel // 2, groups=middle, bias=False
        )
        self.norm3 = nn.BatchNorm2d(middle)
        self.expand = nn.Conv2d(middle, outputs, 1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.alpha = nn.Parameter(torch.zeros(1, outputs, 1, 1)) if soft_gate else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(self.act(self.norm1(x)))
        y = self.depthwise(self.act(self.norm2(y)))
        y = self.expand(self.act(self.norm3(y)))
        skip = self.skip(x)
        return y + (skip if self.alpha is None else self.alpha.to(skip.dtype) * skip)


def trains_eagerly(x: Tensor) -> bool:
    """On a CPU: of GPUs and compilers nothing of what follows was measured, and files keep the simple form."""
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return x.requires_grad and x.is_cpu and not recorded


def mean(x: Tensor, dims: tuple[int, ...], keepdim: bool = False) -> Tensor:
    """As `x.mean`, bit for bit, whose gradient divides the whole tensor, in another memory layout than the features."""
    if not trains_eagerly(x):
        return x.mean(dims, keepdim)
    # in float32 at least: a sum in bfloat16 would be rounded before it is divided
    total = x.sum(dims, keepdim, dtype=torch.promote_types(x.dtype, torch.float32))
    return (total / torch.Size(x.shape[dim] for dim in dims).numel()).to(x.dtype)


def highest(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """As `x.amax`, bit for bit, whose gradient counts ties in int64. Keeps the dimensions."""
    return Highest.apply(x, dims) if trains_eagerly(x) else x.amax(dims, keepdim=True)


class Highest(torch.autograd.Function):
    """Equal maxima share the gradient, as those of `amax` do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dims: tuple[int, ...]) -> Tensor:
        ctx.dims, top = dims, x.amax(dims, keepdim=True)
        ctx.save_for_backward(x, top)
        return top

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, top = ctx.saved_tensors
        there = torch.eq(x, top, out=torch.empty_like(x))  # 1 and 0 at once, as numbers
        return there.mul_(grad / there.sum(ctx.dims, keepdim=True)), None


def average(x: Tensor, layer: nn.AdaptiveAvgPool2d) -> Tensor:
    """Over all places, (B, C, 1, 1); by the layer where it does not train, so that counters of MACs see one."""
    return mean(x, (2, 3), keepdim=True) if layer.training and trains_eagerly(x) else layer(x)


class ECA(nn.Module):
    """Efficient channel attention over the sum of average and maximum: 7 weights whatever the width."""

    def __init__(self, channels: int):
        super().__init__()
        self.average = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv1d(1, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = average(x, self.average) + highest(x, (2, 3))
        weights = self.conv(pooled.flatten(1).unsqueeze(1)).sigmoid()
        return x * weights.transpose(1, 2).unsqueeze(3)


class ChannelMLP(nn.Module):
    """CBAM's channel half: one perceptron, reduction 16, over the average and over the maximum.

    `apart`: the sum of both sigmoids (0 to 2), as LAPX's authors compute it; else the sigmoid of the sum, as in CBAM.
    """

    def __init__(self, channels: int, reduction: int = 16, apart: bool = False):
        super().__init__()
        self.apart = apart
        self.average = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Linear(channels, channels // reduction, bias=False)
        self.expand = nn.Linear(channels // reduction, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.stack((average(x, self.average).flatten(1), highest(x, (2, 3)).flatten(1)))
        each = self.expand(self.reduce(pooled).relu())  # (2, B, C)
        weights = each.sigmoid().sum(0) if self.apart else each.sum(0).sigmoid()
        return x * weights[:, :, None, None]

    def for_export(self) -> ExportedMLP:
        return ExportedMLP(self)


class ExportedMLP(nn.Module):
    """A ChannelMLP with one pass for each vector: ncnn has no axis to stack them over that is not the batch's."""

    def __init__(self, mlp: ChannelMLP) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        average, highest = (
            self.mlp.expand(self.mlp.reduce(pooled).relu())
            for pooled in (self.mlp.average(x).flatten(1), x.amax((2, 3)))
        )
        if self.mlp.apart:
            return x * (average.sigmoid() + highest.sigmoid())[:, :, None, None]
        return x * (average + highest).sigmoid()[:, :, None, None]


class SpatialAttention(nn.Module):
    """CBAM's spatial half: a 7x7 convolution over the maximum and the mean of the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat((highest(x, (1,)), mean(x, (1,), keepdim=True)), 1)
        return x * self.conv(pooled).sigmoid()


def attended(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """What every place sees of the values of all places; all are (B, C, places)."""
    weights = (queries.transpose(1, 2) @ keys).softmax(-1)
    return values @ weights.to(values.dtype).transpose(1, 2)


class NonLocal(nn.Module):
    """Global context: every place attends to every other; `gamma` (0 at first) scales what it adds."""

    def __init__(self, channels: int):
        super().__init__()
        inner = channels // 8
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.g = nn.Conv2d(channels, inner, 1)
        self.project = nn.Conv2d(inner, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (layer(x).flatten(2) for layer in (self.theta, self.phi, self.g))
        # no 1/sqrt(d), as in the authors' network
        context = attended(queries, keys, values).unflatten(2, x.shape[2:])
        return self.gamma.to(x.dtype) * self.project(context) + x


class NonLocalFromZero(nn.Module):
    """Global context that needs no warm-up: nothing is added at first, as the last layer starts at 0.

    The softmax is of products over the square root of their length, so that it starts flat whatever the width.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = channels // 8
        self.scale = inner**-0.5
        self.theta, self.phi, self.g = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.project = nn.Conv2d(inner, channels, 1)
        nn.init.zeros_(self.project.weight)
        assert self.project.bias is not None
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (layer(x).flatten(2) for layer in (self.theta, self.phi, self.g))
        context = attended(self.scale * queries, keys, values).unflatten(2, x.shape[2:])
        return self.project(context) + x


def attention(name: str | None, channels: int) -> nn.Module:
    """The attention module of that name, for features of that many channels."""
    match name:
        case None:
            return nn.Identity()
        case "eca":
            return ECA(channels)
        case "cbam":
            return nn.Sequential(ChannelMLP(channels), SpatialAttention())
        case "cbam_apart":
            return nn.Sequential(ChannelMLP(channels, apart=True), SpatialAttention())
        case "eca_cbam":
            return nn.Sequential(ECA(channels), SpatialAttention())
        case "eca_nonlocal":
            return nn.Sequential(ECA(channels), NonLocal(channels))
        case "eca_nonlocal_from_zero":
            return nn.Sequential(ECA(channels), NonLocalFromZero(channels))
    raise PoseError(
        f"There is no attention module {name!r}; known: null, eca, cbam, cbam_apart, eca_cbam, eca_nonlocal, "
        "eca_nonlocal_from_zero."
    )
