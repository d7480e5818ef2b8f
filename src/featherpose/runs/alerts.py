"""An alert: a line in `alerts.txt` of a folder, and a command of the user's choice."""

from __future__ import annotations

import contextlib
import os
import subprocess
from datetime import datetime, timezone
from pathlib import Path

from featherpose.console import console

FILE = "alerts.txt"
_PATIENCE = 30.0  # seconds that a command may take


def tell(folder: Path, sentence: str, command: str | None = None) -> None:
    """Nothing that goes wrong here may hide what is told.

    Args:
        folder: of the run, or of the sweep.
        sentence: what has happened.
        command: run by the shell with `ALERT` (the sentence) and `RUN` (the folder) in its environment.
    """
    moment = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with contextlib.suppress(OSError), (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(f"{moment} {sentence}\n")
    if command:
        _run(command, sentence, folder)


def _run(command: str, sentence: str, folder: Path) -> None:
    environment = {**os.environ, "ALERT": sentence, "RUN": str(folder)}
    try:
        done = subprocess.run(command, shell=True, env=environment, timeout=_PATIENCE, check=False)
        failed = f"exit code {done.returncode}" if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        failed = str(error)
    if failed:
        console.print(f"[yellow]warning[/]: callbacks.alerts.command failed: {failed}")
