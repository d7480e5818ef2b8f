"""RTMPose's loss against its formula; and a network that gives two vectors a joint, from training to its score."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featherpose import vectors
from featherpose.errors import PoseError
from featherpose.skeletons import COCO
from featherpose.training.losses import HeatmapLoss
from featherpose.training.simcc import SimCCLoss

from .test_resume_points import EACH_STEP, Kill, Killed


def by_hand(x: np.ndarray, y: np.ndarray, joints: np.ndarray, visible: np.ndarray) -> float:
    """mmpose's SimCCLabel of sigma 4.9 and 5.66 and KLDiscretLoss of beta 10, a joint at a time, over all bins."""
    total = 0.0
    for person in range(len(joints)):
        for joint in range(joints.shape[1]):
            for output, axis, sigma in ((x, 0, np.sqrt(192 / 8)), (y, 1, np.sqrt(256 / 8))):
                bins = np.arange(output.shape[2])
                mu = np.around(joints[person, joint, axis] * 2)
                target = 10 * np.exp(-((bins - mu) ** 2) / (2 * sigma**2))
                wanted = np.exp(target) / np.exp(target).sum()
                given = 10 * output[person, joint]
                log = given - np.log(np.exp(given).sum())
                divergence = (wanted * (np.log(wanted) - log)).mean()
                total += divergence * visible[person, joint]
    return total / joints.shape[1]


def test_the_loss_is_rtmposes() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 17, 384)), rng.random((2, 17, 512))
    joints = rng.random((2, 17, 2)) * [192, 256]
    visible = (rng.random((2, 17)) < 0.7).astype(float)
    given = [torch.from_numpy(each).float() for each in (x, y)]
    total, each = SimCCLoss()(
        given, torch.from_numpy(joints).float(), torch.from_numpy(visible).float(), 4
    )
    assert float(total) * 2 == pytest.approx(by_hand(x, y, joints, visible), rel=1e-4)
    assert each.tolist() == [float(total)]


def test_a_joint_far_outside_the_crop_has_no_target() -> None:
    joints = torch.tensor([[[-20.0, 30.0], [20.0, 30.0], [-2.0, 30.0]]])
    _, _, weights = vectors.encode(joints, torch.ones(1, 3), (64, 48), (2.45, 2.83), 2)
    assert weights.tolist() == [[0, 1, 1]]


def test_what_the_loss_aims_at_is_decoded_to_the_joint() -> None:
    joints = torch.rand(2, 5, 2) * torch.tensor([47.0, 63.0])
    x, y, _ = vectors.encode(joints, torch.ones(2, 5), (64, 48), (2.45, 2.83), 2)
    points, sure = vectors.decode(x, y, 2)
    assert (points - joints).abs().max() <= 0.25 and sure.min() == 1


def test_a_mirrored_crops_vectors_are_turned_back() -> None:
    x, y = torch.rand(2, 17, 96), torch.rand(2, 17, 128)
    order = list(COCO.flip_order)
    mean = vectors.flip_mean([x, y], [x[:, order].flip(-1), y[:, order]], COCO.flip_order)
    assert torch.equal(mean[0], x) and torch.equal(mean[1], y)


def test_heatmaps_are_refused() -> None:
    with pytest.raises(
        PoseError, match=r"model\.output=vectors to RTMPose, or take model=lapx_simcc"
    ):
        SimCCLoss()([torch.zeros(1, 17, 16, 12)], torch.zeros(1, 17, 2), torch.ones(1, 17), 4)
    pair = [torch.zeros(1, 17, 96), torch.zeros(1, 17, 128)]
    with pytest.raises(PoseError, match="gives two vectors a joint: add loss=simcc"):
        HeatmapLoss()(pair, torch.zeros(1, 17, 2), torch.ones(1, 17), 4)


LAPX = ("model=lapx_simcc", "model.stages=2", "schedule.epochs=2")


def test_lapx_with_vectors_trains_is_scored_and_goes_on_bit_for_bit(fit, tmp_path) -> None:
    whole = fit(tmp_path / "whole", *LAPX)
    assert len(whole.keypoint_metrics()) == 1
    assert {"train/loss", "val/score", "val/loss"} <= set(whole.trainer.callback_metrics)
    with pytest.raises(Killed):
        fit(tmp_path / "dies", *LAPX, *EACH_STEP, extra=(Kill(1, 2),))
    again = fit(
        tmp_path / "dies", *LAPX, checkpoint=tmp_path / "dies" / "checkpoints" / "last.ckpt"
    )
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
