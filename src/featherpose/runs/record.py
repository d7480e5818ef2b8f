"""The run's own plain files, whatever logger is used: config.yaml and run.json."""

from __future__ import annotations

import json
import os
import platform
import shlex
import socket
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from typing_extensions import Self

from featherpose import __version__
from featherpose.files import read_record, write_atomically

PACKAGES = (
    "torch",
    "lightning",
    "hydra-core",
    "torchmetrics",
    "albumentations",
    "numpy",
    "opencv-python-headless",
)


class RunRecord:
    """`run.json` of a run folder: what was run, on what, how it ended. A context manager around the whole run."""

    def __init__(self, folder: str | Path, **first: Any) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "run.json"
        self.writes = (
            getattr(rank_zero_only, "rank", 0) in (None, 0)
            and os.environ.get("LOCAL_RANK", "0") == "0"
        )
        self.fields = read_record(self.folder)
        if self.fields:  # a resumed run keeps its history
            self.fields["resumed"] = [*self.fields.get("resumed", []), now()]
        self.first = first

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        started = self.fields.get("started", now())
        self.update(
            **self.first,
            state="running",
            error=None,
            exit_code=None,
            started=started,
            finished=None,
        )
        self.update(
            command=shlex.join([Path(sys.executable).name, *sys.argv]),
            git=git_state(),
            versions=versions(),
        )
        self.update(host=socket.gethostname(), platform=platform.platform(), pid=os.getpid())
        return self

    def update(self, **fields: Any) -> None:
        self.fields.update(fields)
        if self.writes:
            write_atomically(self.path, json.dumps(self.fields, indent=2, default=str) + "\n")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.update(state="finished", exit_code=0, finished=now())
            return
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 1
        state = "interrupted" if code in (130, 143) else "failed"
        text = None if state == "interrupted" else f"{type(error).__name__}: {error}"
        self.update(state=state, error=text, exit_code=code, finished=now())


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def git_state() -> dict[str, Any]:
    """The commit of the code that runs, and whether the tree differs from it."""

    def git(*words: str) -> str:
        place = Path(__file__).parent
        done = subprocess.run(
            ["git", *words], cwd=place, capture_output=True, text=True, timeout=20, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        return {
            "commit": git("rev-parse", "HEAD") or None,
            "dirty": bool(git("status", "--porcelain", "-uno")),
        }
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def versions() -> dict[str, str]:
    found = {"featherpose": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
