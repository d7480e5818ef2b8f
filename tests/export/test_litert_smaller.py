"""Smaller TFLite files of an exported one: what is rounded, what is not, and when there is no file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.export import half
from featherpose.export.litert import export_litert
from featherpose.export.litert_smaller import halve_litert, heads, quantise_litert
from featherpose.export.onnx import Deployed
from featherpose.inference.backends import FileBackend
from featherpose.skeletons import COCO

from ..inference.written_by_hand import Averages, tflite
from .test_litert import some_crops, told

SIZE = (64, 64)
CROPS = some_crops(SIZE)


class Three(nn.Module):
    """Enough weights to weigh more than their graph, a depthwise convolution and a head."""

    stride = 4

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.heatmaps = nn.Conv2d(3, 512, 4, 4), nn.Conv2d(512, len(COCO), 3, 1, 1)
        self.depthwise = nn.Conv2d(512, 512, 3, 1, 1, groups=512)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.heatmaps(self.depthwise(self.body(images).relu()).relu())]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As it is exported."""
    if importlib.util.find_spec("litert_torch") is None:
        pytest.skip("no litert-torch here: make test-formats has it")
    path = tmp_path_factory.mktemp("whole") / "three.tflite"
    deployed = Deployed(Three().eval(), COCO)  # ty: ignore[invalid-argument-type]
    export_litert(deployed, path, CROPS, told(COCO, SIZE))
    return path


def weights(path: Path, depthwise: bool | None = None) -> dict[str, np.dtype]:
    """The type of each convolution's weights, by the name of its output; of one kind alone where asked."""
    from ai_edge_litert import schema_py_generated as tfl

    model = tfl.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    (graph,) = model.subgraphs
    codes = [max(each.builtinCode, each.deprecatedBuiltinCode) for each in model.operatorCodes]
    kinds = [tfl.BuiltinOperator.DEPTHWISE_CONV_2D] if depthwise is not False else []
    kinds += [tfl.BuiltinOperator.CONV_2D] if not depthwise else []
    types = {getattr(tfl.TensorType, name.upper()): name for name in ("float32", "float16", "int8")}
    turned = {
        node.outputs[0]: node.inputs[0]
        for node in graph.operators
        if codes[node.opcodeIndex] == tfl.BuiltinOperator.DEQUANTIZE
    }
    return {
        graph.tensors[node.outputs[0]].name.decode(): np.dtype(
            types[graph.tensors[turned.get(node.inputs[1], node.inputs[1])].type]
        )
        for node in graph.operators
        if codes[node.opcodeIndex] in kinds
    }


@pytest.mark.slow
def test_half_the_size_and_the_same_joints(whole: Path, tmp_path: Path) -> None:
    small = tmp_path / "half.tflite"
    worst, moved = halve_litert(whole, small, CROPS)
    assert 0 < worst < half.TOLERANCE and moved < half.TOLERANCE_PIXELS
    assert set(weights(whole).values()) == {np.dtype("float32")}
    assert set(weights(small).values()) == {np.dtype("float16")}
    assert small.stat().st_size < 0.6 * whole.stat().st_size
    before, after = (FileBackend(path).description for path in (whole, small))
    assert after.precision == "float16 weights" and after.skeleton == before.skeleton


@pytest.mark.slow
def test_a_half_size_file_that_is_off_is_not_written(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half, "TOLERANCE", 1e-7)
    with pytest.raises(PoseError, match=r"half\.tflite is not written: with weights of 16 bits"):
        halve_litert(whole, tmp_path / "half.tflite", CROPS)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_int8_leaves_the_heads_and_says_so(whole: Path, tmp_path: Path) -> None:
    small = tmp_path / "int8.tflite"
    kept = quantise_litert(whole, small, CROPS)
    found = weights(small, depthwise=False)
    assert kept and kept == heads(whole.read_bytes())
    assert set(weights(small, depthwise=True).values()) == {np.dtype("float32")}
    assert {name for name, kind in found.items() if kind == np.float32} == set(kept)
    assert {kind for name, kind in found.items() if name not in kept} == {np.dtype("int8")}
    backend = FileBackend(small)
    assert backend.description.precision == "int8"
    (given,), (wanted,) = backend(CROPS.numpy()), FileBackend(whole)(CROPS.numpy())
    off = np.abs(given.values - wanted.values).max() / np.abs(wanted.values).max()
    assert 1e-4 < off < 0.05


def test_the_heads_are_what_the_outputs_come_from() -> None:
    pytest.importorskip("ai_edge_litert")
    assert heads(tflite(Averages(14), SIZE)) == ["heatmaps"]
