"""Where the run was validated last, so that weights which were trained after it get their score too."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer


class LastValidation(Callback):
    """Remembers the step of the last validation, over a resume too; -1: there was none."""

    def __init__(self) -> None:
        self.step = -1

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.step = int(state_dict["step"])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.step = trainer.global_step
