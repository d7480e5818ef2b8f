"""The attention modules against their formulas, place by place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from featherpose.errors import PoseError
from featherpose.models.layers import (
    ECA,
    ChannelMLP,
    DepthwiseBlock,
    NonLocal,
    SpatialAttention,
    attention,
)


def features(channels: int) -> Tensor:
    """Of both signs, so that the maximum is neither the mean nor the minimum."""
    return torch.randn(2, channels, 5, 4, generator=torch.Generator().manual_seed(0)) * 2


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def assert_same(found: Tensor, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_eca_weighs_each_channel_by_its_neighbours_average_and_maximum() -> None:
    layer, x = ECA(10), features(10)
    pooled = x.numpy().mean((2, 3)) + x.numpy().max((2, 3))
    kernel = layer.conv.weight.detach().numpy().ravel()
    padded = np.pad(pooled, ((0, 0), (3, 3)))
    weights = [padded[:, c : c + 7] @ kernel for c in range(10)]
    assert_same(layer(x), x.numpy() * sigmoid(np.stack(weights, 1))[:, :, None, None])


def test_cbams_channel_half_sums_one_perceptron_of_average_and_of_maximum() -> None:
    layer, x = ChannelMLP(32), features(32)
    down, up = layer.reduce.weight.detach().numpy(), layer.expand.weight.detach().numpy()
    assert down.shape == (2, 32)
    both = [x.numpy().mean((2, 3)), x.numpy().max((2, 3))]
    total = sum(np.maximum(pooled @ down.T, 0) @ up.T for pooled in both)
    assert_same(layer(x), x.numpy() * sigmoid(total)[:, :, None, None])


def test_cbams_spatial_half_looks_at_maximum_and_mean_of_the_channels() -> None:
    layer, x = SpatialAttention(), features(6)
    pooled = np.stack([x.numpy().max(1), x.numpy().mean(1)], 1)
    padded = np.pad(pooled, ((0, 0), (0, 0), (3, 3), (3, 3)))
    kernel = layer.conv.weight.detach().numpy()[0]
    weights = [
        [(padded[:, :, i : i + 7, j : j + 7] * kernel).sum((1, 2, 3)) for j in range(4)]
        for i in range(5)
    ]
    assert_same(layer(x), x.numpy() * sigmoid(np.array(weights)).transpose(2, 0, 1)[:, None])


def test_every_place_attends_to_every_other_and_gamma_scales_what_it_adds() -> None:
    torch.manual_seed(1)
    layer, x = NonLocal(16), features(16)
    assert torch.equal(layer(x), x), "gamma is 0 at first"
    with torch.no_grad():
        layer.gamma.fill_(0.7)
    places = x.numpy().reshape(2, 16, 20)

    def pointwise(conv: torch.nn.Conv2d, values: np.ndarray) -> np.ndarray:
        weight, bias = conv.weight.detach().numpy()[:, :, 0, 0], conv.bias.detach().numpy()  # ty: ignore
        return np.einsum("oc,bcp->bop", weight, values) + bias[:, None]

    theta, phi, g = (pointwise(conv, places) for conv in (layer.theta, layer.phi, layer.g))
    scores = np.exp(np.einsum("bcq,bck->bqk", theta, phi))
    context = np.einsum("bqk,bck->bcq", scores / scores.sum(2, keepdims=True), g)
    added = pointwise(layer.project, context)
    assert_same(layer(x), x.numpy() + 0.7 * added.reshape(2, 16, 5, 4))


def test_a_soft_gate_scales_the_way_around_and_starts_shut() -> None:
    x = features(8)
    block = DepthwiseBlock(8, 8, soft_gate=True).eval()
    inner = block(x)
    with torch.no_grad():
        assert block.alpha is not None
        block.alpha.fill_(0.5)
    torch.testing.assert_close(block(x), inner + 0.5 * x)
    plain = DepthwiseBlock(8, 8).eval()
    plain.load_state_dict(block.state_dict(), strict=False)
    torch.testing.assert_close(plain(x), inner + x)


def test_attention_by_name() -> None:
    x = features(16)
    assert torch.equal(attention(None, 16)(x), x)
    kinds = {
        "eca": [ECA],
        "cbam": [ChannelMLP, SpatialAttention],
        "eca_cbam": [ECA, SpatialAttention],
        "eca_nonlocal": [ECA, NonLocal],
    }
    for name, parts in kinds.items():
        made = attention(name, 16)
        assert [type(part) for part in (made if len(parts) > 1 else [made])] == parts
    with pytest.raises(PoseError, match="no attention module 'se'"):
        attention("se", 16)
