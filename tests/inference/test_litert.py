"""TFLite files give the same poses as the other kinds, in LiteRT and in OpenVINO."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from featherpose import Pose
from featherpose.errors import PoseError
from featherpose.inference import litert
from featherpose.inference.backends import FileBackend, OpenVINO, numbers
from featherpose.inference.description import Description
from featherpose.inference.litert import ChannelsFirst, LiteRT, add_note, note_in
from featherpose.protocol import Protocol
from featherpose.skeletons import LSP

from .written_by_hand import Averages, write

SIZE = (32, 24)
TOLD = Description(LSP, SIZE, 4, Protocol())


@pytest.fixture
def network() -> Averages:
    return Averages(len(LSP))


@pytest.fixture
def file(tmp_path: Path, network: Averages) -> Path:
    pytest.importorskip("ai_edge_litert")
    path = write(tmp_path / "a.tflite", network, SIZE)
    add_note(path, TOLD.to_json())
    return path


def some_crops(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, *SIZE), np.uint8)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_heatmaps_are_the_networks(file: Path, network: Averages, runtime: str) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    backend = FileBackend(file, runtime)
    assert isinstance(backend.runtime, ChannelsFirst)
    assert isinstance(backend.runtime.runtime, OpenVINO if runtime == "openvino" else LiteRT)
    (found,) = backend(some_crops())
    with torch.inference_mode():
        (wanted,) = network(torch.from_numpy(numbers(some_crops(), TOLD)))
    np.testing.assert_allclose(found.values, wanted, atol=1e-5)
    assert backend.description == TOLD and found.values.flags["C_CONTIGUOUS"]


def test_openvino_takes_over_where_litert_is_not_installed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    here = litert.find_spec
    monkeypatch.setattr(
        litert, "find_spec", lambda name: None if name == "ai_edge_litert" else here(name)
    )
    backend = FileBackend(file)
    assert isinstance(backend.runtime, ChannelsFirst)
    assert isinstance(backend.runtime.runtime, OpenVINO)


def test_without_either_the_sentence_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litert, "find_spec", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(PoseError, match=r"pip install 'featherpose\[litert\]'"):
        FileBackend(tmp_path / "a.tflite")


def test_pose_takes_a_file(file: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)
    (found,) = Pose(file)(picture, [[5, 5, 40, 60]])
    assert found.keypoints.shape == (len(LSP), 2)


def test_the_archive_behind_the_graph_is_a_zip(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["featherpose.json"]
    assert note_in(file) == TOLD.to_json()


def test_a_file_without_an_account_of_itself(tmp_path: Path, network: Averages) -> None:
    pytest.importorskip("ai_edge_litert")
    path = write(tmp_path / "a.tflite", network, SIZE)
    with pytest.raises(PoseError, match="without featherpose metadata"):
        FileBackend(path)
    assert FileBackend(path, skeleton=LSP).description.input_size == SIZE


@pytest.mark.parametrize("content", [b"", b"TFL3" * 99, b"x" * 5000])
def test_a_file_that_is_something_else(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("ai_edge_litert")
    path = tmp_path / "a.tflite"
    path.write_bytes(content)
    with pytest.raises(PoseError, match="is not a file that LiteRT can run: "):
        FileBackend(path)
    with pytest.raises(PoseError, match="There is no file"):
        FileBackend(tmp_path / "b.tflite")


def test_a_broken_account_is_told(tmp_path: Path, network: Averages) -> None:
    pytest.importorskip("ai_edge_litert")
    path = write(tmp_path / "a.tflite", network, SIZE)
    add_note(path, '{"skeleton": 3}')
    with pytest.raises(PoseError, match=r"metadata of .* is damaged"):
        FileBackend(path)
