"""Means and maxima in the form that trains faster on CPUs: the values and gradients of torch's own, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from featherpose.models import layers
from featherpose.models.layers import average, highest, mean

LAYOUTS = {"NCHW": torch.contiguous_format, "channels last": torch.channels_last}
POOL = torch.nn.AdaptiveAvgPool2d(1)
FORMS = {
    "mean over places": (lambda x: mean(x, (2, 3), True), lambda x: x.mean((2, 3), True)),
    "mean over channels": (lambda x: mean(x, (1,), True), lambda x: x.mean(1, True)),
    "mean of rows": (lambda x: mean(x, (3,)), lambda x: x.mean(3)),
    "average pool": (lambda x: average(x, POOL), POOL),
    "highest place": (lambda x: highest(x, (2, 3)), lambda x: x.amax((2, 3), True)),
    "highest channel": (lambda x: highest(x, (1,)), lambda x: x.amax(1, True)),
}
every_form = pytest.mark.parametrize("form", FORMS)


def features(layout: str, dtype: torch.dtype) -> Tensor:
    """With ties: some of the values stand twice."""
    torch.manual_seed(0)
    x = torch.randn(2, 24, 10, 7, dtype=dtype)
    x[:, 3], x[:, :, 4, 2] = 9, 11
    x[0, 5] = x[0, 6]
    return x.to(memory_format=LAYOUTS[layout])


@every_form
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_and_gradients_are_torchs_own(layout: str, dtype: torch.dtype, form: str) -> None:
    found = []
    for function in FORMS[form]:
        x = features(layout, dtype).requires_grad_()
        y = function(x)
        y.backward(torch.arange(y.numel(), dtype=dtype).reshape(y.shape) / 8)
        found.append((y.detach(), x.grad))
    (ours, gradient), (torchs, its_gradient) = found
    assert (
        gradient is not None and torch.equal(ours, torchs) and torch.equal(gradient, its_gradient)
    )


@every_form
def test_gradients_are_those_of_differences(form: str) -> None:
    x = torch.randperm(2 * 6 * 5 * 4).reshape(2, 6, 5, 4).double().requires_grad_()
    torch.autograd.gradcheck(FORMS[form][0], x)


def test_what_is_recorded_or_does_not_train_is_torchs_own() -> None:
    x = features("NCHW", torch.float32)
    assert not layers.trains_eagerly(x)
    x.requires_grad_()
    assert layers.trains_eagerly(x)
    with torch.no_grad():
        assert not layers.trains_eagerly(x * 2)
    traced = torch.jit.trace(lambda x: highest(x, (1,)) + mean(x, (1,), True), (x,))
    assert {"aten::amax", "aten::mean"} <= {node.kind() for node in traced.graph.nodes()}
    program = torch.export.export(Pooled(), (x,))
    names = {str(node.target) for node in program.graph.nodes}
    assert {"aten.amax.default", "aten.mean.dim"} <= names


class Pooled(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return highest(x, (1,)) + mean(x, (1,), True)
