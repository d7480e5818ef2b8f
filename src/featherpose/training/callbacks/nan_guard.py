"""Stops a run whose loss is NaN or explodes, and keeps the batch that did it."""

from __future__ import annotations

import json
import math
from collections import deque
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from featherpose.errors import PoseError
from featherpose.settings import number
from featherpose.training.handed_over import data_of


class NanGuard(Callback):
    """Looks at the loss of every step.

    On a GPU the losses are read every few steps, since each reading waits for the device; the last batches are kept so
    long. Always before a checkpoint is written, so no poisoned weights replace good ones.

    Args:
        folder: of the run; gets `bad_batch.json` (records, files, losses) and `bad_batch.pt` (the batch as it was fed).
        factor: a loss above so many times the running mean counts as exploded; null: only what is not finite.
        patience: steps before the running mean is trusted.
        every: steps between two readings on a GPU.
    """

    def __init__(
        self, folder: str | Path, factor: float | None = 1000.0, patience: int = 50, every: int = 10
    ) -> None:
        if factor is not None:
            number("callbacks.nan_guard.factor", factor, above=1)
        self.folder = Path(folder)
        self.factor = factor
        self.patience = patience
        self.every = every
        self.mean = 0.0
        self.seen = 0
        self._recent: deque[tuple[int, int, Tensor, dict[str, Tensor]]] = deque()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is None:
            return
        self._recent.append((trainer.current_epoch, batch_idx, loss.detach(), batch))
        if pl_module.device.type == "cpu" or len(self._recent) >= self.every:
            self._read(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._read(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._read(trainer)

    def _read(self, trainer: Trainer) -> None:
        if not self._recent:
            return
        steps = list(self._recent)
        losses = (
            [steps[0][2].item()]
            if len(steps) == 1
            else torch.stack([loss for _, _, loss, _ in steps]).tolist()
        )
        self._recent.clear()
        for (epoch, batch_idx, _, batch), loss in zip(steps, losses, strict=True):
            loss *= trainer.accumulate_grad_batches  # Lightning hands out the loss divided by it
            exploded = (
                self.factor is not None
                and self.seen >= self.patience
                and loss > self.factor * self.mean
            )
            if not math.isfinite(loss) or exploded:
                self._stop(trainer, epoch, batch_idx, loss, batch)
            self.seen += 1
            self.mean += (loss - self.mean) / min(self.seen, 100)

    def _stop(
        self, trainer: Trainer, epoch: int, batch_idx: int, loss: float, batch: dict[str, Tensor]
    ) -> None:
        rank = f"_rank{trainer.global_rank}" if trainer.global_rank else ""
        persons = data_of(trainer).train_people.persons
        records = [
            {"index": i, "person_id": persons[i].person_id, "image": str(persons[i].image)}
            for i in batch["index"].tolist()
        ]
        facts = {
            "epoch": epoch,
            "batch": batch_idx,
            "loss": str(loss),
            "running_mean": self.mean,
            "records": records,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"bad_batch{rank}.json"
        path.write_text(json.dumps(facts, indent=2, default=str) + "\n", encoding="utf-8")
        torch.save({key: value.cpu() for key, value in batch.items()}, path.with_suffix(".pt"))
        names = ", ".join(str(r["person_id"]) for r in records[:8]) + (
            ", …" if len(records) > 8 else ""
        )
        what = (
            f"exploded to {loss:g} (running mean {self.mean:g})"
            if math.isfinite(loss)
            else f"is {loss}"
        )
        raise PoseError(
            f"The loss {what} in epoch {epoch}, batch {batch_idx}, persons {names}; the batch is kept in {path}. "
            "A lower schedule.learning_rate, trainer.gradient_clip_val=1 or trainer.precision=32-true may help."
        )
