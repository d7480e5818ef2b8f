"""LE-HRNet's attention in the forms that train fast is the plain one, with its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from featherpose.models.lean import GROUPS, MultiscaleAttention, SharedConv


def grouped(conv: SharedConv, x: Tensor) -> Tensor:
    """One convolution of as many groups, its weights repeated."""
    groups = x.shape[1] // conv.in_channels
    assert conv.bias is not None
    weight, bias = conv.weight.repeat(groups, 1, 1, 1), conv.bias.repeat(groups)
    return F.conv2d(x, weight, bias, padding=1, groups=groups)


def attend(ema: MultiscaleAttention, x: Tensor) -> Tensor:
    """The attention group by group, as the paper's code writes it."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch * GROUPS, channels // GROUPS, height, width)
    strips = torch.cat((x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)), 2)
    one = F.conv2d(strips, ema.conv1.weight, ema.conv1.bias)
    rows, columns = one.split([height, width], 2)
    gated = x * rows.sigmoid() * columns.transpose(2, 3).sigmoid()
    each = channels // GROUPS
    x1 = F.group_norm(gated, each, ema.norm.weight, ema.norm.bias, ema.norm.eps)
    x2 = grouped(ema.conv3, x)
    shares1, shares2 = (y.mean((2, 3)).softmax(1).unsqueeze(1) for y in (x1, x2))
    weights = shares1 @ x2.flatten(2) + shares2 @ x1.flatten(2)
    weighted = x * weights.reshape(-1, 1, height, width).sigmoid()
    return weighted.reshape(batch, channels, height, width)


def with_gradients(y: Tensor, *inputs: Tensor) -> list[Tensor]:
    return [y, *torch.autograd.grad(y.square().sum(), inputs)]


@pytest.mark.parametrize("each", [1, 2, 4, 8])
def test_a_shared_convolution_is_a_grouped_one(each: int) -> None:
    torch.manual_seed(each)
    conv = SharedConv(each, each, 3, padding=1).double()
    x = torch.randn(2, 4 * each, 7, 5, dtype=torch.double, requires_grad=True)
    inputs = [x, *conv.parameters()]
    ours, plain = (with_gradients(y, *inputs) for y in (conv(x), grouped(conv, x)))
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channels", [32, 64, 128, 256])
def test_the_attention_is_the_papers(channels: int) -> None:
    torch.manual_seed(channels)
    ema = MultiscaleAttention(channels).double()
    for parameter in ema.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    x = torch.randn(2, channels, 6, 8, dtype=torch.double, requires_grad=True)
    inputs = [x, *ema.parameters()]
    ours, plain = (with_gradients(y, *inputs) for y in (ema(x), attend(ema, x)))
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("channels", [32, 64, 128])
def test_its_gradients_are_those_of_differences(channels: int) -> None:
    torch.manual_seed(1)
    ema = MultiscaleAttention(channels).double()
    x = torch.randn(1, channels, 3, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(ema, x, fast_mode=True)
