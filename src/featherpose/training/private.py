"""What has to be read inside Lightning and torch, because neither says it in public; a test guards each name."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher


def position(trainer: Trainer) -> dict[str, int]:
    """The next batch to train on: its epoch, and how many batches of that epoch are done."""
    loop = trainer.fit_loop
    batches = int(loop.epoch_loop.batch_progress.state_dict()["current"]["processed"])
    started = int(loop.epoch_progress.state_dict()["current"]["started"])
    if batches >= trainer.num_training_batches:
        return {"epoch": started, "batches_done": 0}
    return {"epoch": max(0, started - 1), "batches_done": batches}


def validate_again(checkpoint: dict[str, Any]) -> None:
    """As if it was written within the first validation batch: Lightning takes a validation without one for done."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    progress["total"].update(ready=1, started=1, processed=0, completed=0)
    progress["current"].update(ready=0, started=0, processed=0, completed=0)


def starts_ranks_by_command(trainer: Trainer) -> bool:
    """Whether the other ranks are this process's command line again."""
    return isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher)


def cpu_multiplies_bfloat16() -> bool:
    """Natively, so that autocast is faster than float32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
