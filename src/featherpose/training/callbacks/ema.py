"""Exponential moving average of the weights, by Lightning's own callback."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from featherpose.settings import number, whole


class EMA(EMAWeightAveraging):
    """Swaps the averaged weights in for the validations of a training run, and for no others.

    Lightning's callback swaps in every validation. The one at the end of a run, on the best checkpoint's weights (which
    are averages already), would then score the last epoch's average instead.

    On a GPU three things of Lightning's cost more than the training of a small network: the average is made before the
    network is moved, so it stays on the CPU and every weight is copied there at every step; it is updated one tensor
    at a time; and a counter on the device is read twice a step.
    """

    def __init__(self, decay: float = 0.999, update_every_n_steps: int = 1, **keys: Any) -> None:
        number("callbacks.ema.decay", decay, least=0, most=1)
        whole("callbacks.ema.update_every_n_steps", update_every_n_steps, least=1)
        super().__init__(decay=decay, update_every_n_steps=update_every_n_steps, **keys)
        self._kwargs = {"multi_avg_fn": get_ema_multi_avg_fn(decay)}  # a few launches for all

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._average_model is not None
        self._average_model.module.to(self._device or pl_module.device)
        self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            super().on_validation_epoch_end(trainer, pl_module)
