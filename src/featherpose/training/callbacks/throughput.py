"""Images a second, the share of time spent waiting for data, and the peak of GPU memory, once an epoch.

On a CPU it also says, once, where the threads of a step wait for each other because other work is on their cores.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

JUDGED_AFTER = 30.0  # seconds of steps
CROWDED = 0.6  # of the time of the cores that its threads ask for


class Throughput(Callback):
    """Logs `images_per_s`, `data_wait` (a fraction of the epoch) and `gpu_memory` (GiB, where there is a GPU)."""

    def __init__(self) -> None:
        self._judged = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_train_epoch_start(
            trainer, pl_module
        )  # a run that goes on within an epoch skips that hook

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = self._idle_since = time.perf_counter()
        self._used = time.process_time()
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
        if not self._judged and pl_module.device.type == "cpu" and trainer.is_global_zero:
            self._judge(torch.get_num_threads())

    def _judge(self, threads: int) -> None:
        """Whether the steps of this epoch got the cores that their threads ask for."""
        seconds = self._end - self._start - self._waited
        if threads == 1 or seconds < JUDGED_AFTER:
            return
        self._judged = True
        got = (time.process_time() - self._used) / seconds
        if got < CROWDED * threads:
            print(  # the project's console would write into the line of the bar
                f"This run's {threads} threads get {got:.1f} cores: other work holds them up, and they wait for each "
                f"other. Started with OMP_NUM_THREADS={threads - 1} it may be faster (docs/training.md)."
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._images:
            return
        seconds = self._end - self._start  # without the validation inside the epoch
        pl_module.log("images_per_s", self._images / seconds)
        pl_module.log("data_wait", self._waited / seconds)
        if pl_module.device.type == "cuda":
            pl_module.log("gpu_memory", torch.cuda.max_memory_allocated(pl_module.device) / 2**30)
