"""Exponential moving average of the weights, by Lightning's own callback."""

from __future__ import annotations

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging


class EMA(EMAWeightAveraging):
    """Swaps the averaged weights in for the validations of a training run, and for no others.

    Lightning's callback swaps in every validation. The one at the end of a run, on the best checkpoint's weights (which
    are averages already), would then score the last epoch's average instead.
    """

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            super().on_validation_epoch_end(trainer, pl_module)
