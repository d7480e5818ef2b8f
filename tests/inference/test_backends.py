"""Files are run by one contract: what they take and give is read from them, whatever runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from featherpose.errors import PoseError
from featherpose.inference.backends import FileBackend, OnnxRuntime, numbers, open_session
from featherpose.inference.description import KEY, Description
from featherpose.inference.estimator import Estimator
from featherpose.inference.outputs import Heatmaps, Vectors
from featherpose.protocol import Protocol
from featherpose.skeletons import COCO, LSP

SIZE = (16, 8)
TOLD = Description(LSP, SIZE, 4, Protocol())
JOINTS = len(LSP)


def write(
    path: Path,
    nodes: list[onnx.NodeProto],
    outputs: dict[str, list],
    batch: int | str = "batch",
    kind: int = TensorProto.FLOAT,
    told: Description | None = TOLD,
) -> Path:
    images = helper.make_tensor_value_info("images", kind, [batch, 3, *SIZE])
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, *s]) for n, s in outputs.items()
    ]
    constants = [
        helper.make_tensor("repeats", TensorProto.INT64, [4], [1, JOINTS, 1, 1]),
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        helper.make_tensor("rows", TensorProto.INT64, [1], [2]),
        helper.make_tensor("columns", TensorProto.INT64, [1], [3]),
        helper.make_tensor("twice", TensorProto.FLOAT, [3], [1, 1, 2]),
    ]
    graph = helper.make_graph(nodes, "made", [images], values, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if told is not None:
        helper.set_model_props(model, {KEY: told.to_json()})
    onnx.save(model, path)
    return path


def brightness(source: str = "images") -> list[onnx.NodeProto]:
    """Every joint's heatmap is the picture's brightness, a quarter of its size."""
    return [
        helper.make_node("AveragePool", [source], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("ReduceMean", ["small", "axes"], ["grey"], keepdims=1),
        helper.make_node("Tile", ["grey", "repeats"], ["heatmaps"]),
    ]


MAPS = {"heatmaps": [JOINTS, SIZE[0] // 4, SIZE[1] // 4]}


def some_crops(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, *SIZE), np.uint8)


def grey(images: np.ndarray) -> np.ndarray:
    small = images.reshape(len(images), 3, SIZE[0] // 4, 4, SIZE[1] // 4, 4).mean((1, 3, 5))
    return np.repeat(small[:, None], JOINTS, axis=1)


@pytest.mark.parametrize("batch", ["batch", 2])
def test_an_open_and_a_fixed_batch(tmp_path: Path, batch: int | str) -> None:
    backend = FileBackend(write(tmp_path / "a.onnx", brightness(), MAPS, batch))
    (output,) = backend(some_crops())
    assert isinstance(output, Heatmaps) and output.stride == 4 and len(output) == 5
    np.testing.assert_allclose(output.values, grey(numbers(some_crops(), TOLD)), atol=1e-5)


def test_a_file_that_takes_bytes_gets_bytes(tmp_path: Path) -> None:
    cast = helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT)
    nodes = [cast, *brightness("floats")]
    path = write(tmp_path / "a.onnx", nodes, MAPS, kind=TensorProto.UINT8)
    (output,) = FileBackend(path)(some_crops())
    np.testing.assert_allclose(output.values, grey(some_crops()), rtol=1e-5)


def vectors() -> list[onnx.NodeProto]:
    """Two vectors a joint, two bins a pixel: means of the picture's columns and of its rows."""
    return [
        helper.make_node("Resize", ["images", "", "scales"], ["large"], mode="nearest"),
        helper.make_node("ReduceMean", ["large", "rows"], ["x3"], keepdims=0),
        helper.make_node("ReduceMean", ["large", "columns"], ["y3"], keepdims=0),
        helper.make_node("ReduceMean", ["x3", "axes"], ["x1"], keepdims=1),
        helper.make_node("ReduceMean", ["y3", "axes"], ["y1"], keepdims=1),
        helper.make_node("Expand", ["x1", "x_shape"], ["x"]),
        helper.make_node("Expand", ["y1", "y_shape"], ["y"]),
    ]


def test_two_vectors_a_joint(tmp_path: Path) -> None:
    outputs = {"x": [JOINTS, 2 * SIZE[1]], "y": [JOINTS, 2 * SIZE[0]]}
    path = write(tmp_path / "a.onnx", vectors(), outputs)
    model = onnx.load(path)
    model.graph.initializer.extend(
        [
            helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, 2, 2]),
            helper.make_tensor("x_shape", TensorProto.INT64, [3], [1, JOINTS, 1]),
            helper.make_tensor("y_shape", TensorProto.INT64, [3], [1, JOINTS, 1]),
        ]
    )
    onnx.save(model, path)
    crops = np.zeros((2, 3, *SIZE), np.uint8)
    crops[0, :, 11, 3] = crops[1, :, 4, 6] = 255
    backend = FileBackend(path)
    (output,) = backend(crops)
    assert isinstance(output, Vectors) and output.bins == 2 and output.x.shape == (2, JOINTS, 16)
    points, _ = Estimator(backend)(crops)
    np.testing.assert_allclose(points[:, 0], [[3, 11], [6, 4]], atol=0.5)


def test_a_file_of_another_program_needs_a_skeleton(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", brightness(), MAPS, told=None)
    with pytest.raises(PoseError, match="without featherpose metadata"):
        FileBackend(path)
    described = FileBackend(path, skeleton=LSP).description
    assert (described.input_size, described.stride, described.skeleton) == (SIZE, 4, LSP)
    with pytest.raises(PoseError, match="gives 14 heatmaps, but the skeleton coco has 17 joints"):
        FileBackend(path, skeleton=COCO)


def test_a_file_of_another_program_is_described_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", brightness(), MAPS, told=None)
    beside = tmp_path / "a.json"
    turned = ["limb" + str(joint) for joint in range(len(LSP))]
    said = {
        "skeleton": {"name": "turned", "joints": turned},
        "mean": [0.5] * 3,
        "deviation": [1] * 3,
    }
    beside.write_text(json.dumps(said))
    for backend in (FileBackend(path), FileBackend(path, skeleton=LSP)):
        assert list(backend.description.skeleton.joints) == turned
        assert (backend.description.mean, backend.description.deviation) == ((0.5,) * 3, (1.0,) * 3)
    crops = some_crops()
    (output,) = backend(crops)
    np.testing.assert_allclose(
        output.values.mean(axis=(1, 2, 3)), crops.mean(axis=(1, 2, 3)) / 255 - 0.5, atol=1e-5
    )
    beside.write_text(json.dumps({"mean": [0.5] * 3}))  # the rest from whoever opens it
    assert FileBackend(path, skeleton=LSP).description.mean == (0.5,) * 3
    with pytest.raises(PoseError, match=r"say its skeleton in a\.json beside it"):
        FileBackend(path)


@pytest.mark.parametrize(
    ("said", "sentence"),
    {
        "[1]": "takes skeleton, mean, deviation and nothing else",
        '{"input_size": [8, 8]}': "takes skeleton, mean, deviation and nothing else",
        '{"skeleton": "cat"}': "skeleton",
        '{"mean": [1, 2]}': "mean",
        '{"deviation": [1, 1, 0]}': "deviation",
        "{": "a.json, which is to describe",
        "\udcff": "a.json, which is to describe",
    }.items(),
)
def test_a_wrong_description_is_refused(said: str, sentence: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", brightness(), MAPS, told=None)
    (tmp_path / "a.json").write_bytes(said.encode("utf-8", "surrogateescape"))
    with pytest.raises(PoseError, match=sentence) as caught:
        FileBackend(path, skeleton=LSP)
    assert "\n" not in str(caught.value)


def test_only_the_outputs_like_the_last_one_count(tmp_path: Path) -> None:
    """As EfficientPose's file gives fields of limbs and small maps before its heatmaps."""
    nodes = [*brightness(), helper.make_node("Identity", ["images"], ["fields"])]
    path = write(tmp_path / "a.onnx", nodes, {"fields": [3, *SIZE], **MAPS}, told=None)
    backend = FileBackend(path, skeleton=LSP)
    assert len(backend(some_crops())) == 1


def test_what_a_file_says_of_itself_comes_first(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", brightness(), MAPS)
    assert FileBackend(path, skeleton=COCO).description == TOLD


def test_a_file_of_neither_maps_nor_vectors_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Flatten", ["images"], ["flat"])]
    path = write(tmp_path / "a.onnx", nodes, {"flat": [3 * SIZE[0] * SIZE[1]]})
    with pytest.raises(PoseError, match="neither heatmaps nor two vectors"):
        FileBackend(path)
    with pytest.raises(PoseError, match=r"no runtime=tensorrt; known: onnxruntime, openvino"):
        FileBackend(path, "tensorrt")


def test_openvino_gives_what_onnx_runtime_gives(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    path = write(tmp_path / "a.onnx", brightness(), MAPS)
    model = openvino.convert_model(str(path))
    model.set_rt_info(TOLD.to_json(), [KEY])
    openvino.save_model(model, str(tmp_path / "a.xml"), compress_to_fp16=False)
    (wanted,) = FileBackend(path)(some_crops())
    for backend in (FileBackend(path, "openvino"), FileBackend(tmp_path / "a.xml")):
        (output,) = backend(some_crops())
        np.testing.assert_allclose(output.values, wanted.values, atol=1e-5)
        assert backend.description == TOLD


def test_no_session_spins(tmp_path: Path) -> None:
    runtime = OnnxRuntime(write(tmp_path / "a.onnx", brightness(), MAPS), 2)
    bare = (tmp_path / "a.onnx").read_bytes()
    for session in (runtime.session, runtime.single, open_session(bare)):
        options = session.get_session_options()
        assert options.get_session_config_entry("session.force_spinning_stop") == "1"
    source = Path(sys.modules["featherpose"].__file__ or "").parent
    opened = [p.name for p in source.rglob("*.py") if "InferenceSession(" in p.read_text()]
    assert opened == ["backends.py"]  # one place opens them all


def test_signals_arrive_after_two_openvino_files_were_open_and_closed(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = write(tmp_path / "a.onnx", brightness(), MAPS)
    program = f"""
import faulthandler, gc, signal, subprocess
faulthandler.enable()  # gives the thread a stack for signals, as pytest does
from featherpose.inference.backends import FileBackend
first, second = (FileBackend({str(path)!r}, "openvino") for _ in range(2))
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGCHLD, lambda *_: print("arrived"))
subprocess.run(["true"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "arrived\n"), done.stderr


def test_a_fork_goes_on_with_what_its_parent_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", brightness(), MAPS)
    program = f"""
import os, signal
import numpy as np
from featherpose.inference.backends import FileBackend
backend, crops = FileBackend({str(path)!r}, threads=2), np.zeros((4, 3, 16, 8), np.uint8)
backend(crops)
child = os.fork()
if child == 0:
    signal.alarm(20)
    backend(crops)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=100, check=False)
    assert done.returncode == 0
