"""Exponential moving average of the weights, kept and swapped in by Lightning's own callback."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from featherpose.pixels import normalise
from featherpose.settings import number, whole
from featherpose.training.module import PoseModule


class EMA(EMAWeightAveraging):
    """Swaps the averaged weights in for the validations of a training run, and for no others.

    Lightning's callback swaps in every validation. The one at the end of a run, on the best checkpoint's weights (which
    are averages already), would then score the last epoch's average instead. And it goes wrong in two ways:

    - The first weights, which are random, hold decay ** updates of the average: 8% after 500 updates of 0.995. So the
      decay rises to its value: update n has at most (1 + n) / (10 + n).
    - An average of batch norm's statistics is not the statistics of the average: LAPX scored AP 0.006 so. Each update
      therefore shows the averaged network the batch, forwards only, and its norms follow it as they do in training.

    On a GPU the average lies beside the network, is updated in a few launches, and its counter stays on the CPU, where
    reading it waits for nothing.

    Args:
        decay: of the average, at each update.
        update_every_n_steps: an update costs a forward pass.
        update_starting_at_step: until then the average is what the network was at the start.
    """

    def __init__(
        self,
        decay: float = 0.996,
        update_every_n_steps: int = 4,
        update_starting_at_step: int | None = None,
    ) -> None:
        number("callbacks.ema.decay", decay, least=0, most=1)
        whole("callbacks.ema.update_every_n_steps", update_every_n_steps, least=1)
        super().__init__(
            decay=decay,
            update_every_n_steps=update_every_n_steps,
            update_starting_at_step=update_starting_at_step,
        )
        self.decay = decay

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._average_model is not None
        self._average_model.module.to(self._device or pl_module.device)
        self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step > self._latest_update_step and self.should_update(step_idx=step - 1):
            assert isinstance(pl_module, PoseModule)
            self._latest_update_step = step
            with trainer.precision_plugin.forward_context():
                self._update(pl_module, batch["image"])

    @torch.no_grad()
    def _update(self, module: PoseModule, crops: torch.Tensor) -> None:
        assert self._average_model is not None
        network, average = module.network, self._average_model.module.network
        assert isinstance(average, nn.Module)
        updates = int(self._average_model.n_averaged)
        if updates == 0:
            average.load_state_dict(network.state_dict())
        else:
            blend = get_ema_multi_avg_fn(decay_at(updates, self.decay))
            pair = list(average.parameters()), list(network.parameters())
            blend(*pair, self._average_model.n_averaged)
            for copy, part in zip(average.modules(), network.modules(), strict=True):
                copy.training = part.training  # frozen norms stay as they are
            average(normalise(crops, module.channels_last))
        self._average_model.n_averaged += 1

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            super().on_validation_epoch_end(trainer, pl_module)


def decay_at(updates: int, decay: float) -> float:
    """The decay after so many updates: an average of few weights forgets the first ones soon."""
    return min(decay, (1 + updates) / (10 + updates))
