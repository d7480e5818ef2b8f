"""PP-TinyPose's file gives our wider naive Lite-HRNet the same heatmaps that OpenVINO computes with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featherpose.errors import PoseError
from featherpose.inference.backends import openvino_core
from featherpose.models.peers.lite_hrnet import LiteHRNet, NaiveLiteHRNet
from featherpose.zoo.weight_files import load_weights, read_weights

from .test_openvino_weights import small, write_tinypose


def narrow(joints: int = 5, seed: int = 0) -> NaiveLiteHRNet:
    """Small numbers that half precision holds exactly, so that the way there and back changes nothing."""
    torch.manual_seed(seed)
    network = NaiveLiteHRNet(joints, channels=4, modules=(1, 1, 1)).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.ndim > 1 or name.endswith("bias"):
                value.copy_(torch.randint_like(value, -8, 9) / 32)
            elif name.endswith("running_var"):
                value.fill_(1 - 1e-5)
    return network


def test_every_number_comes_to_its_place(tmp_path):
    written, network = narrow(), narrow(seed=1)
    path = write_tinypose(written, tmp_path / "tiny.xml")
    load_weights(network, path)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[0], written(x)[0], rtol=1e-4, atol=1e-5)
    weights = read_weights(path, network)
    assert weights.folded and weights.skeleton.name == "coco"


def test_a_file_or_network_of_another_kind_is_refused_in_one_sentence(tmp_path):
    path = write_tinypose(narrow(), tmp_path / "tiny.xml")
    with pytest.raises(PoseError, match="model=wider_naive_lite_hrnet_18, not LiteHRNet"):
        load_weights(LiteHRNet(5), path)
    with pytest.raises(PoseError, match="5 joints, 8 channels"):
        load_weights(NaiveLiteHRNet(5, channels=8, modules=(1, 1, 1)), path)
    with pytest.raises(PoseError, match="is not PP-TinyPose"):
        load_weights(NaiveLiteHRNet(5, channels=4, modules=(1, 2, 1)), path)
    with pytest.raises(PoseError, match="is not PP-TinyPose"):
        load_weights(narrow(), small(tmp_path))


def test_heatmaps_are_openvinos(real_data):
    pytest.importorskip("openvino")
    path = real_data / "teachers" / "tinypose256.xml"
    if not path.is_file():
        pytest.skip("no teachers/tinypose256.xml beside the real data")
    network = NaiveLiteHRNet(17).eval()
    load_weights(network, path)
    images = torch.randn(1, 3, 256, 192, generator=torch.Generator().manual_seed(0))
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino_core().compile_model(path, "CPU", options)
    theirs = next(each for each in compiled({0: images.numpy()}).values() if each.ndim == 4)
    with torch.no_grad():
        ours = network(images)[0].numpy()
    assert np.abs(ours - theirs).max() < 1e-5  # 1.5e-7 was found
