"""PP-TinyPose's numbers in the names of our wider naive Lite-HRNet-18.

Its OpenVINO file has every batch norm folded into the convolution before it, and names each by the norm's number:
`batch_norm2d_0`, `batch_norm2d_1`, ... in the order in which PaddleDetection builds the network.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.models.layers import ConvNorm
from featherpose.models.peers.lite_hrnet import NaiveLiteHRNet
from featherpose.zoo.openvino_weights import Convolution

_UNIT = re.compile(r"stages\.(\d+)\.([01])\.units\.(\d+)\.")


def layer_names(network: NaiveLiteHRNet) -> list[str]:
    """Our convolutions with norms in PaddleDetection's order.

    Two things differ from ours: it builds both shuffle units of a branch before the next branch's, and its head
    from the coarsest branch up.
    """
    names = [name for name, module in network.named_modules() if isinstance(module, ConvNorm)]
    place = {name: i for i, name in enumerate(names)}

    def order(name: str) -> tuple[int, int, int, int, int]:
        if name.startswith("head."):
            return 2, -int(name.split(".")[2]), 0, 0, place[name]
        if not name.startswith("stages."):
            return 0, 0, 0, 0, place[name]
        stage = int(name.split(".")[1])
        unit = _UNIT.match(name)
        if unit is None:  # a transition, or a fusion behind the units
            return 1, stage, 1, 0, place[name]
        return 1, stage, 0, int(unit[3]), place[name]

    return sorted(names, key=order)


def state_of(
    convolutions: Sequence[Convolution], network: nn.Module, origin: str
) -> dict[str, Tensor]:
    """The file's convolutions as a state dict of our network.

    A folded norm becomes a norm with scale 1, mean 0 and variance 1: the file's bias is its bias.
    """
    if not isinstance(network, NaiveLiteHRNet):
        raise PoseError(
            f"{origin} is read as PP-TinyPose, which is model=wider_naive_lite_hrnet_18, "
            f"not {type(network).__name__}."
        )
    numbered = {number: each for each in convolutions if (number := _number(each)) is not None}
    heads = [each for each in convolutions if _number(each) is None]
    names = layer_names(network)
    if sorted(numbered) != list(range(len(names))) or len(heads) != 1:
        raise PoseError(
            f"{origin} is not PP-TinyPose as this map knows it: {len(numbered)} of its {len(convolutions)} "
            f"convolutions are named by their norms, and the network has {len(names)}."
        )
    state = {"heatmaps.weight": heads[0].weight, "heatmaps.bias": _bias_of(heads[0])}
    for number, name in enumerate(names):
        norm = network.get_submodule(f"{name}.1")
        assert isinstance(norm, nn.BatchNorm2d)
        state |= conv_norm(name, numbered[number], norm.eps)
    return state


def conv_norm(name: str, convolution: Convolution, eps: float) -> dict[str, Tensor]:
    """A convolution with a folded norm as the entries of our convolution and norm."""
    bias = _bias_of(convolution)
    return {
        f"{name}.0.weight": convolution.weight,
        f"{name}.1.weight": torch.ones_like(bias),
        f"{name}.1.bias": bias,
        f"{name}.1.running_mean": torch.zeros_like(bias),
        f"{name}.1.running_var": torch.full_like(bias, 1 - eps),  # with eps: exactly 1
        f"{name}.1.num_batches_tracked": torch.tensor(0),
    }


def _bias_of(convolution: Convolution) -> Tensor:
    if convolution.bias is None:
        return torch.zeros(len(convolution.weight))
    return convolution.bias


def _number(convolution: Convolution) -> int | None:
    found = (re.match(r"batch_norm2d_(\d+)\.", name) for name in convolution.names)
    return next((int(each[1]) for each in found if each), None)
