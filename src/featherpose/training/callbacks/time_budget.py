"""A run that ends by the clock: on a machine that is lent for minutes, nobody knows how many steps fit."""

from __future__ import annotations

import math
import time
from typing import Any

import psutil
import torch
from lightning import Callback, LightningModule, Trainer

from featherpose.errors import PoseError

SHAPES = ("cosine", "linear", "constant")


class TimeBudget(Callback):
    """Spends so many seconds, and lets the learning rate follow the share of them that is gone.

    No steps are counted ahead: whatever the machine's speed, and however long validations take, the rate has come
    down to `final` of itself when the time is over. The schedule's own milestones are not read (its warm-up is
    `warmup` here), and gamma's phases are shares of the same time. At the end comes one more validation, whatever
    `trainer.check_val_every_n_epoch` says, so that the last weights can become best.ckpt.

    A run that goes on from a checkpoint takes the share from there, and spends `seconds` of its own on the rest.

    Args:
        seconds: of the whole process, from its start on: imports, decoding and all.
        reserve: how many of them are left for the last validation, the best checkpoint's score and its files.
        rate: cosine, linear or constant.
        warmup: share of the time in which the rate rises from nothing.
        final: what is left of the rate at the end.
    """

    def __init__(
        self,
        seconds: float,
        reserve: float = 30.0,
        rate: str = "cosine",
        warmup: float = 0.02,
        final: float = 0.0,
    ) -> None:
        if not 0 < reserve < seconds:
            raise PoseError(
                f"The time budget of {seconds:g} seconds has to be longer than its reserve, {reserve:g}."
            )
        if rate not in SHAPES:
            raise PoseError(f"There is no rate {rate!r} by the clock; known: {', '.join(SHAPES)}.")
        if not (0 <= warmup < 1 and 0 <= final <= 1):
            raise PoseError(
                f"The time budget's warmup ({warmup:g}) and final ({final:g}) are shares, 0 to 1."
            )
        self.seconds = float(seconds)
        self.reserve = float(reserve)
        self.rate = rate
        self.warmup = float(warmup)
        self.final = float(final)
        self.before = 0.0  # share that was gone when this process began to train
        self.agreed = 0.0
        self._began: float | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"share": self._gone()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.before = self.agreed = float(state_dict["share"])

    def share(self) -> float:
        """How much of the time for training was gone at this step, 0 to 1; the same in all processes of the run."""
        return self.agreed

    def _agree(self, trainer: Trainer) -> None:
        """Each process has a clock and a start of its own, and rates that differ would part their weights for good."""
        self.agreed = self._gone()
        if trainer.world_size > 1:
            mine = torch.tensor(self.agreed, device=trainer.strategy.root_device)
            self.agreed = float(trainer.strategy.reduce(mine, reduce_op="mean"))

    def _gone(self) -> float:
        if self._began is None:
            return self.before
        spent = (now() - self._began) / max(self._end - self._began, 1e-6)
        return min(1.0, self.before + (1 - self.before) * spent)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = now()
        self._end = process_began() + self.seconds - self.reserve
        if self._end <= self._began:
            raise PoseError(
                f"Nothing is left of {self.seconds:g} seconds (reserve {self.reserve:g}) when training begins: "
                "give callbacks.time_budget.seconds more."
            )

        for optimiser in trainer.optimizers:
            for group in optimiser.param_groups:
                group.setdefault("initial_lr", group["lr"])  # torch's schedulers set it too

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._agree(trainer)
        factor = rate_factor(self.agreed, self.rate, self.warmup, self.final)
        for optimiser in trainer.optimizers:
            for group in optimiser.param_groups:
                group["lr"] = group["initial_lr"] * factor

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking and trainer.is_global_zero:
            score = float(trainer.callback_metrics.get("val/score", math.nan))
            print(
                f"{self._gone():4.0%} of the time, step {trainer.global_step:,}, "
                f"epoch {trainer.current_epoch}: val/score {score:.4f}",
                flush=True,
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._agree(trainer)
        if self.agreed >= 1.0:
            trainer.should_stop = True
            trainer.check_val_every_n_epoch = 1


def now() -> float:
    return time.time()


def process_began() -> float:
    return psutil.Process().create_time()


def rate_factor(share: float, shape: str, warmup: float = 0.0, final: float = 0.0) -> float:
    """What the learning rate is multiplied by when `share` of the time is gone."""
    rising = min(1.0, share / warmup) if warmup > 0 else 1.0
    gone = max(0.0, share - warmup) / (1 - warmup)
    falling = {"cosine": (1 + math.cos(math.pi * gone)) / 2, "linear": 1 - gone, "constant": 1.0}
    return max(rising, 1e-3) * (final + (1 - final) * falling[shape])
