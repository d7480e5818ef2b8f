"""From a config and from a checkpoint to the module, and what a module of one line can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.inference.pose import Pose
from featherpose.models.network import shapes_alone
from featherpose.skeletons import COCO, MPII
from featherpose.targets import build
from featherpose.training.build import (
    DATA_FOLDER,
    build_module,
    build_training,
    data_of_checkpoint,
    from_checkpoint,
    placed,
    portable,
)
from featherpose.training.losses import HeatmapLoss
from featherpose.training.module import PoseModule
from featherpose.zoo.checkpoint import load_checkpoint

from .conftest import composed


class Five(nn.Module):
    joints, stride = 16, 4

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 16, 8, 4, 2)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.layer(images)]


QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}


def test_a_five_line_network_trains_validates_and_predicts(fit: Any, tmp_path: Path) -> None:
    few = ("schedule.epochs=1", "trainer.limit_train_batches=1", "trainer.limit_val_batches=0")
    data = fit(tmp_path, *few).trainer.datamodule
    module = PoseModule(Five(), HeatmapLoss(), MPII)
    trainer = L.Trainer(accelerator="cpu", max_steps=3, enable_checkpointing=False, **QUIET)
    before = module.network.layer.weight.detach().clone()
    trainer.fit(module, datamodule=data)
    assert not torch.equal(before, module.network.layer.weight)
    assert 0 <= trainer.validate(module, datamodule=data, verbose=False)[0]["val/score"] <= 100
    found = trainer.predict(module, datamodule=data)
    assert found[0].keypoints.shape == (1, 4, 16, 2)
    assert torch.cat([each.index for each in found]).tolist() == list(range(6))


def test_joints_have_to_be_the_skeletons() -> None:
    with pytest.raises(PoseError, match="gives 16 heatmaps but the skeleton coco has 17 joints"):
        PoseModule(Five(), HeatmapLoss(), COCO)


def test_the_trainer_predicts_what_pose_predicts(fit: Any, tmp_path: Path) -> None:
    few = ("schedule.epochs=1", "trainer.limit_train_batches=1", "protocol=paper_tta")
    data = fit(tmp_path, *few).trainer.datamodule
    path = tmp_path / "checkpoints" / "last.ckpt"
    trainer = L.Trainer(accelerator="cpu", **QUIET)
    module = from_checkpoint(path)
    assert not module.training
    assert module.protocol.flip
    found = trainer.predict(module, datamodule=data)
    pose = Pose(path, device="cpu")
    for batch, ours in zip(data.val_dataloader(), found, strict=True):
        crops, matrices = batch["image"].numpy(), batch["matrix"].numpy()
        keypoints, confidence = pose.estimator.in_pictures(crops, matrices)
        np.testing.assert_allclose(ours.keypoints.numpy(), keypoints, atol=1e-3)
        np.testing.assert_allclose(ours.confidence.numpy(), confidence, atol=1e-5)


def test_data_of_a_checkpoint_is_what_it_was_trained_on(fit: Any, tmp_path: Path) -> None:
    fit(tmp_path, "schedule.epochs=1", "trainer.limit_train_batches=1")
    saved = load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    data = data_of_checkpoint(saved, tmp_path, batch_size=3)
    assert (data.input_size, data.batch_size, data.augment) == ((64, 64), 3, None)
    assert len(data.val_people.persons) == 6


def test_settings_travel_without_this_machines_folders() -> None:
    node = {"root": "/mine/data/mpii", "other": "/elsewhere/x", "batch_size": 4, "of": ["a", 1]}
    kept = portable(node, "/mine/data")
    assert kept == {"root": f"{DATA_FOLDER}/mpii", "other": None, "of": ["a", 1]}
    assert placed(kept, "/theirs")["root"] == "/theirs/mpii"


def test_detected_boxes_that_training_would_not_score_are_refused(root, tmp_path):
    config = composed(root / "conf", tmp_path, "data=coco", "protocol.boxes=detections", base=())
    with pytest.raises(PoseError, match="Training validates on annotated boxes"):
        build_training(config)


@pytest.mark.parametrize(
    ("words", "gpu", "wanted"),
    [
        (["model=lapx"], False, True),
        (["model=le_hrnet"], False, False),
        (["model=hrnet_w32"], False, True),
        (["model=le_hrnet"], True, True),
        (["model=le_hrnet", "channels_last=true"], False, True),
        (["model=lapx", "channels_last=false"], True, False),
    ],
)
def test_the_memory_layout_is_the_faster_one_unless_it_is_asked_for(
    words: list[str],
    gpu: bool,
    wanted: bool,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    cfg = composed(root / "conf", tmp_path, *words, "data=mpii", base=())
    with shapes_alone():
        network = build(cfg["model"])
    assert build_module(cfg, network, (64, 64)).channels_last == wanted
