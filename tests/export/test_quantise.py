"""int8 files: calibrated, still describing themselves, near the float32 file, and scored."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from featherpose.data.datamodule import PoseDataModule
from featherpose.export.onnx import Deployed, export
from featherpose.export.quantise import cheap_or_last, quantise, score
from featherpose.inference.backends import OnnxRuntime, numbers
from featherpose.inference.description import Description
from featherpose.metrics.pck import PCKh
from featherpose.models.hourglass import Hourglass
from featherpose.skeletons import MPII
from featherpose.synthetic import painted

SIZE = (64, 64)


def test_quantised_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Hourglass(16, stages=1, channels=16, depth=1, soft_gate=True).eval()
    for name, parameter in net.named_parameters():
        if name.endswith("alpha"):
            nn.init.constant_(parameter, 0.5)
    told = Description(MPII, SIZE, 4, {"flip": False, "decoder": "quarter"})
    crops = torch.randint(0, 256, (6, 3, *SIZE), dtype=torch.uint8)
    export(Deployed(net, MPII), tmp_path / "pose.onnx", crops, told)
    quantise(tmp_path / "pose.onnx", tmp_path / "int8.onnx", crops)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["int8.onnx", "pose.onnx"]
    before, after = OnnxRuntime(tmp_path / "pose.onnx"), OnnxRuntime(tmp_path / "int8.onnx")
    assert after.description.precision == "int8" and after.description.skeleton == MPII
    images = numbers(crops, told)
    one, other = before.run(images)["heatmaps"], after.run(images)["heatmaps"]
    worst = np.abs(one - other).max() / np.abs(one).max()
    assert 0 < worst < 0.3  # 8 bits, random weights
    model = onnx.load(tmp_path / "int8.onnx")
    assert any(
        each.data_type == onnx.TensorProto.INT8 and len(each.dims) == 4
        for each in model.graph.initializer
    )
    heads = cheap_or_last(onnx.load(tmp_path / "pose.onnx"))
    inputs = {node.name: list(node.input) for node in model.graph.node}
    floats = {
        each.name for each in model.graph.initializer if each.data_type == onnx.TensorProto.FLOAT
    }
    assert heads and all(
        inputs[name][1] in floats for name in heads
    )  # the head and the gates stay float32


class Perfect:
    """Knows where the joints are: what `score` must give 100 for."""

    description = Description(MPII, SIZE, 4, {})

    def __init__(self, data: PoseDataModule) -> None:
        dataset = data.val_dataset()
        self.joints = {
            dataset[i]["image"].numpy().tobytes(): dataset[i]["joints"].numpy()
            for i in range(len(dataset))
        }

    def __call__(self, crops: Tensor) -> tuple[np.ndarray, np.ndarray]:
        points = np.stack([self.joints[each.numpy().tobytes()] for each in crops])
        return points, np.ones(points.shape[:2])


def test_score_maps_keypoints_back_to_the_picture() -> None:
    data = PoseDataModule(
        "synthetic",
        "mpii",
        partial(painted.read, people={"train": 2, "val": 7}),
        painted.load,
        PCKh,
        input_size=SIZE,
        workers=0,
    )
    data.setup("validate")
    perfect = Perfect(data)
    found = score(perfect, data, 5)
    assert found == {"name": "PCKh@0.5", "score": 100.0, "persons": 5}
    perfect.joints = {key: joints + 30 for key, joints in perfect.joints.items()}
    assert score(perfect, data, 5)["score"] < 50
