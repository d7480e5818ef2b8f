"""A teacher's heatmaps as a loss: joints by names, weighted by confidence, mixed with the labels, gone afterwards."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.skeletons import COCO, MPII
from featherpose.training.build import from_checkpoint
from featherpose.training.distil import DistilLoss
from featherpose.training.losses import HeatmapLoss, names_of
from featherpose.training.simcc import SimCCLoss
from featherpose.training.teachers import NetworkAnswers, Teacher

from .test_resume_points import EACH_STEP, EMA, Kill, Killed


class Says(nn.Module):
    """A network of one answer."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self.maps = nn.Parameter(maps)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [torch.zeros_like(self.maps), self.maps]


MAPS = torch.rand(2, 17, 8, 6, generator=torch.Generator().manual_seed(0)) * 1.2
IMAGES = torch.zeros(2, 3, 32, 24)


def distil(**keys) -> DistilLoss:
    loss = DistilLoss(None, "mpii", HeatmapLoss(), **keys)
    loss.teacher = Teacher(Says(MAPS.clone()), COCO, MPII.joints)
    return loss


def network_of(loss: DistilLoss) -> Says:
    assert loss.teacher is not None and isinstance(loss.teacher.answers, NetworkAnswers)
    assert isinstance(loss.teacher.answers.network, Says)
    return loss.teacher.answers.network


def batch() -> tuple[list[Tensor], Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    outputs = [torch.rand(2, 16, 8, 6, generator=generator) for _ in range(3)]
    return outputs, torch.rand(2, 16, 2, generator=generator) * 24, torch.ones(2, 16)


def test_the_teachers_term_is_the_labels_loss_to_its_heatmaps():
    outputs, joints, visible = batch()
    total, _ = distil(share=1.0)(outputs, joints, visible, 4, IMAGES)
    expected = 0.0
    for output in outputs:
        for person in range(2):
            for k, joint in enumerate(MPII.joints):
                if joint in COCO.joints:
                    target = MAPS[person, COCO.index(joint)]
                    weight = min(1.0, float(target.max()))
                    error = float((output[person, k] - target).square().sum())
                    expected += 0.5 * weight * error / (3 * 2 * 16)
    assert float(total) == pytest.approx(expected, rel=1e-5)


def test_shares_of_both_terms():
    outputs, joints, visible = batch()
    labels, _ = HeatmapLoss()(outputs, joints, visible, 4)
    taught, _ = distil(share=1.0)(outputs, joints, visible, 4, IMAGES)
    total, parts = distil(share=0.25)(outputs, joints, visible, 4, IMAGES)
    assert float(total) == pytest.approx(0.75 * float(labels) + 0.25 * float(taught), rel=1e-5)
    first, second, share = parts[-3:].tolist()
    assert (first, second) == pytest.approx((0.75 * float(labels), 0.25 * float(taught)), rel=1e-5)
    assert share == pytest.approx(second / float(total), rel=1e-5)
    assert parts[:3].mean() == pytest.approx(float(total), rel=1e-5)
    assert names_of(distil(), 6) == [
        f"train/loss/{name}"
        for name in ("stage1", "stage2", "stage3", "labels", "teacher", "teacher_share")
    ]


def test_without_images_and_without_a_teacher_it_is_the_labels_loss():
    outputs, joints, visible = batch()
    plain = HeatmapLoss()(outputs, joints, visible, 4)
    alone = DistilLoss(None, "mpii", HeatmapLoss())(outputs, joints, visible, 4)
    assert torch.equal(plain[0], alone[0]) and torch.equal(plain[1], alone[1])
    with pytest.raises(PoseError, match=r"loss\.teacher=RUN or FILE"):
        DistilLoss(None, "mpii", HeatmapLoss())(outputs, joints, visible, 4, IMAGES)


def test_what_the_teacher_is_unsure_of_counts_less_or_not_at_all():
    outputs, joints, visible = batch()
    quiet = distil(share=1.0, floor=0.9)
    with torch.no_grad():
        network_of(quiet).maps.mul_(0.5)
    assert float(quiet(outputs, joints, visible, 4, IMAGES)[0]) == 0
    halves = []
    for power in (1.0, 2.0):
        loss = distil(share=1.0, power=power)
        with torch.no_grad():
            network_of(loss).maps.clamp_(max=0.5)[:, :, 0, 0] = 0.5
        halves.append(float(loss(outputs, joints, visible, 4, IMAGES)[0]))
    assert halves[1] == pytest.approx(halves[0] / 2, rel=1e-5)


def test_no_gradient_reaches_the_teacher_and_copies_share_it():
    outputs, joints, visible = batch()
    outputs = [output.requires_grad_() for output in outputs]
    loss = distil()
    loss(outputs, joints, visible, 4, IMAGES)[0].backward()
    assert all(output.grad is not None and output.grad.any() for output in outputs)
    assert network_of(loss).maps.grad is None
    assert copy.deepcopy(loss).teacher is loss.teacher


def test_what_cannot_be_taught_is_told():
    with pytest.raises(PoseError, match="none of the data's joints"):
        Teacher(Says(MAPS), COCO, ["tail"])
    with pytest.raises(PoseError, match="0 to 1, not 2"):
        distil(share=2)
    with pytest.raises(PoseError, match=r"loss\.floor is low"):
        distil(floor="low")


def test_two_vectors_a_joint_are_taught_the_places():
    """The teacher's highest places are SimCC's targets, as if they were labels of that weight."""
    maps = torch.zeros(2, 17, 16, 12)
    maps[:, :, 5, 7] = 0.5
    loss = DistilLoss(None, "mpii", SimCCLoss(), share=1.0)
    loss.teacher = Teacher(Says(maps), COCO, MPII.joints)
    x, y = torch.rand(2, 16, 96), torch.rand(2, 16, 128)
    places = torch.tensor([28.0, 20.0]).expand(2, 16, 2)
    taught = torch.tensor([joint in COCO.joints for joint in MPII.joints]).float().expand(2, 16)
    labelled, _ = SimCCLoss()([x, y], places, taught, 4)
    total, _ = loss([x, y], torch.zeros(2, 16, 2), torch.zeros(2, 16), 4, torch.zeros(2, 3, 64, 48))
    assert float(total) == pytest.approx(0.5 * float(labelled), rel=1e-5)


def test_people_without_labels_learn_from_the_teacher_alone():
    outputs, joints, _ = batch()
    total, parts = distil(share=0.5)(outputs, joints, torch.zeros(2, 16), 4, IMAGES)
    labels, taught, share = parts[-3:].tolist()
    assert labels == 0 and taught == pytest.approx(float(total)) and share == pytest.approx(1)


def test_a_run_logs_both_terms_and_keeps_no_teacher(fit, taught, tmp_path):
    module = fit(tmp_path, *taught)
    logged = module.trainer.callback_metrics
    assert {"train/loss/labels", "train/loss/teacher", "train/loss/stage2"} <= set(logged)
    assert 0 < float(logged["train/loss/teacher_share"]) < 1
    path = tmp_path / "checkpoints" / "last.ckpt"
    assert not any("teacher" in name for name in torch.load(path)["state_dict"])
    Path(module.loss.source).rename(tmp_path / "moved")
    try:
        again = from_checkpoint(path)
    finally:
        (tmp_path / "moved").rename(module.loss.source)
    assert isinstance(again.loss, DistilLoss) and again.loss.teacher is None


@pytest.mark.parametrize("cache", [False, True])
def test_a_run_with_a_teacher_and_averages_goes_on_bit_for_bit(fit, taught, tmp_path, cache):
    words = (*taught, *EMA, f"loss.cache={cache}", f"data.cache_folder='{tmp_path}'")
    whole = fit(tmp_path / "whole", *words)
    with pytest.raises(Killed):
        fit(tmp_path / "dies", *words, *EACH_STEP, extra=(Kill(1, 2),))
    again = fit(
        tmp_path / "dies", *words, checkpoint=tmp_path / "dies" / "checkpoints" / "last.ckpt"
    )
    assert len(list(tmp_path.glob("taught-*.npy"))) == cache
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
