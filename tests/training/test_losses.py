"""The papers' losses against examples worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from featherpose.errors import PoseError
from featherpose.targets import build
from featherpose.training.losses import HeatmapLoss, inside, lapx, le_hrnet, repose


@pytest.fixture
def maps() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One person, three joints, 2 x 2: joint 0 is off by 1 everywhere, joint 1 by 2 at one place, joint 2 masked."""
    output, target = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    output[0, 0] = 1.0
    output[0, 1, 0, 1] = 2.0
    output[0, 2] = 9.0
    return output, target, torch.tensor([[1.0, 1.0, 0.0]])


def test_lapx_is_half_the_sum_of_squares_over_all_joints(maps) -> None:
    # joint 0: 4 pixels of 1 = 4; joint 1: 4; joint 2 masked; 1 / (2 * 3) * 8
    assert lapx(*maps).item() == pytest.approx(8 / 6)


def test_le_hrnet_is_the_mean_over_joints_and_pixels(maps) -> None:
    assert le_hrnet(*maps).item() == pytest.approx(8 / 12)


def test_repose_averages_over_annotated_joints_only(maps) -> None:
    # per pixel: joint 0: 1, joint 1: 4 / 4 = 1; two annotated joints
    assert repose(*maps).item() == pytest.approx((1 + 1) / 2)


def test_repose_weighs_each_person_alike() -> None:
    output, target = torch.zeros(2, 2, 1, 1), torch.zeros(2, 2, 1, 1)
    output[0, 0], output[1, 0], output[1, 1] = 1.0, 2.0, 4.0
    weight = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert repose(output, target, weight).item() == pytest.approx((1 / 1 + (4 + 16) / 2) / 2)


def test_a_person_without_any_annotated_joint_costs_nothing_and_gives_no_nan() -> None:
    output = torch.ones(1, 2, 4, 4, requires_grad=True)
    for single in (lapx, le_hrnet, repose):
        loss = single(output, torch.zeros(1, 2, 4, 4), torch.zeros(1, 2))
        loss.backward()
        assert loss.item() == 0
    assert torch.isfinite(output.grad).all()


@pytest.mark.parametrize(
    ("reduction", "expected"), [("lapx", 2.0), ("le_hrnet", 2.0), ("repose", 6.0)]
)
def test_stages_are_averaged_or_summed_as_the_paper_says(reduction: str, expected: float) -> None:
    assert HeatmapLoss(reduction).combine(torch.tensor([1.0, 2.0, 3.0])).item() == pytest.approx(
        expected
    )


def test_stage_weights() -> None:
    each = torch.tensor([1.0, 2.0, 3.0])
    assert HeatmapLoss("lapx", stage_weights=[0, 1, 3]).combine(each).item() == pytest.approx(
        11 / 4
    )
    assert HeatmapLoss("repose", stage_weights=[0, 1, 3]).combine(each).item() == pytest.approx(11)
    with pytest.raises(PoseError, match="2 numbers for 3 outputs"):
        HeatmapLoss("lapx", stage_weights=[1, 2]).combine(each)


@pytest.mark.parametrize("reduction", ["lapx", "le_hrnet", "repose"])
def test_the_target_itself_has_no_loss(reduction: str) -> None:
    from featherpose.heatmaps import encode

    joints, visible = torch.tensor([[[40.0, 24.0], [9.0, 50.0]]]), torch.ones(1, 2)
    target, _ = encode(joints / 4, visible, (16, 16), 2.0)
    total, each = HeatmapLoss(reduction)([target, target], joints, visible, stride=4)
    assert total.item() == 0
    assert each.shape == (2,)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"reduction": "mse"}, r"no loss\.reduction=mse; known: lapx, le_hrnet, repose"),
        ({"sigma": 0}, r"loss\.sigma is 0; it has to be a number above 0"),
        ({"sigma": "wide"}, r"loss\.sigma is wide"),
        ({"truncate": -1}, r"loss\.truncate is -1"),
        ({"quantised": 3}, r"loss\.quantised is 3; it has to be true or false"),
        ({"stage_weights": 1}, r"loss\.stage_weights is 1; it has to be a list of numbers"),
        ({"stage_weights": [1, -1]}, r"loss\.stage_weights\[1\] is -1"),
        ({"stage_weights": [0, 0]}, "nothing would be learned"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence(wrong: dict, sentence: str) -> None:
    with pytest.raises(PoseError, match=sentence):
        HeatmapLoss(**wrong)


def test_inside_means_on_a_pixel() -> None:
    points = torch.tensor([[-0.5, 0], [-0.51, 0], [63.49, 10], [63.5, 10], [5, 127.4], [5, 127.6]])
    assert inside(points, (64, 128)).tolist() == [True, False, True, False, True, False]


@pytest.mark.parametrize(
    ("paper", "counted"),
    [
        ("lapx", [True, False, False, False]),  # masked outside the crop
        ("le_hrnet", [True, True, False, False]),  # HRNet's: the Gaussian still touches the heatmap
        ("repose", [True, True, True, False]),  # all that are annotated
    ],
)
def test_joints_outside_the_crop_count_as_in_the_paper_s_code(
    paper: str, counted: list[bool], root: Path
) -> None:
    loss = build(yaml.safe_load((root / "conf" / "loss" / f"{paper}.yaml").read_text()))
    # in the crop of 64 x 64, two heatmap pixels outside, far outside, and not annotated
    joints = torch.tensor([[[30.0, 30.0], [-8.0, 30.0], [-900.0, 30.0], [0.0, 0.0]]])
    visible = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    output = torch.zeros(1, 4, 16, 16, requires_grad=True)
    total, _ = loss([output + 0.5], joints, visible, 4)
    total.backward()
    assert (output.grad[0].abs().amax(dim=(1, 2)) > 0).tolist() == counted
