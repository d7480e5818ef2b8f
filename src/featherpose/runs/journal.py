"""The file in which Optuna keeps a search, written by many processes, any of which may be killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from featherpose.files import locked


class Journal(JournalFileBackend):
    """Optuna's file, under a lock that the system frees when its holder dies.

    Optuna's own lock stays after a kill, and half a line that is written on would damage all that follows.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with locked(self.path.with_name(f".{self.path.name}.lock")):
            mend(self.path)
            super().append_logs(logs)


def storage(path: Path) -> JournalStorage:
    return JournalStorage(Journal(path))


def mend(path: Path) -> None:
    """A process that was killed while it wrote leaves Optuna's lock, and perhaps half a line."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    written = path.read_bytes()
    whole = written.rfind(b"\n") + 1
    if whole < len(written):
        os.truncate(path, whole)
