"""int8 files: calibrated, still describing themselves, near the float32 file, and scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from featherpose.errors import PoseError
from featherpose.export import quantise as quantiser
from featherpose.export.onnx import Deployed, export
from featherpose.export.quantise import quantise
from featherpose.inference.backends import OnnxRuntime, numbers
from featherpose.inference.description import KEY, Description
from featherpose.models.hourglass import Hourglass
from featherpose.protocol import Protocol
from featherpose.skeletons import MPII

pytestmark = pytest.mark.slow

SIZE = (64, 64)


def test_quantised_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Hourglass(16, stages=1, channels=16, depth=1, soft_gate=True).eval()
    for name, parameter in net.named_parameters():
        if name.endswith("alpha"):
            nn.init.constant_(parameter, 0.5)
    told = Description(MPII, SIZE, 4, Protocol())
    crops = torch.randint(0, 256, (6, 3, *SIZE), dtype=torch.uint8)
    export(Deployed(net, MPII), tmp_path / "pose.onnx", crops, told)
    quantise(tmp_path / "pose.onnx", tmp_path / "int8.onnx", crops)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["int8.onnx", "pose.onnx"]
    before, after = OnnxRuntime(tmp_path / "pose.onnx"), OnnxRuntime(tmp_path / "int8.onnx")
    assert after.description.precision == "int8" and after.description.skeleton == MPII
    images = numbers(crops, told)
    one, other = before.run(images)["heatmaps"], after.run(images)["heatmaps"]
    worst = np.abs(one - other).max() / np.abs(one).max()
    assert 0 < worst < 0.1  # random weights; 0.35 where 16 bits overflow, on AVX2 without VNNI
    model = onnx.load(tmp_path / "int8.onnx")
    weights = [
        onnx.numpy_helper.to_array(each)
        for each in model.graph.initializer
        if each.data_type == onnx.TensorProto.INT8 and len(each.dims) == 4
    ]
    # no two products with a uint8 overflow 16 bits, whichever machine runs the file
    assert weights and 32 < max(np.abs(each.astype(int)).max() for each in weights) <= 64


def kinds_of_convolutions(path: Path, told: Description) -> Path:
    """One convolution of each kind; behind the head a scale, and decoding inside the graph."""
    node, float32 = onnx.helper.make_node, onnx.TensorProto.FLOAT
    shapes = {
        "full": (8, 3, 3, 3),
        "depthwise": (8, 1, 3, 3),
        "gate": (8, 1, 1, 1),
        "pointwise": (8, 8, 1, 1),
        "head": (3, 8, 1, 1),
    }
    mix, nodes, before = np.random.default_rng(0), [], "images"
    constants = [
        onnx.helper.make_tensor("scale", float32, [1], [0.5]),
        onnx.helper.make_tensor("axes", onnx.TensorProto.INT64, [2], [2, 3]),
    ]
    for name, shape in shapes.items():
        kernel = mix.normal(size=shape).astype(np.float32)
        constants.append(onnx.helper.make_tensor(f"w_{name}", float32, shape, kernel.ravel()))
        how = {"group": 8 if shape[1] == 1 else 1, "pads": [shape[2] // 2] * 4}
        nodes.append(node("Conv", [before, f"w_{name}"], [f"y_{name}"], name=name, **how))
        before = f"y_{name}"
    nodes.append(node("Mul", ["y_head", "scale"], ["heatmaps"], name="scaled"))
    nodes.append(node("ReduceMax", ["heatmaps", "axes"], ["confidence"], name="peak", keepdims=0))
    images, heatmaps, peak = (
        onnx.helper.make_tensor_value_info(name, float32, shape)
        for name, shape in (
            ("images", ["batch", 3, *SIZE]),
            ("heatmaps", ["batch", 3, *SIZE]),
            ("confidence", ["batch", 3]),
        )
    )
    graph = onnx.helper.make_graph(nodes, "kinds", [images], [heatmaps, peak], constants)
    opset = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    onnx.helper.set_model_props(model, {KEY: told.to_json()})
    onnx.save(model, path)
    return path


def test_which_convolutions_are_int8(tmp_path: Path) -> None:
    """All but depthwise ones, gates and heads, by the names they were given above."""
    told = Description(MPII, SIZE, 1, Protocol())
    source = kinds_of_convolutions(tmp_path / "kinds.onnx", told)
    quantise(source, tmp_path / "int8.onnx", torch.randint(0, 256, (4, 3, *SIZE)).byte())
    graph = onnx.load(tmp_path / "int8.onnx").graph
    stored = {each.name: each.data_type for each in graph.initializer}
    read_back = {
        node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"
    }
    found = {}
    for node in graph.node:
        if node.op_type == "Conv":
            weight = node.input[1]
            found[node.name] = stored[read_back.get(weight, weight)]
    int8, float32 = onnx.TensorProto.INT8, onnx.TensorProto.FLOAT
    eight, whole = ("full", "pointwise"), ("depthwise", "gate", "head")
    assert found == dict.fromkeys(eight, int8) | dict.fromkeys(whole, float32)


def two_convolutions(path: Path, told: Description, second_kernel: float = 0.5) -> Path:
    """Both with the bias `b`; `b0`, the first name that onnxruntime's quantiser finds free, is another node's."""
    node, tensor = onnx.helper.make_node, onnx.helper.make_tensor
    nodes = [
        node("Conv", ["images", "w", "b"], ["first"], name="one"),
        node("Relu", ["first"], ["b0"], name="between"),
        node("Conv", ["b0", "w", "b"], ["second"], name="two"),
        node("Conv", ["second", "v", "b"], ["heatmaps"], name="head"),
    ]
    kernel = np.full((3, 3, 1, 1), 0.25, np.float32)
    constants = [
        tensor("w", onnx.TensorProto.FLOAT, kernel.shape, kernel.ravel()),
        tensor("v", onnx.TensorProto.FLOAT, kernel.shape, kernel.ravel() * second_kernel),
        tensor("b", onnx.TensorProto.FLOAT, [3], [0.1, 0.2, 0.3]),
    ]
    shape = ["batch", 3, *SIZE]
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name in ("images", "heatmaps")
    ]
    graph = onnx.helper.make_graph(nodes, "shared", values[:1], values[1:], constants)
    opset = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    onnx.helper.set_model_props(model, {KEY: told.to_json()})
    onnx.save(model, path)
    return path


def test_a_shared_bias_gets_a_name_that_nothing_has(tmp_path: Path) -> None:
    told = Description(MPII, SIZE, 1, Protocol())
    source = two_convolutions(tmp_path / "shared.onnx", told)
    crops = torch.randint(0, 256, (4, 3, *SIZE), dtype=torch.uint8)
    quantise(source, tmp_path / "int8.onnx", crops)
    images = numbers(crops, told)
    before, after = OnnxRuntime(source).run(images), OnnxRuntime(tmp_path / "int8.onnx").run(images)
    off = np.abs(after["heatmaps"] - before["heatmaps"])
    assert np.quantile(off, 0.999) < 0.02 and off.max() < 0.05  # the highest thousandth is cut off


def test_a_broken_int8_file_never_takes_the_place_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Description(MPII, SIZE, 1, Protocol())
    source, target = tmp_path / "pose.onnx", tmp_path / "int8.onnx"
    crops = torch.randint(0, 256, (4, 3, *SIZE), dtype=torch.uint8)
    target.write_bytes(b"the file of last week")
    two_convolutions(source, told, second_kernel=float("nan"))
    with pytest.raises(PoseError, match=r"int8\.onnx is not written: its heatmaps are NaN"):
        quantise(source, target, crops)
    two_convolutions(source, told)
    monkeypatch.setattr(quantiser, "unshare_biases", lambda model: None)
    with pytest.raises(PoseError, match=r"int8\.onnx is not written, as it cannot be run"):
        quantise(source, target, crops)
    assert target.read_bytes() == b"the file of last week"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["int8.onnx", "pose.onnx"]
