"""Parts of a network that do not learn, for the whole run or up to an epoch."""

from __future__ import annotations

from collections.abc import Sequence

from lightning import Callback, LightningModule, Trainer
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from featherpose.settings import whole
from featherpose.training.groups import check_parts, is_of


class Freeze(Callback):
    """Keeps parts from learning; a function of the epoch alone, so a run that goes on needs no state of it.

    Gradients are dropped before each step (`grad = None`) as by the gamma warm-up, and for its reason: `requires_grad`
    that changes in mid-run lets DDP's ranks drift apart. The optimiser passes such parameters over, weight decay too.

    Args:
        parts: names or globs, `trunk` (all but the last layers) or `heads`.
        norms: batch norms of these parts keep their statistics too, and normalise by them.
        until: the epoch at which they thaw; None never.
    """

    def __init__(
        self, parts: Sequence[str] = (), norms: bool = False, until: int | None = None
    ) -> None:
        self.parts = tuple(parts)
        self.norms = norms
        self.until = None if until is None else whole("freeze.until", until, least=0)
        self.frozen = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_parts(pl_module.get_submodule("network"), self.parts, "freeze.parts")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._follow(trainer, pl_module)  # a run that goes on in mid-epoch has no start of it

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._follow(trainer, pl_module)

    def _follow(self, trainer: Trainer, pl_module: LightningModule) -> None:
        before = self.frozen
        self.frozen = bool(self.parts) and (
            self.until is None or trainer.current_epoch < self.until
        )
        if self.norms and (self.frozen or before):
            for name, module in pl_module.get_submodule("network").named_modules():
                if isinstance(module, _BatchNorm) and self._holds(name):
                    module.train(not self.frozen)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if self.frozen:
            for name, parameter in pl_module.get_submodule("network").named_parameters():
                if self._holds(name):
                    parameter.grad = None

    def _holds(self, name: str) -> bool:
        return any(is_of(name, part) for part in self.parts)
