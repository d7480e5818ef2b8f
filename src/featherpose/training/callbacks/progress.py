"""One bar per epoch, which knows how many epochs a run has that is given in steps."""

from __future__ import annotations

import math

from lightning.pytorch.callbacks import RichProgressBar

from featherpose.training.callbacks.gamma_warmup import run_length


class ProgressBar(RichProgressBar):
    """Lightning's bar; it would say `Epoch 2/-2` of a run that is given in steps."""

    def _get_train_description(self, current_epoch: int) -> str:
        epochs = run_length(self.trainer)
        last = f"/{epochs - 1:.0f}" if math.isfinite(epochs) else ""
        # of even length, or the bars flicker
        return f"Epoch {current_epoch}{last}".ljust(len(self.validation_description))
