"""ncnn's files give the same poses as the other kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from featherpose import Pose
from featherpose.errors import PoseError
from featherpose.inference.backends import FileBackend, numbers
from featherpose.inference.description import Description
from featherpose.inference.ncnn import Ncnn
from featherpose.protocol import Protocol
from featherpose.skeletons import LSP

from .written_by_hand import Averages, write_ncnn

SIZE = (32, 24)
TOLD = Description(LSP, SIZE, 4, Protocol())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pytest.importorskip("ncnn")
    return write_ncnn(tmp_path / "a.ncnn.param", Averages(len(LSP)), TOLD)


def test_heatmaps_are_the_networks(file: Path) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 3, *SIZE), np.uint8)
    backend = FileBackend(file)
    (found,) = backend(crops)
    with torch.inference_mode():
        (wanted,) = Averages(len(LSP))(torch.from_numpy(numbers(crops, TOLD)))
    np.testing.assert_allclose(found.values, wanted, atol=1e-5)
    assert isinstance(backend.runtime, Ncnn) and backend.description == TOLD


def test_pose_takes_a_file(file: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)
    (found,) = Pose(file)(picture, [[5, 5, 40, 60]])
    assert found.keypoints.shape == (len(LSP), 2)


def test_a_file_that_is_missing_or_something_else(file: Path) -> None:
    numbers_of = file.with_suffix(".bin")
    whole = numbers_of.read_bytes()
    numbers_of.write_bytes(whole[:20])
    with pytest.raises(PoseError, match="is not a file that ncnn can run"):
        FileBackend(file)
    numbers_of.unlink()
    with pytest.raises(PoseError, match=r"no file .*a\.ncnn\.bin; ncnn needs both"):
        FileBackend(file)
    numbers_of.write_bytes(whole)
    file.write_text("something else")
    with pytest.raises(PoseError, match="is not a file that ncnn can run"):
        FileBackend(file)
    file.with_suffix(".json").unlink()
    with pytest.raises(PoseError, match=r"has no a\.ncnn\.json beside it"):
        FileBackend(file)


def test_without_ncnn_the_sentence_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ncnn", None)
    with pytest.raises(PoseError, match=r"pip install 'featherpose\[ncnn\]'"):
        FileBackend(tmp_path / "a.ncnn.param")
