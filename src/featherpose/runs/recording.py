"""A run that is being recorded: `run.json` from its first moment to its last, and a heartbeat meanwhile."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import socket
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from typing_extensions import Self

from featherpose import __version__
from featherpose.errors import BrokenOff, known
from featherpose.files import remove_leftovers, write_atomically
from featherpose.runs.heartbeat import Heartbeat, machine
from featherpose.runs.record import FAILED, FINISHED, INTERRUPTED, RUNNING, Git, RunRecord

PACKAGES = (
    "torch",
    "lightning",
    "hydra-core",
    "torchmetrics",
    "albumentations",
    "numpy",
    "opencv-python-headless",
)


CHANGES = "changes.diff"
_MOST_CHANGES = 2**20  # characters; more is no change but another project


class Recording:
    """A context manager around the whole run. A resumed run keeps its history.

    Args:
        folder: of the run.
        writes: whether this process is the one of the run that writes.
        first: fields that are known beforehand.
    """

    def __init__(self, folder: str | Path, writes: bool = True, **first: Any) -> None:
        self.folder = Path(folder)
        self.writes = writes
        self.first = first
        earlier = RunRecord.read(self.folder)
        self.record = earlier or RunRecord()
        if earlier is not None:
            self.record.resumed = [*earlier.resumed, now()]
        self.around = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.writes:
            remove_leftovers(self.folder)
            self.around.enter_context(Heartbeat(self.folder))
            keep_changes(self.folder / CHANGES)
        self.update(
            **self.first,
            state=RUNNING,
            error=None,
            exit_code=None,
            started=self.record.started or now(),
            finished=None,
            command=shlex.join([Path(sys.executable).name, *sys.argv]),
            git=git_state(),
            versions=versions(),
            host=socket.gethostname(),
            platform=platform.platform(),
            pid=os.getpid(),
            machine=machine(),
        )
        return self

    def update(self, **changes: Any) -> None:
        self.record.update(**changes)
        if self.writes:
            self.record.write(self.folder)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with self.around:
            if error is None:
                self.update(state=FINISHED, exit_code=0, finished=now())
                return
            code = 130 if isinstance(error, KeyboardInterrupt) else 1
            if isinstance(error, SystemExit):
                code = error.code if isinstance(error.code, int) else 1
            state = INTERRUPTED if code in (130, 143) else FAILED
            state = error.state if isinstance(error, BrokenOff) else state
            text = None if state == INTERRUPTED else in_words(error)
            with contextlib.suppress(OSError):  # on a full disk the run's own error says more
                self.update(state=state, error=text, exit_code=code, finished=now())


def in_words(error: BaseException) -> str:
    """The sentence that the terminal shows, or the error's name and text."""
    found = known(error)
    return found[1] if found else f"{type(error).__name__}: {error}"


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def git_state() -> Git:
    """The commit of the code that runs, and whether the tree differs from it."""
    try:
        commit = _git("rev-parse", "HEAD").strip() or None
        return Git(commit, bool(_git("status", "--porcelain", "-uno")))
    except (OSError, subprocess.SubprocessError):
        return Git()


def keep_changes(path: Path) -> None:
    """What the tracked files have beyond the commit, so that the run can be repeated; of a resumed run the first."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        changes = "" if path.is_file() else _git("diff", "HEAD", "--binary")
        if 0 < len(changes) <= _MOST_CHANGES:
            write_atomically(path, changes)


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=20,
        check=False,
    )
    return done.stdout if done.returncode == 0 else ""


def versions() -> dict[str, str]:
    found = {"featherpose": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
