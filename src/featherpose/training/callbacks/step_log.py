"""What a run does between two epochs: loss, rate, gamma and speed every `trainer.log_every_n_steps` steps."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from featherpose.training.callbacks.gamma_warmup import non_local_stages
from featherpose.training.losses import names_of
from featherpose.training.module import PoseModule


class StepLog(Callback):
    """Logs `train/step/...` against the global step; the losses are means over the steps since the last row.

    They stay on the device until then: one reading in so many steps is all that is waited for. Under DDP the losses are
    those of the first process.

    Args:
        gradient_norm: also the norm of all gradients before they are clipped, as `train/step/gradient_norm`.
    """

    def __init__(self, gradient_norm: bool = False) -> None:
        self.gradient_norm = gradient_norm
        self.gammas: dict[str, Tensor] = {}
        self.norm: Tensor | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        stages = non_local_stages(pl_module).items()
        self.gammas = {f"train/step/gamma/{stage}": module.gamma for stage, module in stages}
        self.logged = trainer.global_step
        # a run that goes on within an epoch skips that hook
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The validation between two epochs is no training time."""
        self._restart()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if self.gradient_norm and _due(trainer, trainer.global_step + 1):
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            self.norm = torch.nn.utils.get_total_norm(gradients)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.images += len(batch["index"]) * trainer.world_size
        self.batches += 1
        step = trainer.global_step
        # while gradients are accumulated, some batches are no step
        if trainer.loggers and step > self.logged and _due(trainer, step):
            self.logged = step
            row = self._row(trainer, pl_module)
            for logger in trainer.loggers:
                logger.log_metrics(row, step=step)
            self._restart()

    def _row(self, trainer: Trainer, module: LightningModule) -> dict[str, float]:
        assert isinstance(module, PoseModule)
        losses = module.mean_losses(self.batches)
        parts = [
            name.replace("train/", "train/step/") for name in names_of(module.loss, len(losses) - 1)
        ]
        found = dict(zip(["train/step/loss", *parts], losses, strict=True))
        found |= {name: gamma.detach().squeeze() for name, gamma in self.gammas.items()}
        if self.norm is not None:
            found["train/step/gradient_norm"], self.norm = self.norm, None
        values = torch.stack([value.float() for value in found.values()]).tolist()
        seconds = time.perf_counter() - self.start  # after the one wait for the device
        row = dict(zip(found, values, strict=True))
        return row | {
            "train/step/lr": module.rate,
            "train/step/images_per_s": self.images / seconds,
        }

    def _restart(self) -> None:
        self.start, self.images, self.batches = time.perf_counter(), 0, 0


def _due(trainer: Any, step: int) -> bool:
    every = trainer.log_every_n_steps
    return every > 0 and step % every == 0
