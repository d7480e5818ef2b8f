"""A command that was refused before it started leaves no folder behind that looks like a failed run."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from featherpose.errors import PoseError
from featherpose.runs.record import FILE, RunRecord
from featherpose.runs.recording import CHANGES

# What a run's first moments write, beside Hydra's own
_FIRST = {FILE, CHANGES, "config.yaml"}


def forget(folder: Path, verb: str) -> None:
    """Removes the folder where it holds nothing but what is written before the start.

    A job of a sweep keeps its folder: `runs status` says there why it failed. So does a run that has trained.
    """
    with contextlib.suppress(OSError, PoseError):
        names = {path.name for path in folder.iterdir()} - {".hydra", f"{verb}.log"}
        foreign = names - _FIRST or (names and FILE not in names)
        if foreign or (folder.parent / "multirun.yaml").exists() or _started(folder):
            return
        shutil.rmtree(folder / ".hydra", ignore_errors=True)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def _started(folder: Path) -> bool:
    """The device is noted once a run is ready to train."""
    record = RunRecord.read(folder)
    return record is not None and (record.device is not None or bool(record.resumed))
