"""The learning rate of torch's own schedulers, as a pure function of the epoch or step."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import SGD, lr_scheduler

from featherpose.errors import PoseError

HOME = "torch.optim.lr_scheduler."
# They read a score, or are made of functions or of other schedulers
NOT_NUMBERS = (
    "ReduceLROnPlateau",
    "LambdaLR",
    "MultiplicativeLR",
    "SequentialLR",
    "ChainedScheduler",
)


class TorchRate:
    """What one of torch's schedulers does to a rate, kept as a table that grows as far as it is asked.

    A table has no state to save, so a run that goes on has the very same rates, and a plot is drawn from it.

    Args:
        node: `_target_`, a scheduler of torch that needs only numbers, and these.
        first_rate: where it starts; the scheduler's own rates (`eta_min`, `max_lr`) are absolute, as in torch.
    """

    def __init__(self, node: Mapping[str, Any], first_rate: float) -> None:
        self.first_rate = first_rate
        self.optimiser = SGD([torch.zeros(1)], lr=first_rate, momentum=0.9)
        try:
            self.scheduler = _scheduler_of(node)(self.optimiser, **_numbers_of(node))
            self.optimiser.step()  # torch warns where a scheduler steps before it
            self.table = [self._rate()]
            self.factor(1)  # a word where a number should be is found by the first step only
        except (TypeError, ValueError, AttributeError) as error:
            raise PoseError(f"schedule.rate: {error}.") from error

    def factor(self, at: int) -> float:
        """What the first rate is multiplied by at epoch or step `at`."""
        while len(self.table) <= at:
            try:
                self.scheduler.step()
            except ValueError as error:  # one cycle has its number of steps
                raise PoseError(
                    f"schedule.rate is at its end after {len(self.table) - 1}, but the run goes on: {error}."
                ) from error
            self.table.append(self._rate())
        return self.table[at]

    def _rate(self) -> float:
        return float(self.optimiser.param_groups[0]["lr"]) / self.first_rate


def _scheduler_of(node: Mapping[str, Any]) -> type[lr_scheduler.LRScheduler]:
    target = str(node.get("_target_"))
    name = target.removeprefix(HOME)
    found = getattr(lr_scheduler, name, None) if target.startswith(HOME) else None
    usable = inspect.isclass(found) and issubclass(found, lr_scheduler.LRScheduler)
    if not usable or name in NOT_NUMBERS:
        raise PoseError(
            f"schedule.rate is {target!r}; it has to be one of {HOME[:-1]} that needs only numbers, "
            "such as CosineAnnealingLR."
        )
    return found


def _numbers_of(node: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
