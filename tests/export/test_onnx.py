"""Exported files give torch's keypoints, or are not written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from featherpose import vectors
from featherpose.errors import PoseError
from featherpose.export import onnx as exporter
from featherpose.export.onnx import Deployed, export, graph_of
from featherpose.export.rewrite import CHANGES, rewrite
from featherpose.heatmaps import decode, flip_back
from featherpose.inference.backends import FileBackend, OnnxRuntime, OpenVINO, numbers, open_session
from featherpose.inference.description import KEY, Description, mapping_of
from featherpose.inference.estimator import Estimator
from featherpose.models.hourglass import Hourglass
from featherpose.pixels import normalise
from featherpose.protocol import Protocol
from featherpose.skeletons import COCO, LSP, MPII, skeleton_of

pytestmark = pytest.mark.slow

SIZE = (64, 48)


def network(**changes: object) -> Hourglass:
    torch.manual_seed(0)
    kwargs = {
        "stages": 2,
        "channels": 20,
        "depth": 1,
        "soft_gate": True,
        "neck": "eca_nonlocal_at_ends",
    }
    kwargs |= {"stem_attention": "eca_cbam", "stage_attention": "cbam", **changes}
    net = Hourglass(16, **kwargs)  # ty: ignore[invalid-argument-type]
    for name, parameter in net.named_parameters():
        if name.endswith(("alpha", "gamma")):
            nn.init.normal_(parameter, 0.4, 0.1)
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            nn.init.normal_(buffer, 0, 0.1)
        elif name.endswith("running_var"):
            nn.init.uniform_(buffer, 0.5, 2)
    return net.eval()


class Small(nn.Module):
    """Enough of a network for what is not about networks; torch exports it in a second."""

    stride, joints = 4, 16

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.norm, self.heatmaps = nn.BatchNorm2d(8), nn.Conv2d(8, 16, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.heatmaps(self.second(self.norm(nn.functional.elu(self.first(images)))))]


@pytest.fixture(scope="module")
def crops() -> Tensor:
    return torch.randint(
        0, 256, (4, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def description(**changes: object) -> Description:
    fields: dict = {
        "skeleton": MPII,
        "input_size": SIZE,
        "stride": 4,
        "protocol": Protocol(),
    }
    return Description(**{**fields, **changes})


class Vectors(Small):
    """The same, with two vectors a joint."""

    gives_vectors, input_size = True, SIZE

    def forward(self, images: Tensor) -> list[Tensor]:
        (maps,) = super().forward(images)
        return [maps.sum(2).repeat_interleave(8, 2), maps.sum(3).repeat_interleave(8, 2)]


@pytest.mark.parametrize("inside", [False, True])
def test_two_vectors_a_joint_are_exported_checked_and_read(
    tmp_path: Path, crops: Tensor, inside: bool
) -> None:
    net, how = Vectors().eval(), Protocol(flip=True)
    deployed = Deployed(net, MPII, flip=inside, decoder="quarter" if inside else None)  # ty: ignore[invalid-argument-type]
    told = description(protocol=how, flip_inside=inside)
    parity = export(deployed, tmp_path / "vectors.onnx", crops, told)
    assert parity.heatmaps < 1e-5 and parity.keypoints < 0.02
    points, sure = Estimator(FileBackend(tmp_path / "vectors.onnx"))(crops.numpy())
    with torch.inference_mode():
        images = normalise(crops)
        pair = vectors.flip_mean(net(images), net(images.flip(3)), MPII.flip_order)
        wanted, peaks = vectors.decode(*pair, bins=2)
    np.testing.assert_allclose(
        points, wanted, atol=4
    )  # a repeated bin: rounding picks one of eight
    np.testing.assert_allclose(sure, peaks, rtol=1e-4)


@pytest.mark.parametrize("passes", [False, True])
def test_flip_and_decoding_inside_equal_torch_outside(
    tmp_path: Path, crops: Tensor, passes: bool
) -> None:
    net = network(stages=1)
    path = tmp_path / "pose.onnx"
    parity = export(
        Deployed(net, MPII, flip=True, shift=True, decoder="quarter", passes=passes),
        path,
        crops,
        description(flip_inside=True, decoder_inside="quarter"),
    )
    assert parity.heatmaps < 1e-5 and parity.crops == 4
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "pose.onnx"
    ]  # one file, nothing left beside it
    runtime = OnnxRuntime(path)
    for part in (crops[:1], crops[1:]):  # the batch is open
        found = runtime.run(numbers(part, runtime.description))
        with torch.inference_mode():
            images = normalise(part)
            mirrored = flip_back(net(images.flip(3))[-1], MPII.flip_order, True)
            heatmaps = (net(images)[-1] + mirrored) / 2
        points, confidence = decode(heatmaps, "quarter")
        np.testing.assert_allclose(
            found["heatmaps"], heatmaps, atol=1e-5 * float(heatmaps.abs().max())
        )
        np.testing.assert_allclose(found["keypoints"], points * 4, atol=0.05)
        np.testing.assert_allclose(found["confidence"], confidence, atol=1e-5)
    weights = [
        w.const_value.tobytes()
        for w in ir.load(path).graph.initializers.values()
        if w.const_value.nbytes > 512
    ]
    assert len(set(weights)) == len(weights) > 10  # two passes share them


def test_images_for_each_thread_run_side_by_side(tmp_path: Path, crops: Tensor) -> None:
    path = tmp_path / "pose.onnx"
    export(Deployed(Small().eval(), MPII), path, crops, description())
    images = numbers(crops, description())
    one, two = OnnxRuntime(path, 1), OnnxRuntime(path, 2)
    np.testing.assert_allclose(
        two.run(images)["heatmaps"], one.run(images)["heatmaps"], rtol=1e-5, atol=1e-6
    )
    assert "single" in vars(two) and "single" not in vars(one)
    alone = OnnxRuntime(path, 2)
    alone.run(images[:1])
    assert "single" not in vars(alone)  # a second session only where it is of use


def test_each_rewrite_is_made_and_keeps_the_function(tmp_path: Path) -> None:
    net, x = network(), torch.randn(3, 3, *SIZE)
    with torch.inference_mode():
        wanted = net(x)[-1]
    plain = graph_of(Deployed(net, MPII), SIZE, ("heatmaps",), None)
    ir.save(plain, tmp_path / "plain.onnx")
    for name in (*CHANGES, "all"):
        model = ir.load(tmp_path / "plain.onnx")
        names = tuple(CHANGES) if name == "all" else (name,)
        made = rewrite(model, names)
        assert all(made.values()), made
        file = tmp_path / f"{name}.onnx"
        ir.save(model, file)
        onnx.checker.check_model(str(file), full_check=True)  # standard operators only
        found = open_session(file).run(None, {"images": x.numpy()})[0]
        assert np.abs(found - wanted.numpy()).max() <= 1e-5 * float(wanted.abs().max()), name
    counted = [node.op_type for node in ir.load(tmp_path / "all.onnx").graph]
    assert not {"Elu", "BatchNormalization"} & set(counted)
    assert counted.count("Conv") >= 25


class Oddities(nn.Module):
    """Forms that look like what is rewritten but are something else."""

    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 5, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)
        self.norm, self.elu = nn.BatchNorm2d(5), nn.ELU(alpha=0.5)
        self.wide = nn.Conv2d(3, 5, 1, stride=2)
        self.norm2 = nn.BatchNorm2d(5)
        nn.init.normal_(self.norm.running_mean)  # ty: ignore[invalid-argument-type]

    def forward(self, x: Tensor) -> list[Tensor]:
        inner = self.b(x)  # read twice: it must stay
        y = self.a(x) + self.c(inner)
        y = self.elu(self.norm(y)) + inner.mean(1, keepdim=True) + inner.amax((1, 2), keepdim=True)
        z = self.wide(x)
        y = (
            y * y.amax(1, keepdim=True) * torch.arange(6.0).view(1, 1, 1, 6)
        )  # a factor for each column
        return [y + self.norm2(z).repeat_interleave(2, 2).repeat_interleave(2, 3) + z.mean()]


def test_look_alikes_keep_their_function(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = Oddities().eval(), torch.randn(2, 3, 8, 6)
    model = graph_of(Deployed(net, LSP), (8, 6), ("heatmaps",), 2)
    made = rewrite(model)
    assert made["merge_pointwise"] == 0 and made["elu"] == 0 and made["gate"] == 0
    ir.save(model, tmp_path / "odd.onnx")
    found = open_session(tmp_path / "odd.onnx").run(None, {"images": x.numpy()})[0]
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(found), net(x)[-1], rtol=1e-5, atol=1e-5)


def test_a_wrong_export_is_refused_and_leaves_the_old_file(
    tmp_path: Path, crops: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pose.onnx"
    path.write_bytes(b"the file of last week")

    def wrong(model: ir.Model) -> dict[str, int]:
        made = rewrite(model)
        for value in model.graph.initializers.values():
            if value.name and value.name.startswith("offset"):
                value.const_value = ir.tensor(value.const_value.numpy() + np.float32(1e-2))  # ty: ignore
        return made

    monkeypatch.setattr(exporter, "rewrite", wrong)
    with pytest.raises(PoseError, match="is not written: its heatmaps differ"):
        export(Deployed(Small().eval(), MPII), path, crops, description())
    assert path.read_bytes() == b"the file of last week"
    assert [each.name for each in tmp_path.iterdir()] == ["pose.onnx"]


class Coarse(Small):
    """Rounds its heatmaps to steps of 2e-4: the last bit of a sum decides which step, in torch as in a file."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [(super().forward(images)[0] + 3000.0) - 3000.0]


def test_a_file_may_round_as_much_as_torch_does(tmp_path: Path, crops: Tensor) -> None:
    parity = export(Deployed(Coarse().eval(), MPII), tmp_path / "pose.onnx", crops, description())
    assert exporter.TOLERANCE < parity.heatmaps <= 2 * parity.torch


def test_a_keypoint_is_not_compared_where_the_last_bit_decides() -> None:
    maps = torch.zeros(1, 2, 16, 12, dtype=torch.float64)
    maps[0, :, 8, 6] = 1.0
    maps[0, 1, 3, 3] = 1.0 - 1e-7  # far away, and nearly as high
    deployed = Deployed(Small().eval(), MPII)
    points, _ = deployed.places(maps, "argmax")
    for noise, settled in ((1e-6, [[True, False]]), (1e-9, [[True, True]])):
        found = exporter.settled_joints(deployed, maps, "argmax", points, noise)
        assert found.tolist() == settled


def test_a_fixed_batch_above_the_number_of_crops_is_checked(tmp_path: Path, crops: Tensor) -> None:
    net = Deployed(Small().eval(), MPII)
    parity = export(net, tmp_path / "pose.onnx", crops, description(), batch=6)
    assert parity.crops == 6 and OnnxRuntime(tmp_path / "pose.onnx").batch == 6


def test_wrong_decoding_is_refused(
    tmp_path: Path, crops: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed = Deployed(Small().eval(), MPII, decoder="argmax")
    graph = graph_of(deployed, SIZE, deployed.all_names, None)
    deployed.decoder = "quarter"  # the graph now holds another decoder than it says
    monkeypatch.setattr(exporter, "graph_of", lambda *_, **__: graph)
    with pytest.raises(PoseError, match="is not written: a keypoint differs"):
        export(deployed, tmp_path / "pose.onnx", crops, description(decoder_inside="quarter"))
    assert not list(tmp_path.iterdir())


def test_nan_weights_are_refused(tmp_path: Path, crops: Tensor) -> None:
    net = Small().eval()
    nn.init.constant_(net.heatmaps.weight, float("nan"))
    with pytest.raises(PoseError, match="NaN"):
        export(Deployed(net, MPII), tmp_path / "pose.onnx", crops, description())


def test_the_file_describes_itself(tmp_path: Path, crops: Tensor) -> None:
    path = tmp_path / "pose.onnx"
    told = description(
        commit="c0ffee", version="1.2.3", protocol=Protocol(flip=True, decoder="dark")
    )
    export(Deployed(Small().eval(), MPII), path, crops, told, batch=2)
    runtime = OnnxRuntime(path)
    assert runtime.description == told and runtime.batch == 2
    assert KEY in {entry.key for entry in onnx.load(path).metadata_props}


@pytest.mark.parametrize("skeleton", [COCO, MPII, LSP], ids=lambda s: s.name)
def test_skeletons_survive_their_mapping(skeleton: object) -> None:
    assert skeleton_of(mapping_of(skeleton)) == skeleton  # ty: ignore[invalid-argument-type]


def test_openvino_file(tmp_path: Path, crops: Tensor) -> None:
    pytest.importorskip("openvino")
    from featherpose.export.openvino import export_openvino

    path = tmp_path / "pose.xml"
    parity = export_openvino(Deployed(Small().eval(), MPII), path, crops, description())
    assert parity.heatmaps < 1e-5
    assert sorted(each.name for each in tmp_path.iterdir()) == ["pose.bin", "pose.xml"]
    assert OpenVINO(path).description.skeleton == MPII


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(PoseError, match="There is no ONNX file"):
        OnnxRuntime(tmp_path / "none.onnx")
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"junk")
    with pytest.raises(PoseError, match="not an ONNX file that can be run"):
        OnnxRuntime(junk)
    node = onnx.helper.make_node("Identity", ["images"], ["heatmaps"])
    shape = [1, 3, 8, 8]
    values = [
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape)
        for n in ("images", "heatmaps")
    ]
    graph = onnx.helper.make_graph([node], "bare", values[:1], values[1:])
    bare = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10
    )
    onnx.save(bare, tmp_path / "bare.onnx")
    with pytest.raises(PoseError, match="without featherpose metadata"):
        FileBackend(tmp_path / "bare.onnx")
    onnx.helper.set_model_props(bare, {KEY: "{}"})
    onnx.save(bare, tmp_path / "damaged.onnx")
    with pytest.raises(PoseError, match=r"metadata of .* is damaged"):
        FileBackend(tmp_path / "damaged.onnx")
