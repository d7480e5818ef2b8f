"""A command that was refused before it started leaves no folder behind that looks like a failed run."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from featherpose.errors import PoseError


def forget(folder: Path, verb: str) -> None:
    """Removes the folder where it holds nothing but what is written before the start.

    A job of a sweep keeps its folder: `runs status` says there why it failed. So does a run that has trained.
    """
    with contextlib.suppress(OSError, PoseError):
        names = {path.name for path in folder.iterdir()} - {".hydra", f"{verb}.log"}
        if (folder.parent / "multirun.yaml").exists() or (names and not _only_begun(folder, names)):
            return
        shutil.rmtree(folder / ".hydra", ignore_errors=True)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def _only_begun(folder: Path, names: set[str]) -> bool:
    """Whether the files are those of a run's first moments: its device is noted once it is ready to train."""
    from featherpose.runs.record import FILE, RunRecord
    from featherpose.runs.recording import CHANGES

    record = RunRecord.read(folder)
    if record is None or names - {FILE, CHANGES, "config.yaml"}:
        return False
    return record.device is None and not record.resumed
