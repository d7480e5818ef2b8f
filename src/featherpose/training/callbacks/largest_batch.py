"""How many people fit into a GPU's memory at once, tried with the run's own network, loss and precision."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from featherpose.settings import whole
from featherpose.training.module import Batch, PoseModule

STEP = 8  # it is found to this many people


class LargestBatch(Callback):
    """Says it at the run's end, on a GPU; a CPU's memory is not filled to find out.

    Args:
        most: people; more are not tried.
    """

    devices = ("cuda",)

    def __init__(self, most: int = 4096) -> None:
        self.most = whole("callbacks.largest_batch.most", most, least=STEP)
        self.batch: Batch = {}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        self.batch = batch

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, PoseModule)
        if pl_module.device.type not in self.devices or not self.batch:
            return
        pl_module.network.train()
        found = largest(lambda people: fits(trainer, pl_module, self.batch, people), self.most)
        say = f"{found} people" if found < self.most else f"{found} people or more"
        print(
            f"The largest batch that fits into this GPU's memory is {say}: schedule.batch_size={found}. A little less "
            "leaves room for validation and for what else uses it."
            if found
            else f"Not even {STEP} people fit into this GPU's memory: take a smaller data.input_size."
        )


def largest(fitting: Callable[[int], bool], most: int) -> int:
    """The largest multiple of STEP, up to `most`, that fits: doubled until one does not, then halved in between."""
    good, steps, bad = 0, 1, most // STEP + 1
    while steps < bad and fitting(STEP * steps):
        good, steps = steps, 2 * steps
    bad = min(steps, bad)
    while bad - good > 1:
        steps = (good + bad) // 2
        good, bad = (steps, bad) if fitting(STEP * steps) else (good, steps)
    return STEP * good


def fits(trainer: Trainer, module: PoseModule, batch: Batch, people: int) -> bool:
    """Whether a step forward and back has room; the weights stay as they are."""
    try:
        with trainer.precision_plugin.train_step_context():
            loss = module.training_step(of_size(batch, people), 1)
        loss.backward()
        return True
    except torch.OutOfMemoryError:
        return False
    finally:
        module.step_losses.clear()
        module.zero_grad(set_to_none=True)
        gc.collect()  # what an error's frames still hold
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def of_size(batch: Batch, people: int) -> dict[str, Tensor]:
    """The batch's people, again and again."""
    rows = torch.arange(people, device=batch["image"].device) % len(batch["image"])
    return {name: value[rows] for name, value in batch.items()}
