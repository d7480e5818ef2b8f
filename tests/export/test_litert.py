"""A TFLite file gives torch's heatmaps, or is not written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from featherpose.errors import PoseError
from featherpose.export import elementary, litert
from featherpose.export.elementary import Elementary
from featherpose.export.litert import export_litert
from featherpose.export.onnx import Deployed
from featherpose.inference.backends import FileBackend
from featherpose.inference.description import Description
from featherpose.inference.estimator import Estimator
from featherpose.models.hourglass import Hourglass
from featherpose.pixels import normalise
from featherpose.protocol import Protocol
from featherpose.skeletons import COCO, LSP, MPII

from ..inference.written_by_hand import Averages, tflite

SIZE = (32, 24)


@pytest.fixture
def converter() -> None:
    if importlib.util.find_spec("litert_torch") is None:
        pytest.skip("no litert-torch here: make test-formats has it")


def some_crops(size: tuple[int, int] = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (4, 3, *size), dtype=torch.uint8, generator=generator)


def told(skeleton: object = LSP, size: tuple[int, int] = SIZE, **changes: object) -> Description:
    return Description(skeleton, size, 4, Protocol(), **changes)  # ty: ignore[invalid-argument-type]


def written_by_hand(monkeypatch: pytest.MonkeyPatch, network: Averages) -> None:
    """In the converter's place, which CI does without, a graph of this network."""
    pytest.importorskip("ai_edge_litert")
    monkeypatch.setattr(litert, "converted", lambda module, size: tflite(network, size))


def test_what_torch_gives_is_written_with_its_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Averages(len(LSP))
    written_by_hand(monkeypatch, network)
    deployed = Deployed(network, LSP, flip=True, decoder="quarter")  # ty: ignore[invalid-argument-type]
    path = tmp_path / "pose.tflite"
    parity = export_litert(
        deployed, path, some_crops(), told(flip_inside=True, decoder_inside="quarter")
    )
    assert parity.crops == 4 and parity.heatmaps < 1e-5 and parity.keypoints == 0
    assert [each.name for each in tmp_path.iterdir()] == ["pose.tflite"]
    found = FileBackend(path).description
    # the network alone: whoever runs the file flips and decodes
    assert found == told(extra={"format": "tflite"})
    assert not found.flip_inside and found.decoder_inside is None
    assert deployed.flip and deployed.decoder == "quarter"  # as they were


@pytest.mark.parametrize("by", [1e-3, float("nan")])
def test_a_graph_that_is_off_is_refused_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: float
) -> None:
    network, other = Averages(len(LSP)), Averages(len(LSP))
    with torch.no_grad():
        other.mix.weight[3, 1] += by
    written_by_hand(monkeypatch, other)
    path = tmp_path / "pose.tflite"
    path.write_bytes(b"old")
    with pytest.raises(PoseError, match=r"pose\.tflite is not written: its heatmaps differ"):
        export_litert(Deployed(network, LSP), path, some_crops(), told())  # ty: ignore[invalid-argument-type]
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_a_graph_of_another_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_by_hand(monkeypatch, Averages(len(MPII)))
    with pytest.raises(
        PoseError, match=r"its heatmaps are \(4, 16, 8, 6\), torch's \(4, 14, 8, 6\)"
    ):
        export_litert(
            Deployed(Averages(len(LSP)), LSP), tmp_path / "a.tflite", some_crops(), told()
        )  # ty: ignore[invalid-argument-type]
    assert not list(tmp_path.iterdir())


def test_without_the_converter_the_sentence_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litert, "find_spec", lambda name: None)
    with pytest.raises(
        PoseError, match=r"needs litert-torch: pip install 'featherpose\[formats\]'"
    ):
        export_litert(Deployed(Averages(14), LSP), tmp_path / "a.tflite", some_crops(), told())  # ty: ignore[invalid-argument-type]


def test_elu_in_elementary_operations_is_elu() -> None:
    x = torch.linspace(-30, 30, 100_001, dtype=torch.float64)
    found = Elementary(nn.ELU())(x)
    in_place = Elementary(nn.ELU(inplace=True))(x.clone())
    other = Elementary(nn.ELU(0.5))(x)
    assert float((found - F.elu(x)).abs().max()) < 1e-15
    assert torch.equal(in_place, found) and torch.equal(other, F.elu(x, 0.5))
    assert not torch.equal(found, F.elu(x))  # it was another formula


def lapx() -> Hourglass:
    """LAPX but for its size."""
    torch.manual_seed(0)
    network = Hourglass(
        17,
        stages=2,
        channels=20,
        depth=1,
        soft_gate=True,
        neck="eca_nonlocal_at_ends",
        stem_attention="eca_cbam",
        stage_attention="cbam",
    )
    for name, parameter in network.named_parameters():
        if name.endswith(("alpha", "gamma")):
            nn.init.normal_(parameter, 0.4, 0.1)
    return network.eval()


@pytest.mark.slow
def test_a_small_lapx_there_and_back(tmp_path: Path, converter: None) -> None:
    network, size = lapx(), (64, 64)
    path, crops = tmp_path / "lapx.tflite", some_crops(size)
    parity = export_litert(Deployed(network, COCO), path, crops, told(COCO, size))
    assert parity.heatmaps < 1e-5 and parity.keypoints < 0.02
    found, sure = Estimator(FileBackend(path))(crops.numpy())
    with torch.inference_mode():
        peaks = network(normalise(crops))[-1].flatten(2).amax(2)
    np.testing.assert_allclose(sure, peaks, atol=1e-5)
    assert found.shape == (4, 17, 2) and FileBackend(path).description.skeleton == COCO


class OneElu(nn.Module):
    stride = 4

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.heatmaps = nn.Conv2d(3, len(LSP), 4, 4)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [F.elu(self.heatmaps(images))]


@pytest.mark.slow
@pytest.mark.parametrize("slip", [False, True])
def test_the_converter_cannot_slip_another_function_in(
    tmp_path: Path, converter: None, monkeypatch: pytest.MonkeyPatch, slip: bool
) -> None:
    deployed, path = Deployed(OneElu().eval(), LSP), tmp_path / "a.tflite"  # ty: ignore[invalid-argument-type]
    if not slip:
        assert export_litert(deployed, path, some_crops(), told()).heatmaps < 1e-5
        return
    monkeypatch.setattr(elementary, "elu", lambda x, *_, **__: x.clamp(min=-1))
    with pytest.raises(PoseError, match="not written: its heatmaps differ"):
        export_litert(deployed, path, some_crops(), told())
    assert not list(tmp_path.iterdir())
