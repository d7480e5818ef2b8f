"""LAPX's three phases of its Non-Local modules (section 3.3): frozen, let in along a line, then free."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import nn
from torch.optim import Optimizer

from featherpose.errors import PoseError
from featherpose.models.layers import NonLocal
from featherpose.training.callbacks.time_budget import TimeBudget
from featherpose.training.handed_over import callbacks_of
from featherpose.training.schedules import Gamma, Phase, gamma_at, phase


class GammaWarmup(Callback):
    """Sets each Non-Local module's `gamma` by the epoch until it may be learned.

    frozen: gamma is 0 and nothing in the module learns. ramp: gamma rises by a line from 0 to `target`, the module's
    weights learn. free: gamma starts from `target` and is learned too.

    What must not learn has its gradient dropped (`grad = None`) before each step, so the optimiser passes it over and
    keeps no moments for it. `requires_grad` stays as it is: under DDP the gradient buckets are made once, and a
    parameter that joins later is averaged over no rank but its own.

    A network that starts from trained weights (`init`) brings its gamma along: it is free from the first step, as
    frozen modules would take away what the other layers rely on. `restart` goes through the phases all the same.

    Args:
        target: gamma at the end of the ramp.
        freeze_epochs: how long the modules are frozen.
        ramp_epochs: how long the ramp takes.
        unit: "epochs", or "share" where both are shares of the whole run (of its time, where it ends by the clock).
        restart: whether a trained gamma goes through the phases too.
    """

    def __init__(
        self,
        target: float,
        freeze_epochs: float,
        ramp_epochs: float,
        unit: str = "epochs",
        restart: bool = False,
    ) -> None:
        self.gamma = Gamma(target, freeze_epochs, ramp_epochs, unit)
        self.modules: dict[str, NonLocal] = {}
        self.freeze, self.ramp = float(self.gamma.freeze), float(self.gamma.ramp)
        self.phase: Phase | None = None
        self.restart = restart
        self.released = False
        self.kept = False  # the gamma that came along
        self.clock: TimeBudget | None = None  # where there is one, it says how far the run is

    def state_dict(self) -> dict[str, Any]:
        return {"released": self.released, "kept": self.kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.released = bool(state_dict["released"])
        self.kept = bool(state_dict.get("kept", False))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Before a checkpoint is read: here only weights that the run starts from have a gamma that is not 0."""
        if stage == "fit" and not self.restart:
            modules = non_local_stages(pl_module).values()
            self.kept = self.released = any(bool(module.gamma.any()) for module in modules)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.modules = non_local_stages(pl_module)
        self.clock = next(iter(callbacks_of(trainer, TimeBudget)), None)
        if self.modules and self.clock and self.gamma.unit != "share":
            raise PoseError(
                "A run by the clock does not know its epochs: set schedule.gamma.unit=share."
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # the length is known only now where the run is given in steps
        epochs = 1.0 if self.clock else run_length(trainer)
        self.freeze, self.ramp = self.gamma.in_epochs(epochs)
        if self.kept:
            self.freeze = self.ramp = 0.0
        last = 1.0 if self.clock else epochs - 1
        if self.modules and phase(last, self.freeze, self.ramp) != "free":
            hint = " (schedule.gamma.unit=share makes the phases follow the run's length)"
            rank_zero_warn(
                f"gamma is never learned: it is free from epoch {math.ceil(self.freeze + self.ramp)}, the run ends "
                f"after {epochs:g}{hint if self.gamma.unit == 'epochs' else ''}"
            )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = self._place(trainer)
        self.phase = phase(epoch, self.freeze, self.ramp)
        gamma = gamma_at(epoch, self.freeze, self.ramp, self.gamma.target)
        if gamma is None and not self.released:
            gamma, self.released = self.gamma.target, True
        if gamma is not None:
            self._set(gamma)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if self.phase is None:  # a run that goes on in mid-epoch
            self.phase = phase(self._place(trainer), self.freeze, self.ramp)
        if self.phase == "free":
            return
        for module in self.modules.values():
            for parameter in module.parameters() if self.phase == "frozen" else [module.gamma]:
                parameter.grad = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for stage, module in self.modules.items():
            pl_module.log(f"gamma/{stage}", module.gamma.detach().squeeze().float())

    def _place(self, trainer: Trainer) -> float:
        """Epochs that are done; under a time budget the share of the time that is gone."""
        return self.clock.share() if self.clock else float(trainer.current_epoch)

    def _set(self, gamma: float) -> None:
        with torch.no_grad():
            for module in self.modules.values():
                module.gamma.fill_(gamma)


def non_local_stages(network: nn.Module) -> dict[str, NonLocal]:
    """All Non-Local modules by the stage that holds them: the first number in a module's name counts the stages."""
    found: dict[str, NonLocal] = {}
    for name, module in network.named_modules():
        if isinstance(module, NonLocal):
            numbers = [int(word) for word in name.split(".") if word.isdigit()]
            stage = f"stage{numbers[0] + 1 if numbers else len(found) + 1}"
            found[stage if stage not in found else f"{stage}_{len(found) + 1}"] = module
    return found


def run_length(trainer: Trainer) -> float:
    """How many epochs the run has, also where it is given in steps."""
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        return float(trainer.max_epochs)
    if trainer.max_steps > 0 and math.isfinite(trainer.num_training_batches):
        steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        return math.ceil(trainer.max_steps / max(1, steps))
    return math.inf
