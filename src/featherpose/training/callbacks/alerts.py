"""Says at once that a run ended badly: on W&B, in the run's folder, and by a command of the user's choice."""

from __future__ import annotations

import contextlib
import os
import subprocess
from datetime import datetime, timezone
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from featherpose.console import console
from featherpose.errors import known

FILE = "alerts.txt"
_PATIENCE = 30.0  # seconds that a command may take


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
        """Nothing that goes wrong here may hide how the run itself ended."""
        moment = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with contextlib.suppress(OSError), (self.folder / FILE).open("a", encoding="utf-8") as file:
            file.write(f"{moment} {sentence}\n")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and not getattr(logger.experiment, "offline", True):
                with contextlib.suppress(Exception):
                    logger.experiment.alert(title="featherpose", text=sentence)
        self._run_command(sentence)

    def _run_command(self, sentence: str) -> None:
        if not self.command:
            return
        environment = {**os.environ, "ALERT": sentence, "RUN": str(self.folder)}
        try:
            done = subprocess.run(
                self.command, shell=True, env=environment, timeout=_PATIENCE, check=False
            )
            failed = f"exit code {done.returncode}" if done.returncode else ""
        except (OSError, subprocess.SubprocessError) as error:
            failed = str(error)
        if failed:
            console.print(f"[yellow]warning[/]: callbacks.alerts.command failed: {failed}")

    def _place(self, trainer: Trainer) -> str:
        return f"{self.folder.name}, epoch {trainer.current_epoch}, step {trainer.global_step}"


def _in_words(error: BaseException) -> str:
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return "stopped before its end"
    found = known(error)
    return found[1] if found else f"{type(error).__name__}: {error}"
