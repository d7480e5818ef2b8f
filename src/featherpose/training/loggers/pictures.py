"""A picture on whatever dashboard a run has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger

from featherpose.training.loggers.others import TrackioRun
from featherpose.training.loggers.weights_and_biases import define


def log_picture(
    logger: Logger, key: str, picture: np.ndarray, path: Path, epoch: int, step: int
) -> None:
    """Shows an RGB picture (also lying at `path`) on a logger's dashboard, if it can show pictures."""
    if isinstance(logger, WandbLogger):
        import wandb

        define(logger.experiment, key)
        shown = wandb.Image(picture, caption=f"epoch {epoch}")
        logger.experiment.log({key: shown, "epoch": epoch, "trainer/global_step": step})
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(key, picture, step, dataformats="HWC")
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_artifact(logger.run_id, str(path), key)
    elif isinstance(logger, TrackioRun):
        logger.log_image(key, [picture], step=epoch)
