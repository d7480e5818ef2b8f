"""A half-size file gives the same keypoints, or there is no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from featherpose.data.dataset import CropDataset
from featherpose.errors import PoseError
from featherpose.export import half
from featherpose.export.half import halve
from featherpose.image import read
from featherpose.inference.pose import Pose
from featherpose.skeletons import COCO
from featherpose.synthetic import painted
from featherpose.zoo import shipped


def crops() -> torch.Tensor:
    people = painted.read(split="val", people=4, skeleton="coco")
    dataset = CropDataset(people, painted.load, COCO, (256, 192))
    return torch.stack([dataset[i]["image"] for i in range(4)])


def whole(path: Path) -> Path:
    """The network that ships, its weights in 32 bits again and off the grid of 16."""
    model = onnx.load(shipped.FOLDER / "light.onnx")
    rng = np.random.default_rng(0)
    casts = {node.input[0]: node for node in model.graph.node if node.op_type == "Cast"}
    for tensor in model.graph.initializer:
        if tensor.name in casts:
            node = casts[tensor.name]
            values = numpy_helper.to_array(tensor).astype(np.float32)
            values *= 1 + rng.uniform(-1e-4, 1e-4, values.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, node.output[0]))
            model.graph.node.remove(node)
    onnx.save(model, path)
    return path


def test_half_the_size_and_the_same_joints(tmp_path: Path) -> None:
    big = whole(tmp_path / "big.onnx")
    worst, moved = halve(big, tmp_path / "small.onnx", crops())
    assert 0 < worst < half.TOLERANCE and moved < half.TOLERANCE_PIXELS
    assert (tmp_path / "small.onnx").stat().st_size < 0.7 * big.stat().st_size
    pose = Pose(tmp_path / "small.onnx")
    assert pose.description.precision == "float16 weights"


def test_a_network_that_loses_too_much_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = whole(tmp_path / "big.onnx")
    monkeypatch.setattr(half, "TOLERANCE", 1e-7)
    with pytest.raises(PoseError, match="is not written"):
        halve(big, tmp_path / "small.onnx", crops())
    assert not (tmp_path / "small.onnx").exists()


def test_the_readme_picture_is_what_the_network_finds(root: Path) -> None:
    """The drawn astronaut has a face: its nose lies where NASA's portrait has it."""
    (found,) = Pose()(read(root / "docs" / "images" / "astronaut_pose.jpg"))
    assert np.linalg.norm(found.keypoints[0] - (226, 126)) < 12
