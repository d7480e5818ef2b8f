"""Images a second, the share of time spent waiting for data, and the peak of GPU memory, once an epoch."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Logs `images_per_s`, `data_wait` (a fraction of the epoch) and `gpu_memory` (GiB, where there is a GPU)."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_train_epoch_start(
            trainer, pl_module
        )  # a run that goes on within an epoch skips that hook

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = self._idle_since = time.perf_counter()
        self._waited = 0.0
        self._images = 0
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._waited += time.perf_counter() - self._idle_since

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch["index"]) * trainer.world_size
        self._end = self._idle_since = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._images:
            return
        seconds = self._end - self._start  # without the validation inside the epoch
        pl_module.log("images_per_s", self._images / seconds)
        pl_module.log("data_wait", self._waited / seconds)
        if pl_module.device.type == "cuda":
            pl_module.log("gpu_memory", torch.cuda.max_memory_allocated(pl_module.device) / 2**30)
