"""PoseModule: network + loss + decoding + metrics, and no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from hydra.utils import instantiate
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from featherpose.errors import PoseError
from featherpose.heatmaps import decode, flip_back, to_picture
from featherpose.pixels import normalise
from featherpose.protocol import Protocol
from featherpose.skeletons import skeleton_of
from featherpose.training.losses import names_of
from featherpose.training.schedules import Schedule

Batch = dict[str, Tensor]


class PoseModule(L.LightningModule):
    """A network in training or evaluation.

    Args:
        config: the whole resolved config as plain dicts, lists, numbers and strings. It is the only hyper-parameter,
            so a checkpoint loads with `weights_only=True` and needs nothing else to be rebuilt.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters({"config": config})
        self.config = config
        self.network: nn.Module = instantiate(config["model"])
        self.stride: int = self.network.stride  # ty: ignore[invalid-assignment]
        self.skeleton = skeleton_of(config["data"]["skeleton"])
        if self.network.joints != len(self.skeleton):
            raise PoseError(
                f"The network gives {self.network.joints} heatmaps but the skeleton {self.skeleton.name} has "
                f"{len(self.skeleton)} joints: leave model.joints to follow data.joints."
            )
        self.loss = instantiate(config["loss"])
        self.protocol = Protocol.of(config["protocol"])
        self.channels_last: bool = config.get("channels_last", True)
        if self.channels_last:
            self.network.to(memory_format=torch.channels_last)  # ty: ignore[no-matching-overload]
        self.compiled: Callable[[Tensor], list[Tensor]] = self.network
        self.metrics: list[
            Any
        ] = []  # one for each supervised output; made in `setup`, when the persons are known
        self.keep_predictions = False
        self.last_predictions: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._step_losses: list[
            tuple[int, Tensor]
        ] = []  # persons, and the total's loss before each output's

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the crops this network was trained on."""
        height, width = self.config["data"]["input_size"]
        return int(height), int(width)

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> PoseModule:
        """Rebuilds network, loss and protocol from one file, on the CPU and in evaluation mode."""
        checkpoint = load_checkpoint(path)
        config = checkpoint.get("hyper_parameters", {}).get("config")
        if config is None:
            raise PoseError(
                f"{path} holds no featherpose config; for bare or published weights use weights={path} and model=…"
            )
        module = cls(config)
        try:
            module.load_state_dict(checkpoint["state_dict"])
        except RuntimeError as error:
            raise PoseError(f"{path} does not fit its own config: {_first(error)}") from error
        return module.eval()

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule  # ty: ignore[missing-attribute]
        if self.config.get("compile") and stage == "fit":
            self.compiled = torch.compile(self.network)
        self.metrics = []
        self._new_metric = lambda: data.metric(data.val_people.persons)

    # Training

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        images = normalise(batch["image"], self.channels_last)
        outputs = self.compiled(images)
        total, each = self.loss(outputs, batch["joints"], batch["visible"], self.stride, images)
        self._step_losses.append((len(batch["index"]), torch.cat((total[None], each)).detach()))
        if (
            batch_index % 10 == 0
        ):  # for the progress bar; a metric logged at each step would cost it 0.4 ms
            self.log("loss", total.detach(), prog_bar=True, logger=False)
        return total

    def on_train_epoch_end(self) -> None:
        if self._step_losses:
            losses = torch.stack([losses for _, losses in self._step_losses])  # (steps, 1 + S)
            counts = losses.new_tensor([count for count, _ in self._step_losses])
            means = counts @ losses / counts.sum()
            names = ["train/loss", *names_of(self.loss, len(means) - 1)]
            self.log_dict(dict(zip(names, means, strict=True)), sync_dist=True)
            self._step_losses.clear()
        self.log("lr", float(self.trainer.optimizers[0].param_groups[0]["lr"]))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        schedule = Schedule.of(self.config["schedule"])
        optimiser = instantiate(self.config["schedule"]["optimiser"])(
            self.network.parameters(), lr=schedule.first_rate
        )
        rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: schedule.factor(at))
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": rate, "interval": schedule.unit},
        }

    # Evaluation

    def predict_heatmaps(self, images: Tensor, flip: bool | None = None) -> list[Tensor]:
        """Each output's heatmaps of uint8 crops, averaged with the mirrored crops' where the protocol says so."""
        flip = self.protocol.flip if flip is None else flip
        inputs = normalise(images, self.channels_last)
        if not flip:
            return self.network(inputs)
        both = self.network(torch.cat([inputs, inputs.flip(3)]))
        order, shift = self.skeleton.flip_order, self.protocol.shifts(self.stride)
        halves = [output.chunk(2) for output in both]
        return [(plain + flip_back(mirrored, order, shift)) / 2 for plain, mirrored in halves]

    def decode(self, outputs: list[Tensor], matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Keypoints in picture coordinates (S, B, K, 2) and confidences (S, B, K) of all outputs."""
        points, confidence = zip(
            *(decode(o.float(), self.protocol.decoder) for o in outputs), strict=True
        )
        return to_picture(torch.stack(points), matrix, self.stride).float(), torch.stack(confidence)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        outputs = self.predict_heatmaps(batch["image"])
        total, _ = self.loss(outputs, batch["joints"], batch["visible"], self.stride)
        self.log("val/loss", total, batch_size=len(batch["index"]), sync_dist=True)
        keypoints, confidence = self.decode(outputs, batch["matrix"])
        if not self.metrics:
            self.metrics = [self._new_metric().to(self.device) for _ in outputs]
        for metric, points, scores in zip(self.metrics, keypoints, confidence, strict=True):
            metric.update(batch["index"], points, scores)

    def on_validation_epoch_end(self) -> None:
        if not self.metrics:
            return
        scores = [metric.compute() for metric in self.metrics]
        final = {f"val/{name}": value for name, value in scores[-1].items()}
        final["val/score"] = scores[-1][self.metrics[-1].main]
        for i, stage in enumerate(scores[:-1]):
            final[f"val/stage{i + 1}/score"] = stage[self.metrics[i].main]
        self.log_dict(
            {name: torch.tensor(float(value)) for name, value in final.items()},
            rank_zero_only=False,
        )
        if self.keep_predictions:
            self.last_predictions = self._gather_predictions()
        for metric in self.metrics:
            metric.reset()

    def _gather_predictions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """index (N,), keypoints (S, N, K, 2) and confidence (S, N, K) of all processes."""
        found = []
        for metric in self.metrics:
            with metric.sync_context():
                found.append(metric.collected())
        return (
            found[-1][0],
            np.stack([keypoints for _, keypoints, _ in found]),
            np.stack([c for *_, c in found]),
        )

    test_step, on_test_epoch_end = validation_step, on_validation_epoch_end


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint file, read without running any code that it might carry."""
    path = Path(path)
    if not path.is_file():
        raise PoseError(f"There is no checkpoint {path}.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise PoseError(
            f"{path} is not a checkpoint that can be read safely: {_first(error)}"
        ) from error


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:4])
