"""Files in other projects' names: the outputs are those of the projects' own code for the same numbers.

`published.npz` keeps, for each network, the names and shapes of the state dict that its source builds, and what the
source gave for `numbers` under these names and one random image. HRNet and SimpleBaseline are
leoxiaobin/deep-high-resolution-net.pytorch, the hourglass (two stages) bearpaw/pytorch-pose, Lite-HRNet-18 and the
wider naive one HRNet/Lite-HRNet, HF-HRNet-18 zhanghao5201/HF-HRNet (`hfhrnet_288` its form for 384x288, at 64x96),
HRFormer-S HRNet/HRFormer, RTMPose-t and MobileNetV2 mmpose,
LPN-50 zhang943/lpn-pytorch.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.models.hrnet import HRNet
from featherpose.models.peers.hf_hrnet import HFHRNet
from featherpose.models.peers.hrformer import HRFormer
from featherpose.models.peers.lite_hrnet import LiteHRNet, NaiveLiteHRNet
from featherpose.models.peers.lpn import LPN
from featherpose.models.peers.rtmpose import RTMPose
from featherpose.models.peers.simple_baseline import SimpleBaseline
from featherpose.models.peers.stacked_hourglass import StackedHourglass
from featherpose.zoo.names import to_ours
from featherpose.zoo.weight_files import load_weights

STORED = np.load(Path(__file__).with_name("published.npz"))
NETWORKS = {
    "hrnet": lambda: HRNet(17),
    "resnet": lambda: SimpleBaseline(17),
    "mobilenet": lambda: SimpleBaseline(17, "mobilenet_v2"),
    "hg": lambda: StackedHourglass(16, stages=2, early="wide"),
    "litehrnet": lambda: LiteHRNet(17, fusion="doubled"),
    "naive": lambda: NaiveLiteHRNet(17),
    "hfhrnet": lambda: HFHRNet(17, fusion="doubled"),
    "hfhrnet_288": lambda: HFHRNet(17, fusion="doubled", coarsest="whole"),
    "rtm": lambda: RTMPose(17, output="vectors"),
    "hrformer": lambda: HRFormer(17, 32, (1, 4, 2)),
    "lpn": lambda: LPN(17),
}


def numbers(name: str, shape: tuple[int, ...]) -> Tensor:
    """Numbers that follow from the name alone, of a size that keeps features within bounds."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    values = values.astype(np.float32)
    if name.endswith("running_var"):
        values = 1 + 0.1 * np.abs(values)
    elif len(shape) > 1:
        values = values / np.float32(np.sqrt(np.prod(shape[1:])))
    else:
        values = 0.1 * values + (1 if name.endswith("weight") else 0)
    return torch.from_numpy(values)


def state_of(kind: str) -> dict[str, Tensor]:
    state = {}
    for line in str(STORED[f"{kind}_entries"]).splitlines():
        name, _, sides = line.partition(" ")
        shape = tuple(int(side) for side in sides.split(",")) if sides else ()
        counts = name.endswith(("num_batches_tracked", "relative_position_index"))
        state[name] = torch.zeros(shape, dtype=torch.long) if counts else numbers(name, shape)
    return state


def output(network: nn.Module, kind: str) -> np.ndarray:
    size = {"rtm": (256, 192), "hfhrnet_288": (64, 96)}.get(kind, (64, 64))
    images = np.random.default_rng(0).standard_normal((1, 3, *size)).astype(np.float32)
    with torch.no_grad():
        return network.eval()(torch.from_numpy(images))[-1].numpy()


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_published_file_gives_what_its_own_code_gave(kind: str, tmp_path: Path) -> None:
    network, file = NETWORKS[kind](), tmp_path / "published.pth"
    torch.save({"state_dict": state_of(kind)}, file)
    load_weights(network, file)
    expected = STORED[f"{kind}_output"]
    np.testing.assert_allclose(output(network, kind), expected, atol=1e-5 * np.abs(expected).max())


def test_what_is_missing_is_said_in_our_names(tmp_path: Path) -> None:
    state = state_of("resnet")
    del state["layer3.2.conv2.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(PoseError, match=r"1 missing:\n  backbone\.11\.body\.1\.0\.weight"):
        load_weights(SimpleBaseline(17), tmp_path / "cut.pth")


def test_a_classifier_of_torchvision_fills_the_trunk() -> None:
    """Names as torchvision's mobilenet_v2 has them."""
    network = SimpleBaseline(17, "mobilenet_v2")
    theirs = {
        "features.0.0.weight": torch.ones(32, 3, 3, 3),
        "features.1.conv.0.0.weight": torch.full((32, 1, 3, 3), 2.0),
        "features.1.conv.1.weight": torch.full((16, 32, 1, 1), 3.0),
        "features.1.conv.2.bias": torch.full((16,), 4.0),
        "features.2.conv.0.0.weight": torch.full((96, 16, 1, 1), 5.0),
        "features.2.conv.1.0.weight": torch.full((96, 1, 3, 3), 6.0),
        "features.2.conv.2.weight": torch.full((24, 96, 1, 1), 7.0),
        "features.18.1.bias": torch.full((1280,), 8.0),
        "classifier.1.weight": torch.zeros(1000, 1280),
    }
    ours = to_ours(network, theirs)
    places = ("0.0.weight", "1.body.0.0.weight", "1.body.1.0.weight", "1.body.1.1.bias")
    places += ("2.body.0.0.weight", "2.body.1.0.weight", "2.body.2.0.weight", "18.1.bias")
    for number, place in enumerate(places, start=1):
        assert (ours[f"backbone.{place}"] == number).all()
    assert "classifier.1.weight" in ours  # nobody's: left over


def test_names_of_our_own_stay() -> None:
    state = HRNet(17).state_dict()
    assert to_ours(HRNet(17), state).keys() == state.keys()
