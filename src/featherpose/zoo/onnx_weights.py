"""The numbers of an exported file whose weights are all convolutions' (`light`, which ships), in its network's names.

An export folds every batch norm into the convolution before it and renames what it folds, but keeps their order: that
in which the network calls them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.models.layers import ConvNorm
from featherpose.skeletons import Skeleton, skeleton_of
from featherpose.zoo.openvino_weights import Convolution
from featherpose.zoo.tinypose import conv_norm

LOOK = 64  # side of the picture that shows the order: a multiple of all strides


def read_onnx(path: Path, network: nn.Module) -> tuple[dict[str, Tensor], Skeleton | None]:
    """The file as a state dict of the network, and its joints where it says them."""
    found, model = read_convolutions(path)
    return state_of(found, network, str(path)), _skeleton(model, path)


def read_convolutions(path: Path) -> tuple[list[Convolution], Any]:
    """The file's convolutions in its order, and its model."""
    try:
        import onnx
    except ImportError as error:
        raise PoseError("ONNX files need onnx: pip install 'featherpose[onnx]'.") from error
    try:
        model = onnx.load(path)
        return _convolutions(model), model
    except Exception as error:  # onnx and protobuf have their own kinds
        raise PoseError(
            f"{path} is not an ONNX file that can be read ({type(error).__name__})."
        ) from error


def _skeleton(model: Any, path: Path) -> Skeleton | None:
    said = {each.key: each.value for each in model.metadata_props}.get("featherpose")
    if said is None:
        return None
    try:
        return skeleton_of(json.loads(said)["skeleton"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PoseError(
            f"The featherpose metadata of {path} is damaged: export it again."
        ) from error


def state_of(found: list[Convolution], network: nn.Module, origin: str) -> dict[str, Tensor]:
    names = order_of(network)
    modules = dict(network.named_modules())
    rest = [
        name
        for name, _ in network.named_parameters()
        if not isinstance(modules[name.rpartition(".")[0]], (nn.Conv2d, nn.BatchNorm2d))
    ]
    shapes = [list(modules[name].weight.shape[1:]) for name in names]
    theirs = [list(each.weight.shape[1:]) for each in found]
    if rest or shapes[:-1] != theirs[:-1]:
        raise PoseError(
            f"{origin} is an exported file, whose numbers are only known where the network is the same and made of "
            f"convolutions and norms alone; this {type(network).__name__} is not. Start from its checkpoint."
        )
    state = {}
    for name, each in zip(names, found, strict=True):
        parent = modules[name.rpartition(".")[0]]
        if isinstance(parent, ConvNorm):
            norm: Any = parent[1]
            state |= conv_norm(name.rpartition(".")[0], each, norm.eps)
        else:
            state[f"{name}.weight"] = each.weight
            if each.bias is not None:
                state[f"{name}.bias"] = each.bias
    return state


@torch.no_grad()
def order_of(network: nn.Module) -> list[str]:
    """The convolutions' names in the order in which the network calls them."""
    called: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: called.append(name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    training = network.training
    weight = next(network.parameters())
    try:
        network.eval()(torch.zeros(1, 3, LOOK, LOOK, device=weight.device, dtype=weight.dtype))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return called


def _convolutions(model: Any) -> list[Convolution]:
    from onnx import numpy_helper

    numbers = {each.name: each for each in model.graph.initializer}
    # files of half the size turn their weights back into float32
    whole = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast"}

    def tensor(name: str) -> Tensor:
        return torch.from_numpy(
            numpy_helper.to_array(numbers[whole.get(name, name)]).copy()
        ).float()

    return [
        Convolution(
            (), tensor(node.input[1]), tensor(node.input[2]) if len(node.input) > 2 else None
        )
        for node in model.graph.node
        if node.op_type == "Conv"
    ]
