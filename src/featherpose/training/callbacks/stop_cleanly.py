"""SIGTERM and Ctrl-C: finish the step, save, mark the run interrupted, leave; the second one leaves at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from featherpose.runs.record import mark
from featherpose.training.callbacks.resume import agreed, within_accumulation

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopCleanly(Checkpoint):
    """Ends a run between two steps with everything that is needed to go on.

    It exits with 130 (Ctrl-C) or 143 (SIGTERM), as shells expect of a process that such a signal ended. Lightning's own
    ways end with 1 and 0. Before a validation and at an epoch's end `Resume`, which comes first, has saved already.

    Args:
        path: the checkpoint to go on from.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.received: int | None = None
        self._owner = os.getpid()
        self._before = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self._owner = os.getpid()
        # Not on_fit_start: Lightning puts its own handlers before those it finds, and they end the run with exit code 0
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._handle)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._restore()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_last_batch or within_accumulation(trainer, batch_idx):
            return
        if agreed(trainer, self.received is not None, batch_idx):
            trainer.save_checkpoint(self.path)
            self._leave(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and agreed(trainer, self.received is not None):
            self._leave(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if agreed(trainer, self.received is not None):
            self._leave(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if agreed(
            trainer, self.received is not None
        ):  # the last epoch is saved; its evaluation is left to a resume
            self._leave(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.state.fn == "fit" and trainer.world_size == 1 and self.received is not None:
            self._leave(trainer)

    def _leave(self, trainer: Trainer) -> None:
        # A rank that Lightning started must end with 0: anything else makes it kill the first rank while that one saves
        code = 0 if trainer.local_rank else 128 + (self.received or signal.SIGTERM)
        if trainer.is_global_zero:
            print(
                f"stopped after step {trainer.global_step}; to go on: resume={self.path.parent.parent}",
                flush=True,
            )
        raise SystemExit(code)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if (
            os.getpid() != self._owner
        ):  # a worker of a loader, forked with this handler: its parent decides
            if number == signal.SIGTERM:
                os._exit(0)
            return
        if self.received is not None:
            mark(self.path.parent.parent, state="interrupted", exit_code=128 + number)
            os._exit(128 + number)
        self.received = number
        again = ", Ctrl-C again stops at once" if number == signal.SIGINT else ""
        sys.stderr.write(f"\nstopping after this step{again}\n")

    def _restore(self) -> None:
        if os.getpid() != self._owner:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
