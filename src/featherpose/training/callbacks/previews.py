"""The same validation samples every few epochs: the skeleton and the heatmaps of each stage beside the annotation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from featherpose.draw import contact_sheet, draw_pose, overlay_heatmaps
from featherpose.image import write
from featherpose.inference.checkpoints import TorchBackend, Trained
from featherpose.inference.estimator import Estimator
from featherpose.inference.outputs import Heatmaps, Output
from featherpose.models.network import output_names_of
from featherpose.person import spread
from featherpose.skeletons import Skeleton
from featherpose.training.callbacks.gamma_warmup import run_length
from featherpose.training.loggers.pictures import log_picture


class Previews(Callback):
    """Writes `pictures/preview_0012.png` into the run folder and shows it on every dashboard.

    Args:
        folder: the run folder.
        samples: how many validation samples, spread evenly over the set, the same ones each time.
        every: validations between two pictures; the last one of the run always gives one.
        side: the longer side of one tile in pixels.
    """

    def __init__(
        self, folder: str | Path, samples: int = 4, every: int = 5, side: int = 192
    ) -> None:
        self.folder = Path(folder) / "pictures"
        self.samples = samples
        self.every = every
        self.side = side
        self._batch: dict[str, Tensor] | None = None

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit" or not self.due(trainer):
            return
        epoch = trainer.current_epoch
        if not trainer.is_global_zero or self.samples < 1:
            return
        batch = self._samples(trainer)
        trained: Any = pl_module  # a PoseModule
        picture = preview(trained, batch, self.side, str(trained.device))
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"preview_{epoch:04d}.png"
        write(path, picture)
        for logger in trainer.loggers:
            log_picture(logger, "preview", picture, path, epoch, trainer.global_step)

    def due(self, trainer: Trainer) -> bool:
        """By the epoch alone, so that a run that goes on gives the same pictures."""
        apart = trainer.check_val_every_n_epoch or 1  # epochs from one validation to the next
        number = (trainer.current_epoch + 1) // apart - 1
        last = trainer.current_epoch + apart >= run_length(trainer)
        return last or (self.every > 0 and number % self.every == 0)

    def _samples(self, trainer: Trainer) -> dict[str, Tensor]:
        """Read once: they stay the same, and decoding them again would cost at every preview."""
        if self._batch is None:
            loader: Any = trainer.val_dataloaders
            dataset = loader.dataset
            found = [dataset[int(i)] for i in spread(len(dataset), self.samples)]
            self._batch = {
                key: torch.stack([s[key] for s in found]) for key in ("image", "joints", "visible")
            }
        return self._batch


def preview(
    trained: Trained, batch: dict[str, Tensor], side: int = 192, device: str = "cpu"
) -> np.ndarray:
    """One row per sample: the annotation, then every stage's skeleton and heatmaps. RGB, uint8.

    Args:
        trained: a `PoseModule`, or what was read of a checkpoint.
        batch: `image`, `joints` and `visible` as the dataset gives them.
        side: the longer side of one tile in pixels.
        device: where the network runs.
    """
    skeleton = trained.skeleton
    estimator = Estimator(TorchBackend(trained, device))
    outputs = estimator.outputs(batch["image"].numpy())
    names = output_names_of(trained.network, len(outputs))
    points = [output.decode(estimator.protocol.decoder)[0] for output in outputs]
    tiles, labels = [], []
    for row, image in enumerate(batch["image"].permute(0, 2, 3, 1).numpy()):
        tiles.append(
            _posed(
                image,
                batch["joints"][row].numpy(),
                2 * batch["visible"][row].numpy(),
                skeleton,
                side,
            )
        )
        labels.append("annotation")
        for stage, output in enumerate(outputs):
            tiles.append(_posed(image, points[stage][row], None, skeleton, side))
            maps = _maps(output)[row]
            tiles.append(overlay_heatmaps(_enlarged(image, side), maps))
            peak = float(maps.max())
            labels += [names[stage], f"heatmaps, peak {peak:.2f}"]
    return contact_sheet(tiles, columns=1 + 2 * len(outputs), labels=labels)


def _maps(output: Output) -> np.ndarray:
    """Heatmaps (B, K, h, w); of two vectors a joint their product, which is where both are high."""
    if isinstance(output, Heatmaps):
        return output.values
    x, y = (each[..., :: 4 * output.bins].clip(0) for each in (output.x, output.y))
    return y[..., :, None] * x[..., None, :]


def _posed(
    image: np.ndarray, points: np.ndarray, visible: np.ndarray | None, skeleton: Skeleton, side: int
) -> np.ndarray:
    """Enlarged before drawing, so that lines stay thin."""
    enlarged = _enlarged(image, side)
    return draw_pose(enlarged, points * (enlarged.shape[1] / image.shape[1]), visible, skeleton)


def _enlarged(image: np.ndarray, side: int) -> np.ndarray:
    factor = side / max(image.shape[:2])
    return cv2.resize(
        np.ascontiguousarray(image), None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR
    )
