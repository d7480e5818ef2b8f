"""YOLOX-nano's numbers out of its file, and out of the one that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from featherpose.inference.backends import open_session, run
from featherpose.models.peers.yolox import YOLOXNano
from featherpose.zoo.shipped import FINDER
from featherpose.zoo.yolox import read_yolox, spread


def rows_of(network: YOLOXNano, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        rows = torch.cat([each.flatten(2) for each in network(images)], dim=2).transpose(1, 2)
    rows[..., 4:] = rows[..., 4:].sigmoid()
    return rows.numpy()


def read(path: Path) -> YOLOXNano:
    network = YOLOXNano().eval()
    network.load_state_dict(read_yolox(path, network))
    return network


def test_four_quarters_are_one_convolution() -> None:
    images, weight = torch.randn(2, 3, 12, 16), torch.randn(5, 12, 3, 3)
    quarters = torch.cat([images[..., y::2, x::2] for x in (0, 1) for y in (0, 1)], dim=1)
    ours = F.conv2d(images, spread(weight), stride=2, padding=2)
    torch.testing.assert_close(ours, F.conv2d(quarters, weight, padding=1), atol=1e-5, rtol=1e-5)


def test_the_file_that_ships_is_this_network() -> None:
    images = torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(0)) * 255
    given = run(open_session(FINDER, threads=1), images.numpy())["rows"]
    wanted = rows_of(read(FINDER), images)
    assert given.shape == (1, 12 * 8 + 6 * 4 + 3 * 2, 6)
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-4)


def test_the_published_numbers_are_this_network_for_people(real_data: Path) -> None:
    path = real_data / "detectors" / "yolox_nano.onnx"
    if not path.is_file():
        pytest.skip("no detectors/yolox_nano.onnx")
    images = torch.rand(1, 3, 416, 416, generator=torch.Generator().manual_seed(0)) * 255
    given = run(open_session(path, threads=1), images.numpy())["output"][..., :6]
    wanted = rows_of(read(path), images)
    assert np.abs(given - wanted).max() < 1e-5 * np.abs(given).max()
