"""Says at once that a run ended badly: on W&B, in the run's folder, and by a command of the user's choice."""

from __future__ import annotations

import contextlib
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from featherpose.errors import known
from featherpose.runs import alerts


class Alerts(Callback):
    """A NaN, a loss that has run away, a job that was stopped, any other error: one line in `alerts.txt`.

    Where W&B is online it sends its own alert too. A process that is killed outright can say nothing: `runs status` and
    `runs watch` find it.

    Args:
        folder: of the run.
        command: run by the shell with `ALERT` (the sentence) and `RUN` (the folder) in its environment; null: none.
        finished: whether a run that ends well is told too.
    """

    def __init__(
        self, folder: str | Path, command: str | None = None, finished: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.command = command
        self.finished = finished

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        if trainer.is_global_zero:
            self.tell(trainer, f"{self._place(trainer)}: {_in_words(exception)}")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.finished and trainer.is_global_zero:
            self.tell(trainer, f"{self._place(trainer)}: trained to its end")

    def tell(self, trainer: Trainer, sentence: str) -> None:
        """In the folder and by the command, and on W&B where it is online."""
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and not getattr(logger.experiment, "offline", True):
                with contextlib.suppress(Exception):
                    logger.experiment.alert(title="featherpose", text=sentence)
        alerts.tell(self.folder, sentence, self.command)

    def _place(self, trainer: Trainer) -> str:
        return f"{self.folder.name}, epoch {trainer.current_epoch}, step {trainer.global_step}"


def _in_words(error: BaseException) -> str:
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return "stopped before its end"
    found = known(error)
    return found[1] if found else f"{type(error).__name__}: {error}"
