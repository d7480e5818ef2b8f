"""Teachers of other sizes and forms: what they say comes to the student's joints and to its grid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from featherpose.errors import PoseError
from featherpose.heatmaps import decode, encode
from featherpose.inference.description import KEY, Description
from featherpose.inference.outputs import Vectors
from featherpose.pixels import normalise
from featherpose.protocol import Protocol
from featherpose.skeletons import COCO, LSP
from featherpose.training.teachers import FileAnswers, Teacher, drawn, pixels, read_teacher, warp

from ..inference import written_by_hand
from ..inference.written_by_hand import Averages

SIZE = (64, 48)


class Bright:
    """A teacher who finds every joint where its crop is brightest, a pixel of a quarter of it."""

    def __call__(self, images: Tensor) -> Tensor:
        light = torch.nn.functional.avg_pool2d(images, 4).mean(1, keepdim=True)
        return (light - light.amin()).expand(-1, len(COCO), -1, -1)


def spot(size: tuple[int, int], x: float, y: float) -> Tensor:
    """A picture (1, 3, H, W) that is bright around a place."""
    light, _ = encode(torch.tensor([[[x, y]]]), torch.ones(1, 1), size, 6.0, False, None)
    return normalise((light * 255).byte().expand(-1, 3, -1, -1))


@pytest.mark.parametrize(
    ("student", "place"),
    [((64, 48), (25.0, 34.0)), ((128, 96), (50.0, 68.0)), ((64, 64), (33.0, 34.0))],
    ids=["as it is", "twice as large", "square"],
)
def test_a_teacher_of_another_size_finds_the_same_place(student, place) -> None:
    teacher = Teacher(Bright(), COCO, COCO.joints, input_size=SIZE)
    grid = student[0] // 4, student[1] // 4
    maps, peaks = teacher(spot(student, *place), grid)
    assert maps.shape == (1, 17, *grid) and peaks.shape == (1, 17)
    points, _ = decode(maps, "quarter")
    found = points[0, 0] * 4
    # a teacher's own quarter grid, and the average's half pixel, decide no finer than that
    assert (found - torch.tensor(place)).abs().max() <= 4 * max(student) / max(SIZE)


def test_a_grid_of_another_stride_is_filled_from_the_teachers() -> None:
    maps = torch.rand(1, 17, 16, 12)
    teacher = Teacher(lambda images: maps, COCO, COCO.joints)
    finer, _ = teacher(torch.zeros(1, 3, *SIZE), (32, 24))
    torch.testing.assert_close(finer[:, :, ::2, ::2], maps)
    with pytest.raises(PoseError, match="8x12 from crops of 64x48: they are not of one stride"):
        Teacher(lambda images: maps[:, :, :8], COCO, COCO.joints)(torch.zeros(1, 3, *SIZE), (8, 6))


def test_a_warp_reads_where_the_matrix_leads_and_nothing_outside() -> None:
    values = torch.arange(12.0).view(1, 1, 3, 4)
    moved = warp(values, torch.tensor([[1.0, 0, 1], [0, 1, -1]], dtype=torch.float64), (3, 4))
    expected = torch.tensor([[0.0, 0, 0, 0], [1, 2, 3, 0], [5, 6, 7, 0]])
    torch.testing.assert_close(moved[0, 0], expected)


def test_normalised_pictures_are_the_crops_again() -> None:
    crops = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(pixels(normalise(crops)), crops)


def test_a_file_of_another_program_teaches_the_joints_that_it_names(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    network = Averages(3)
    path = written_by_hand.write(tmp_path / "other.tflite", network, SIZE)
    joints = ["left_knee", "tail", "nose"]
    said = {
        "skeleton": {"name": "other", "joints": joints},
        "mean": [0.5] * 3,
        "deviation": [1] * 3,
    }
    path.with_suffix(".json").write_text(json.dumps(said))
    crops = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    teacher = read_teacher(path, COCO.joints)
    maps, peaks = teacher(normalise(crops), (SIZE[0] // 4, SIZE[1] // 4))
    with torch.no_grad():
        (wanted,) = network(crops / 255 - 0.5)
    torch.testing.assert_close(maps[:, COCO.index("left_knee")], wanted[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(maps[:, COCO.index("nose")], wanted[:, 2], atol=1e-5, rtol=0)
    assert teacher.taught.tolist() == [joint in joints for joint in COCO.joints]
    assert not peaks[:, ~teacher.taught].any()
    assert teacher.seen == (
        (0.5,) * 3,
        (1.0,) * 3,
    )  # other pixels are another teacher for the cache


def test_vectors_become_a_hill_as_high_as_the_teacher_is_sure() -> None:
    x, y = torch.zeros(1, 1, 96), torch.zeros(1, 1, 128)
    x[..., 40], y[..., 88] = 0.6, 0.9
    sure = torch.minimum(x.amax(-1), y.amax(-1))
    maps = drawn(x.argmax(-1), y.argmax(-1), sure, x, torch.zeros(1, 3, *SIZE))
    points, peak = decode(maps, "argmax")
    assert points.tolist() == [[[5.0, 11.0]]] and float(peak) == pytest.approx(0.6)


def test_a_file_that_gives_vectors_teaches_by_the_same_hills() -> None:
    x, y = np.zeros((2, 3, 96), np.float32), np.zeros((2, 3, 128), np.float32)
    x[:, 1, 40], y[:, 1, 88] = 0.9, 0.7
    maps = FileAnswers(lambda crops: [Vectors(x, y)])(torch.zeros(2, 3, *SIZE))
    points, peak = decode(maps, "argmax")
    assert points[:, 1].tolist() == [[5.0, 11.0]] * 2
    assert peak.flatten().tolist() == pytest.approx([0, 0.7, 0] * 2)


def file(path: Path, joints: int, told: Description | None) -> Path:
    """Joint k's heatmap is k + 1 times the mean of a quarter's pixels."""
    weight = np.arange(1, joints + 1, dtype=np.float32).repeat(3).reshape(joints, 3, 1, 1) / 3
    nodes = [
        helper.make_node("AveragePool", ["images"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["small", "weight"], ["heatmaps"]),
    ]
    shape = ["batch", 3, *SIZE]
    entry = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    shape = ["batch", joints, SIZE[0] // 4, SIZE[1] // 4]
    end = helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, shape)
    constants = [numpy_helper.from_array(weight, "weight")]
    graph = helper.make_graph(nodes, "made", [entry], [end], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if told is not None:
        helper.set_model_props(model, {KEY: told.to_json()})
    onnx.save(model, path)
    return path


def test_an_exported_file_teaches_by_its_own_joints(tmp_path: Path) -> None:
    path = file(tmp_path / "lsp.onnx", len(LSP), Description(LSP, SIZE, 4, Protocol()))
    teacher = read_teacher(path, COCO.joints)
    crops = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    maps, _ = teacher(normalise(crops), (16, 12))
    small = torch.nn.functional.avg_pool2d(normalise(crops), 4).mean(1)
    place = LSP.index("left_knee")
    torch.testing.assert_close(
        maps[:, COCO.index("left_knee")], (place + 1) * small, rtol=1e-4, atol=1e-4
    )
    assert not teacher.taught[COCO.index("nose")] and teacher.taught[COCO.index("left_knee")]


def test_a_file_that_does_not_say_its_joints_is_asked_to_have_as_many(tmp_path: Path) -> None:
    path = file(tmp_path / "other.onnx", 17, None)
    assert read_teacher(path, LSP.joints).input_size == SIZE
    with pytest.raises(PoseError, match="gives 17 heatmaps, but the skeleton lsp has 14 joints"):
        read_teacher(path, LSP.joints, skeleton="lsp")
    with pytest.raises(PoseError, match=r"no loss\.runtime=tensorrt"):
        read_teacher(path, LSP.joints, runtime="tensorrt")
