"""Convolutions out of an OpenVINO file: a network is written as OpenVINO writes it, and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.models.layers import ConvNorm
from featherpose.models.peers.lite_hrnet import NaiveLiteHRNet
from featherpose.zoo.openvino_weights import read_convolutions
from featherpose.zoo.tinypose import layer_names


class Writer:
    """An .xml with constants, converts, convolutions and adds, and the .bin with their numbers."""

    def __init__(self) -> None:
        self.layers: list[str] = []
        self.edges: list[str] = []
        self.numbers = b""

    def layer(self, kind: str, inputs: list[int], inside: str = "") -> int:
        number = len(self.layers)
        self.layers.append(f'<layer id="{number}" name="l{number}" type="{kind}">{inside}</layer>')
        for port, source in enumerate(inputs):
            self.edges.append(
                f'<edge from-layer="{source}" from-port="0" to-layer="{number}" to-port="{port}"/>'
            )
        return number

    def constant(self, tensor: Tensor) -> int:
        values = tensor.numpy().astype(np.float16).tobytes()
        shape = ",".join(map(str, tensor.shape))
        place = f'offset="{len(self.numbers)}" size="{len(values)}"'
        self.numbers += values
        data = f'<data element_type="f16" shape="{shape}" {place}/>'
        return self.layer("Convert", [self.layer("Const", [], data)])

    def convolution(self, x: int, weight: Tensor, bias: Tensor | None, fused: str = "") -> int:
        kind = "GroupConvolution" if weight.ndim == 5 else "Convolution"
        names = f'<rt_info><attribute name="fused_names" value="{fused}"/></rt_info>'
        x = self.layer(kind, [x, self.constant(weight)], names)
        return (
            x if bias is None else self.layer("Add", [x, self.constant(bias[None, :, None, None])])
        )

    def write(self, path: Path) -> Path:
        layers, edges = "".join(self.layers), "".join(self.edges)
        path.write_text(f"<net><layers>{layers}</layers><edges>{edges}</edges></net>")
        path.with_suffix(".bin").write_bytes(self.numbers)
        return path


def write_tinypose(network: NaiveLiteHRNet, path: Path) -> Path:
    """The network as PP-TinyPose's file has it: norms folded into convolutions that carry the norms' numbers.

    Written in another order than they are numbered, as OpenVINO does.
    """
    writer, layers = Writer(), []
    for number, name in enumerate(layer_names(network)):
        layer = network.get_submodule(name)
        assert isinstance(layer, ConvNorm)
        layers.append((f"conv.tmp_0, batch_norm2d_{number}.w_0", *folded(layer)))
    head = network.heatmaps
    assert head.bias is not None
    layers.append(("conv2d_9.tmp_0", head.weight, head.bias))
    x = writer.layer("Parameter", [])
    for fused, weight, bias in reversed(layers):
        x = writer.convolution(x, weight.detach(), bias.detach(), fused)
    return writer.write(path)


@torch.no_grad()
def folded(layer: ConvNorm) -> tuple[Tensor, Tensor]:
    conv, norm = layer[0], layer[1]
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    weight = conv.weight * scale[:, None, None, None]
    if conv.groups > 1:
        weight = weight.unflatten(0, (conv.groups, -1))
    return weight, norm.bias - norm.running_mean * scale


def small(tmp_path: Path) -> Path:
    writer = Writer()
    x = writer.layer("Parameter", [])
    x = writer.convolution(x, torch.ones(4, 3, 1, 1), torch.arange(4.0), "one, two")
    x = writer.layer("ReLU", [x])
    writer.convolution(x, torch.full((4, 1, 1, 3, 3), 2.0), None)
    return writer.write(tmp_path / "small.xml")


def test_weights_biases_and_fused_names_are_read(tmp_path):
    first, second = read_convolutions(small(tmp_path))
    assert first.names == ("one", "two")
    assert first.weight.shape == (4, 3, 1, 1) and first.bias.tolist() == [0, 1, 2, 3]
    assert second.weight.shape == (4, 1, 3, 3) and second.bias is None
    assert (second.weight == 2).all() and second.weight.dtype == torch.float32


def test_what_is_wrong_with_a_file_is_said_in_one_sentence(tmp_path):
    path = small(tmp_path)
    whole = path.with_suffix(".bin").read_bytes()
    path.with_suffix(".bin").write_bytes(whole[:-1])
    with pytest.raises(PoseError, match=r"outside the \.bin"):
        read_convolutions(path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(PoseError, match=r"There is no file .*small\.bin"):
        read_convolutions(path)
    path.with_suffix(".bin").write_bytes(whole)
    for text in ("<net><layers>", "not xml", "<net><layers><layer id='1'/></layers></net>"):
        path.write_text(text)
        with pytest.raises(PoseError, match="not an OpenVINO network that can be read"):
            read_convolutions(path)
