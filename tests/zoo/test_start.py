"""A network starts from other weights: what fits is taken, heads go by joint names, and all of it is said."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from featherpose.errors import PoseError
from featherpose.models.hourglass import Hourglass
from featherpose.models.peers.lite_hrnet import NaiveLiteHRNet
from featherpose.skeletons import COCO, MPII, Skeleton, skeleton_of
from featherpose.zoo.start import Start, start_from

from .test_openvino_weights import write_tinypose

hourglass = partial(Hourglass, stages=2, channels=16, depth=2, neck="eca_nonlocal_at_ends")


def saved(path: Path, network: nn.Module, skeleton: Skeleton | None = None) -> Path:
    """A bare state dict, or a checkpoint that says its joints."""
    state = network.state_dict()
    if skeleton is None:
        torch.save(state, path)
    else:
        said = {"name": skeleton.name, "joints": list(skeleton.joints)}
        torch.save(
            {
                "state_dict": {f"network.{name}": value for name, value in state.items()},
                "hyper_parameters": {"config": {"data": {"skeleton": said}}},
            },
            path,
        )
    return path


def begin(path: Path, network: nn.Module, skeleton: Skeleton, strict: bool = False) -> Start:
    return start_from(path, network, skeleton, hourglass, strict=strict)


def test_all_of_a_file_that_fits_is_taken(tmp_path):
    torch.manual_seed(0)
    theirs, ours = hourglass(16), hourglass(16)
    with torch.no_grad():
        theirs.stages[0].hourglass.inner.inner[1][1].gamma.fill_(0.3)
    start = begin(saved(tmp_path / "w.pth", theirs), ours, MPII, strict=True)
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
    assert len(start.taken) == len(ours.state_dict())
    assert not (start.mapped or start.new or start.left)
    assert len(start.sha256) == 64


def test_heads_go_by_joint_names(tmp_path):
    torch.manual_seed(0)
    theirs, ours = hourglass(17), hourglass(16)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    start = begin(saved(tmp_path / "w.pth", theirs), ours, MPII)
    knee, there = MPII.index("left_knee"), COCO.index("left_knee")
    pelvis = MPII.index("pelvis")
    for stage in range(2):
        found, given = ours.stages[stage].heatmaps, theirs.stages[stage].heatmaps
        assert torch.equal(found.weight[knee], given.weight[there])
        assert torch.equal(found.bias[knee], given.bias[there])
        old = before[f"stages.{stage}.heatmaps.weight"]
        assert torch.equal(found.weight[pelvis], old[pelvis])
    # What takes heatmaps in has its joints on the other axis
    assert torch.equal(
        ours.returns[0].heatmaps.weight[:, knee], theirs.returns[0].heatmaps.weight[:, there]
    )
    assert torch.equal(ours.stem.conv[0].weight, theirs.stem.conv[0].weight)
    assert set(start.mapped) == {
        "stages.0.heatmaps.weight",
        "stages.0.heatmaps.bias",
        "stages.1.heatmaps.weight",
        "stages.1.heatmaps.bias",
        "returns.0.heatmaps.weight",
    }
    assert start.fresh_joints == ("pelvis", "thorax", "upper_neck", "head_top")
    assert "left_knee" in start.joints and not start.new and not start.left


def test_as_many_joints_in_another_order_are_mapped_too(tmp_path):
    theirs, ours = hourglass(17), hourglass(17)
    turned = skeleton_of({"name": "turned", "joints": COCO.joints[::-1]})
    start = begin(saved(tmp_path / "w.ckpt", theirs, COCO), ours, turned)
    assert torch.equal(ours.stages[1].heatmaps.weight, theirs.stages[1].heatmaps.weight.flip(0))
    assert start.joints == turned.joints and not start.fresh_joints


def test_what_is_new_and_what_is_left_is_said_and_strict_refuses_it(tmp_path):
    path = saved(tmp_path / "w.pth", hourglass(16))
    ours = Hourglass(16, stages=3, channels=16, depth=2, neck="eca")
    start = begin(path, ours, MPII)
    assert any(name.startswith("stages.2.") for name in start.new)
    assert any("gamma" in name for name in start.left)
    assert {"taken", "starts anew", "left over"} <= set(start.rows())
    with pytest.raises(PoseError, match=r"init_strict=true asks for(.|\n)*starts anew"):
        begin(path, ours, MPII, strict=True)
    with pytest.raises(PoseError, match="init_strict"):
        begin(saved(tmp_path / "coco.pth", hourglass(17)), hourglass(16), MPII, strict=True)


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save({"layer.weight": torch.ones(3)}, tmp_path / "w.pth")
    with pytest.raises(PoseError, match=r"Nothing in .*w\.pth fits this Hourglass"):
        begin(tmp_path / "w.pth", hourglass(16), MPII)
    with pytest.raises(PoseError, match="There is no weights file"):
        begin(tmp_path / "none.pth", hourglass(16), MPII)


def test_folded_norms_need_a_network_that_keeps_them(tmp_path):
    build = partial(NaiveLiteHRNet, channels=4, modules=(1, 1, 1))
    path = write_tinypose(build(17), tmp_path / "tiny.xml")
    with pytest.raises(PoseError, match=r"model\.norms=fixed"):
        start_from(path, build(17), COCO, build)
    fixed = partial(build, norms="fixed")
    start = start_from(path, fixed(16), MPII, fixed)
    assert start.mapped == ("heatmaps.weight", "heatmaps.bias")
    assert "right_wrist" in start.joints
