"""Pictures and tables of samples on whatever dashboard a run has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger

from featherpose import image
from featherpose.training.loggers.others import TrackioRun
from featherpose.training.loggers.weights_and_biases import STEP, define


@dataclass(frozen=True)
class SampleTable:
    """Rows for people: a picture, then what stands in the columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    pictures: Sequence[np.ndarray]  # RGB, one a row

    def in_markdown(self) -> str:
        """Without the pictures."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        cells = [["" if cell is None else str(cell) for cell in line] for line in lines]
        return "\n".join(f"| {' | '.join(line)} |" for line in cells)

    def by_column(self, shown: Any) -> dict[str, list[Any]]:
        """With each picture in the form that a dashboard takes."""
        columns = zip(*self.rows, strict=True)
        pictures = {"picture": [shown(picture) for picture in self.pictures]}
        return pictures | {
            name: list(values) for name, values in zip(self.columns, columns, strict=True)
        }


def log_picture(logger: Logger, key: str, path: Path, epoch: int, step: int) -> None:
    """Shows a JPEG file on a logger's dashboard, as it is, if that can show pictures."""
    if isinstance(logger, WandbLogger):
        import wandb

        _log_to_wandb(logger, key, wandb.Image(str(path), caption=f"epoch {epoch}"), epoch, step)
    elif isinstance(logger, TensorBoardLogger):
        _log_to_tensorboard(logger, key, path, step)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_artifact(logger.run_id, str(path), key)
    elif isinstance(logger, TrackioRun):
        import trackio

        logger.experiment.log({key: trackio.Image(str(path))}, step=epoch)


def log_table(logger: Logger, key: str, table: SampleTable, epoch: int, step: int) -> None:
    """Shows a table of samples on a logger's dashboard; TensorBoard has no pictures in tables."""
    if isinstance(logger, WandbLogger):
        import wandb

        rows: list[Any] = [
            [wandb.Image(picture, file_type="jpg"), *row]
            for picture, row in zip(table.pictures, table.rows, strict=True)
        ]
        _log_to_wandb(logger, key, wandb.Table(["picture", *table.columns], rows), epoch, step)
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_text(key, table.in_markdown(), step)
    elif isinstance(logger, MLFlowLogger):
        import mlflow

        shown = table.by_column(mlflow.Image)
        logger.experiment.log_table(logger.run_id, shown, f"{key}/epoch_{epoch:04d}.json")
    elif isinstance(logger, TrackioRun):
        import pandas as pd
        import trackio

        frame = pd.DataFrame(table.by_column(trackio.Image))
        logger.experiment.log({key: trackio.Table(dataframe=frame)}, step=epoch)


def _log_to_wandb(logger: WandbLogger, key: str, shown: Any, epoch: int, step: int) -> None:
    define(logger.experiment, key)
    logger.experiment.log({key: shown, "epoch": epoch, STEP: step})


def _log_to_tensorboard(logger: TensorBoardLogger, key: str, path: Path, step: int) -> None:
    """The file itself: `add_image` would make a PNG of it, six times as large."""
    from tensorboard.compat.proto import summary_pb2

    proto: Any = summary_pb2  # made by a compiler that writes no types
    data = path.read_bytes()
    width, height = image.size_of(data) or (0, 0)
    shown = proto.Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data)
    summary = proto.Summary(value=[proto.Summary.Value(tag=key, image=shown)])
    logger.experiment.file_writer.add_summary(summary, step)
