"""Files as converters write them, of a network small enough to be written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.inference.description import Description


class Averages(nn.Module):
    """Means of 4x4 pixels, mixed to a heatmap for each joint."""

    stride = 4

    def __init__(self, joints: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.joints, self.mix = joints, nn.Conv2d(3, joints, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.mix(F.avg_pool2d(images, 4))]


def tflite(network: Averages, size: tuple[int, int]) -> bytes:
    """The network's TFLite graph: images (1, H, W, 3) to heatmaps (1, H/4, W/4, K)."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as tfl

    height, width = size
    assert network.mix.bias is not None
    weight = network.mix.weight.detach().permute(0, 2, 3, 1).numpy()  # (K, 1, 1, 3)
    arrays = [None, weight, network.mix.bias.detach().numpy()]
    shapes = {
        "images": (1, height, width, 3),
        "means": (1, height // 4, width // 4, 3),
        "weight": weight.shape,
        "bias": arrays[2].shape,
        "heatmaps": (1, height // 4, width // 4, network.joints),
    }
    tensors = []
    for name, shape in shapes.items():
        tensor = tfl.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), tfl.TensorType.FLOAT32
        tensor.buffer = {"weight": 1, "bias": 2}.get(name, 0)
        tensors.append(tensor)
    pool, conv = tfl.Pool2DOptionsT(), tfl.Conv2DOptionsT()
    pool.padding = conv.padding = tfl.Padding.VALID
    pool.strideH = pool.strideW = pool.filterHeight = pool.filterWidth = 4
    conv.strideH = conv.strideW = conv.dilationHFactor = conv.dilationWFactor = 1
    kinds = (
        (tfl.BuiltinOperator.AVERAGE_POOL_2D, tfl.BuiltinOptions.Pool2DOptions, pool, [0], [1]),
        (tfl.BuiltinOperator.CONV_2D, tfl.BuiltinOptions.Conv2DOptions, conv, [1, 2, 3], [4]),
    )
    model, graph = tfl.ModelT(), tfl.SubGraphT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [], [graph], []
    graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, [0], [4], []
    for number, (kind, options, values, inputs, outputs) in enumerate(kinds):
        code, node = tfl.OperatorCodeT(), tfl.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = 1
        node.opcodeIndex, node.inputs, node.outputs = number, inputs, outputs
        node.builtinOptionsType, node.builtinOptions = options, values
        model.operatorCodes.append(code)
        graph.operators.append(node)
    for array in arrays:
        buffer = tfl.BufferT()
        if array is not None:
            buffer.data = np.frombuffer(array.astype(np.float32).tobytes(), np.uint8)
        model.buffers.append(buffer)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def write(path: Path, network: Averages, size: tuple[int, int]) -> Path:
    path.write_bytes(tflite(network, size))
    return path


def write_ncnn(path: Path, network: Averages, about: Description) -> Path:
    graph, numbers = ncnn(network)
    path.write_bytes(graph)
    path.with_suffix(".bin").write_bytes(numbers)
    path.with_suffix(".json").write_text(about.to_json())
    return path


def ncnn(network: Averages) -> tuple[bytes, bytes]:
    """The network's ncnn graph and its numbers."""
    joints = network.joints
    assert network.mix.bias is not None
    lines = (
        "7767517",
        "3 3",
        "Input in0 0 1 in0",
        "Pooling means 1 1 in0 1 0=1 1=4 2=4 5=1",
        f"Convolution mix 1 1 1 out0 0={joints} 1=1 5=1 6={3 * joints}",
    )
    numbers = [each.detach().numpy().tobytes() for each in (network.mix.weight, network.mix.bias)]
    return "\n".join((*lines, "")).encode(), b"\0" * 4 + b"".join(numbers)
