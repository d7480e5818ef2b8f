"""What a killed run needs to go on as if it had not been."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from featherpose.errors import PoseError
from featherpose.training.handed_over import data_of
from featherpose.training.private import position, validate_again

AGREE_EVERY = 10  # steps between questions to the other ranks: each one waits for the device


class Resume(Checkpoint):
    """Keeps `last.ckpt`, and puts data order and randomness back to where it was written.

    Weights, optimiser, learning rate and loop counters are in every Lightning checkpoint. What is missing there for a
    run that ends with the same weights, bit for bit: the sampler's place (Lightning would see the epoch's first batches
    again), and the random state. The latter is a function of (seed, epoch, batch, rank), set before each step, so
    nothing of it has to be saved and every rank has its own.

    It is a `Checkpoint` for Lightning, hence called after all other callbacks, when their states are up to date.

    Args:
        path: the file; replaced at the end of each epoch, before each validation and in the middle of long epochs.
        seed: of the run.
        every_minutes: how much work a kill may cost at most; null: whole epochs.
    """

    def __init__(self, path: str | Path, seed: int = 0, every_minutes: float | None = 15.0) -> None:
        self.path = Path(path)
        self.seed = seed
        self.every_minutes = every_minutes
        self._saved = time.monotonic()
        self._validation_due = False

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        batch = getattr(data_of(trainer), "batch_size", None)
        checkpoint["position"] = {**position(trainer), "batch_size": batch}
        if self._validation_due:
            validate_again(checkpoint)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        data, place = data_of(trainer), checkpoint.get("position")
        if place is None or not hasattr(data, "set_position"):
            return
        refuse_another_batch(place, data)
        data.set_position(place["epoch"], place["batches_done"])

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        seed_step(
            (self.seed, trainer.current_epoch, batch_idx, trainer.global_rank), pl_module.device
        )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (
            self.every_minutes is None or trainer.is_last_batch
        ):  # there, what follows the epoch saves
            return
        due = time.monotonic() - self._saved > 60 * self.every_minutes
        if agreed(trainer, due, batch_idx) and not within_accumulation(trainer, batch_idx):
            self.save(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._validation_due = True
            self.save(trainer)
            self._validation_due = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._saved = time.monotonic()


def refuse_another_batch(place: dict[str, Any], data: Any) -> None:
    """An epoch that is half done goes on in batches of the same size."""
    batch = getattr(data, "batch_size", None)
    if place["batches_done"] and place["batch_size"] != batch:
        raise PoseError(
            f"The run stopped within an epoch of batches of {place['batch_size']}, it cannot go on with {batch}: "
            f"keep schedule.batch_size={place['batch_size']}."
        )


def seed_step(key: tuple[int, ...], device: torch.device) -> None:
    """All generators of this process from one key; a hash of integers is the same in every Python process."""
    mixed = hash(key) & (2**63 - 1)
    random.seed(mixed)
    np.random.seed(mixed & (2**32 - 1))
    torch.default_generator.manual_seed(mixed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(mixed)


def agreed(trainer: Trainer, flag: bool, batch_idx: int | None = None) -> bool:
    """Whether any rank says so; with several ranks, asked every few steps only."""
    if trainer.world_size == 1:
        return flag
    if batch_idx is not None and (batch_idx + 1) % AGREE_EVERY:
        return False
    return trainer.strategy.reduce_boolean_decision(flag, all=False)


def within_accumulation(trainer: Trainer, batch_idx: int) -> bool:
    """Gradients of half an accumulated batch are in no checkpoint."""
    return bool((batch_idx + 1) % trainer.accumulate_grad_batches)
