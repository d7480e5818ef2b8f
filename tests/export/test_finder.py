"""The finder's file: pictures of any size, rows as torch gives them, or no file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from featherpose.errors import PoseError
from featherpose.export import finder
from featherpose.inference.detector import Detector
from featherpose.models.peers.yolox import YOLOXNano


def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (3, *size), np.uint8) for size in ((64, 64), (32, 128))]


def network() -> YOLOXNano:
    torch.manual_seed(0)
    return YOLOXNano().eval()


@pytest.fixture(scope="module")
def traced() -> dict[str, bytes]:
    return {}


@pytest.fixture(autouse=True)
def traced_once(traced: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file here is of one network, whose tracing takes most of its time."""

    def graph_of(*words: Any, **keys: Any) -> ir.Model:
        if not traced:
            traced["graph"] = ir.to_proto(real(*words, **keys)).SerializeToString()
        return ir.from_proto(onnx.load_from_string(traced["graph"]))

    real = finder.graph_of
    monkeypatch.setattr(finder, "graph_of", graph_of)


def test_it_takes_pictures_of_any_form(tmp_path: Path) -> None:
    path = tmp_path / "finder.onnx"
    assert finder.write(network(), path, 64 * 64, pictures()) < finder.TOLERANCE_HALF
    assert path.stat().st_size < 2e6
    detector = Detector(path, threads=1)
    assert (detector.kind, detector.area) == ("yolox", 64 * 64)
    assert detector.prepare(np.zeros((100, 400, 3), np.uint8))[0].shape == (1, 3, 32, 128)
    detector(np.zeros((100, 400, 3), np.uint8))


def test_a_file_that_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder, "TOLERANCE_HALF", 1e-12)
    with pytest.raises(PoseError, match="is not written"):
        finder.write(network(), tmp_path / "finder.onnx", 64 * 64, pictures())
    assert not list(tmp_path.iterdir())
