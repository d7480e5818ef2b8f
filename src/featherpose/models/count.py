"""Parameters and multiply-accumulates of a network, counted the ways the papers count them.

Networks are counted on the meta device: shapes only, no arithmetic, no memory.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Linear)
# What they put out has the shape of what goes in. On the meta device torch works out each batch norm
# in Python, which was half of a count.
_KEEP_SHAPES = (
    *(nn.modules.batchnorm._BatchNorm, nn.ELU, nn.ReLU, nn.ReLU6, nn.SiLU),
    *(nn.Sigmoid, nn.Hardsigmoid, nn.Hardswish),
)


@dataclass(frozen=True)
class Size:
    """What one pass of one image costs."""

    parameters: int  # every learnable number
    convolution_macs: int  # multiply-accumulates of convolutions and linear layers
    norm_elements: int  # elements that pass through a batch norm
    resize_operations: int  # what average resizes and nearest upsampling cost by thop's rules
    convolution_outputs: int  # elements that convolutions put out
    layer_parameters: int  # without bare nn.Parameters (alpha, gamma), as thop counts
    norm_statistics: int  # running means and variances
    own_operations: (
        int  # what modules say of arithmetic of their own (`own_operations`): RePose's equation 2
    )

    @property
    def thop_macs(self) -> int:
        """MACs as thop reports them for a network in eval mode: 4 for each element of an affine batch norm."""
        return self.convolution_macs + 4 * self.norm_elements + self.resize_operations

    @property
    def flops(self) -> int:
        """RePose's convention: 2 per MAC, 1 each for bias, ReLU, a batch norm's scale and shift, and equation 2."""
        layers = self.convolution_macs + self.convolution_outputs + self.norm_elements
        return 2 * layers + self.own_operations


def _unchanged(values: Tensor) -> Tensor:
    return values


def count(network: nn.Module, height: int, width: int) -> Size:
    """Count a network for one image of that size; the network itself is left as it was."""
    return count_once(copy.deepcopy(network).to("meta"), height, width)


def count_once(network: nn.Module, height: int, width: int) -> Size:
    """Count a network on the meta device that is of no use afterwards."""
    network.eval()
    macs = norms = outputs = resizes = own = 0

    def on_convolution(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs, outputs
        assert isinstance(layer, _CONVOLUTIONS)
        macs += output.numel() * layer.weight[0].numel()
        outputs += output.numel()

    def on_norm(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal norms
        norms += output.numel()

    def on_resize(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal resizes
        resizes += output.numel() + (
            inputs[0].numel() if isinstance(layer, nn.AdaptiveAvgPool2d) else 0
        )

    def on_own(layer: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        nonlocal own
        own += layer.own_operations(output)

    for module in network.modules():
        if isinstance(module, _KEEP_SHAPES):
            module.forward = _unchanged  # ty: ignore[invalid-assignment]
        if hasattr(module, "own_operations"):
            module.register_forward_hook(on_own)
        if isinstance(module, _CONVOLUTIONS):
            module.register_forward_hook(on_convolution)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_hook(on_norm)
        elif isinstance(module, (nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.Upsample)):
            module.register_forward_hook(on_resize)
    with torch.no_grad():
        network(torch.empty(1, 3, height, width, device="meta"))
    layers = (
        m
        for m in network.modules()
        if isinstance(m, (*_CONVOLUTIONS, nn.BatchNorm2d, nn.GroupNorm))
    )
    return Size(
        parameters=sum(p.numel() for p in network.parameters()),
        convolution_macs=macs,
        norm_elements=norms,
        resize_operations=resizes,
        convolution_outputs=outputs,
        layer_parameters=sum(
            p.numel() for layer in layers for p in layer.parameters(recurse=False)
        ),
        norm_statistics=sum(
            b.numel() for n, b in network.named_buffers() if n.endswith(("_mean", "_var"))
        ),
        own_operations=own,
    )


def macs(network: nn.Module, height: int, width: int) -> int:
    """Multiply-accumulates of one pass, as executed: transposed convolutions and matrix products included."""
    network = copy.deepcopy(network).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.empty(1, 3, height, width, device="meta"))
    return counter.get_total_flops() // 2
