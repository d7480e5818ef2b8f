"""ncnn's files give torch's heatmaps, or are not written."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.export import ncnn
from featherpose.export.ncnn import export_ncnn
from featherpose.export.onnx import Deployed
from featherpose.inference.backends import FileBackend
from featherpose.inference.estimator import Estimator
from featherpose.models.layers import ChannelMLP
from featherpose.pixels import normalise
from featherpose.skeletons import COCO, LSP

from ..inference.written_by_hand import Averages
from ..inference.written_by_hand import ncnn as by_hand
from .test_litert import SIZE, lapx, some_crops, told


class Listed(nn.Sequential):
    """Its heatmaps in a list, as the networks give them."""

    stride = 4

    def forward(self, images: Tensor) -> list[Tensor]:
        return [super().forward(images)]


@pytest.fixture
def converter() -> None:
    pytest.importorskip("ncnn")
    if importlib.util.find_spec("pnnx") is None:
        pytest.skip("no pnnx here: make test-formats has it")


def written_by_hand(monkeypatch: pytest.MonkeyPatch, network: Averages) -> None:
    """In the converter's place, which CI's first environment does without."""
    pytest.importorskip("ncnn")
    monkeypatch.setattr(ncnn, "converted", lambda *_: by_hand(network))


def test_what_torch_gives_is_written_with_its_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Averages(len(LSP))
    written_by_hand(monkeypatch, network)
    deployed = Deployed(network, LSP, flip=True, decoder="quarter")  # ty: ignore[invalid-argument-type]
    path = tmp_path / "pose.ncnn.param"
    parity = export_ncnn(deployed, path, some_crops(), told(flip_inside=True))
    assert parity.crops == 4 and parity.heatmaps < 1e-5 and parity.keypoints == 0
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == ["pose.ncnn.bin", "pose.ncnn.json", "pose.ncnn.param"]
    assert FileBackend(path).description == told(extra={"format": "ncnn"})


def test_a_graph_that_is_off_is_refused_and_the_old_files_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, other = Averages(len(LSP)), Averages(len(LSP))
    with torch.no_grad():
        other.mix.weight[3, 1] += 1e-3
    written_by_hand(monkeypatch, other)
    path = tmp_path / "pose.ncnn.param"
    path.write_bytes(b"old")
    with pytest.raises(PoseError, match=r"pose\.ncnn\.param is not written: its heatmaps differ"):
        export_ncnn(Deployed(network, LSP), path, some_crops(), told())  # ty: ignore[invalid-argument-type]
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_without_the_converter_the_sentence_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ncnn, "find_spec", lambda name: None)
    with pytest.raises(PoseError, match=r"needs pnnx: pip install 'featherpose\[formats\]'"):
        export_ncnn(Deployed(Averages(14), LSP), tmp_path / "a.param", some_crops(), told())  # ty: ignore[invalid-argument-type]


@pytest.mark.slow
def test_a_small_lapx_there_and_back(tmp_path: Path, converter: None) -> None:
    network, size = lapx(), (64, 64)
    path, crops = tmp_path / "lapx.ncnn.param", some_crops(size)
    parity = export_ncnn(Deployed(network, COCO), path, crops, told(COCO, size))
    assert parity.heatmaps < 1e-5 and parity.keypoints < 0.02
    numbers = sum(p.numel() for p in network.parameters())
    assert path.with_suffix(".bin").stat().st_size > 3 * numbers  # 32 bits each, not 16
    found, sure = Estimator(FileBackend(path))(crops.numpy())
    with torch.inference_mode():
        peaks = network(normalise(crops))[-1].flatten(2).amax(2)
    np.testing.assert_allclose(sure, peaks, atol=1e-5)
    assert found.shape == (4, 17, 2)


def refused(folder: Path, network: nn.Module, size: tuple[int, int] = (64, 64)) -> str:
    """Why it is not written; nothing else is left behind."""
    path = folder / "a.ncnn.param"
    with pytest.raises(PoseError) as error:
        export_ncnn(Deployed(network, COCO), path, some_crops(size), told(COCO, size))  # ty: ignore[invalid-argument-type]
    assert not list(folder.iterdir())
    return str(error.value)


@pytest.mark.slow
def test_what_pnnx_writes_and_does_not_load_is_refused(
    tmp_path: Path, converter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the change to GlobalMaxPool pnnx ends with 0 and writes a graph that ncnn does not take."""
    monkeypatch.setattr(ncnn, "rewrite", lambda model: model)
    assert "ncnn cannot run what pnnx made" in refused(tmp_path, lapx())


@pytest.mark.slow
@pytest.mark.parametrize("apart", [True, False])
def test_channel_attention_is_converted_in_its_form_for_export_alone(
    tmp_path: Path, converter: None, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    """As it trains it stacks over a new axis, which ends the process that runs ncnn's file, and not this one."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 32, 4, 4), ChannelMLP(32, apart=apart)).eval()
    listed = Listed(network, nn.Conv2d(32, len(COCO), 1)).eval()
    path = tmp_path / "b" / "b.ncnn.param"
    assert (
        export_ncnn(Deployed(listed, COCO), path, some_crops(), told(COCO)).heatmaps < 1e-5  # ty: ignore[invalid-argument-type]
    )
    monkeypatch.setattr(ChannelMLP, "for_export", None)
    (tmp_path / "a").mkdir()
    assert "ncnn cannot run what pnnx made" in refused(tmp_path / "a", listed, SIZE)
