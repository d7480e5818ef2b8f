"""Small training runs within this process, from the real config."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from lightning import Callback
from lightning.pytorch.loggers.logger import Logger
from omegaconf import OmegaConf

from featherpose.models.peers.lite_hrnet import NaiveLiteHRNet
from featherpose.targets import build
from featherpose.training.build import build_training
from featherpose.training.distil import DistilLoss
from featherpose.training.module import PoseModule
from featherpose.zoo.safetensors import write_safetensors

SMALL = (
    "model.stages=1",
    "model.channels=16",
    "data.people={train: 20, val: 6, test: 2}",
    "data.workers=0",
    "data.input_size=[64,64]",
    "schedule.batch_size=4",
    "schedule.epochs=4",
    "schedule.gamma={freeze: 1, ramp: 2, target: 0.2, unit: epochs}",
    "trainer=cpu",
    "callbacks.progress=null",
    "callbacks.previews=null",
)

Fit = Callable[..., PoseModule]


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Overrides of a run with a small teacher."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    write_safetensors(path, NaiveLiteHRNet(17, 4, (1, 1, 1)).state_dict())
    return (
        "loss=distil",
        f"loss.teacher='{path}'",
        "+loss.teacher_model.channels=4",
        "+loss.teacher_model.modules=[1,1,1]",
        "schedule.epochs=2",
        "model.stages=2",
    )


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Overrides of a run of 4 epochs of 5 steps: gamma is frozen for one, rising for two, free for one."""
    return SMALL


def composed(
    conf: Path, folder: Path, *overrides: str, base: tuple[str, ...] = SMALL
) -> dict[str, Any]:
    with initialize_config_dir(str(conf), version_base="1.3"):
        words = [
            *base,
            *overrides,
            f"hydra.runtime.output_dir='{folder}'",
            f"paths.root='{folder}'",
        ]
        cfg = compose("train", words, return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    return OmegaConf.to_container(
        OmegaConf.masked_copy(cfg, [k for k in cfg if k != "hydra"]), resolve=True
    )


@pytest.fixture
def fit(root: Path) -> Fit:
    """`fit(folder, *overrides, base=SMALL, extra=(), checkpoint=None, logger=None)`: trains as `src/train.py` does.

    It gives the trained module.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    def run(
        folder: Path,
        *overrides: str,
        base: tuple[str, ...] = SMALL,
        extra: tuple[Callback, ...] = (),
        checkpoint: Path | None = None,
        logger: Logger | None = None,
    ) -> PoseModule:
        config = composed(root / "conf", folder, *overrides, base=base)
        L.seed_everything(config["seed"], workers=True, verbose=False)
        module, data = build_training(config)
        if isinstance(module.loss, DistilLoss):
            module.loss.prepare(data)
        callbacks = [
            *(build(entry) for entry in config["callbacks"].values() if entry),
            *extra,
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            keys = {"logger": logger or False, "callbacks": callbacks, "enable_progress_bar": False}
            trainer = build(
                config["trainer"], default_root_dir=str(folder), enable_model_summary=False, **keys
            )
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
        return module

    return run
