"""What every network keeps to."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from featherpose.errors import PoseError
from featherpose.models.fast import FastHourglass
from featherpose.models.hourglass import Hourglass
from featherpose.models.network import (
    PoseNetwork,
    check_joints,
    lay_out,
    natural_height_of,
    output_names_of,
    shapes_alone,
)
from featherpose.models.peers.rtmpose import RTMPose
from featherpose.models.repose import RePose
from featherpose.models.simcc import VectorHourglass


def test_a_network_of_ones_own_may_leave_its_height_out() -> None:
    assert natural_height_of(nn.Identity()) == 256
    own = nn.Identity()
    own.natural_height = 96
    assert natural_height_of(own) == 96


def test_the_fast_hourglass_is_a_network_but_no_hourglass() -> None:
    fast = FastHourglass(4, 1, (16, 16))
    assert isinstance(fast, PoseNetwork)
    assert not isinstance(fast, Hourglass)


def test_heatmaps_and_skeleton_have_to_agree() -> None:
    network = FastHourglass(4, 1, (16, 16))
    check_joints(network, "hand", 4)
    with pytest.raises(PoseError, match="gives 4 heatmaps but the skeleton hand has 5 joints"):
        check_joints(network, "hand", 5)


def test_weights_are_laid_out_in_place() -> None:
    network = nn.Conv2d(8, 8, 3)
    lay_out(network, torch.channels_last)
    assert network.weight.is_contiguous(memory_format=torch.channels_last)


def test_shapes_alone_draw_nothing() -> None:
    before = torch.random.get_rng_state()
    with shapes_alone():
        network = FastHourglass(4, 1, (16, 16))
    assert torch.equal(before, torch.random.get_rng_state())
    whole = FastHourglass(4, 1, (16, 16)).state_dict()
    assert {name: value.shape for name, value in network.state_dict().items()} == {
        name: value.shape for name, value in whole.items()
    }
    assert all(value.is_meta for value in network.state_dict().values())


def test_outputs_are_called_what_they_are() -> None:
    assert output_names_of(nn.Identity(), 2) == ["stage 1", "stage 2"]
    assert output_names_of(FastHourglass(4, 1, (16, 16)), 1) == ["stage 1"]
    with torch.device("meta"):
        one, two = (RePose(14, stages=stages, update_blocks=1) for stages in (1, 2))
    names = ["before the updates", "after the updates", "refined 1", "refined 2", "final"]
    assert output_names_of(one, 5) == names
    assert output_names_of(two, 10)[4:6] == ["stage 1, final", "stage 2, before the updates"]


@pytest.mark.parametrize("network", ["rtmpose", "simcc"])
def test_a_network_that_fits_one_size_refuses_others(network: str) -> None:
    built: PoseNetwork
    if network == "rtmpose":
        built = RTMPose(3, widen=0.125, input_size=(64, 96))
    else:
        built = VectorHourglass(3, (64, 96), stages=1, channels=16)
    with pytest.raises(PoseError, match=r"built for 64x96, not 96x64.*set data\.input_size"):
        built(torch.zeros(1, 3, 96, 64))
