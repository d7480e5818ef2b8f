"""`sweep.json`: which jobs a sweep has, where they lie and how they ended, so that it can be taken up again."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featherpose.errors import PoseError
from featherpose.files import locked, write_atomically

if TYPE_CHECKING:
    from featherpose.sweeps.job import Job


class SweepFile:
    """The jobs of one sweep folder; two jobs are the same where their overrides are, in whatever order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "sweep.json"
        self.jobs = self.written()
        self.own: set[tuple[str, ...]] = set()

    def written(self) -> dict[tuple[str, ...], dict[str, Any]]:
        if not self.path.is_file():
            return {}
        jobs = json.loads(self.path.read_text(encoding="utf-8"))["jobs"]
        return {
            _key(job["overrides"]): {**job, "folder": str(self.folder / job["folder"])}
            for job in jobs
        }

    def find(self, overrides: Sequence[str]) -> dict[str, Any] | None:
        return self.jobs.get(_key(overrides))

    def has(self, number: int) -> bool:
        return any(job["number"] == number for job in self.jobs.values())

    def next_number(self) -> int:
        return 1 + max((job["number"] for job in self.jobs.values()), default=-1)

    @staticmethod
    def state_of(known: dict[str, Any] | None) -> str:
        """What the file says; run.json, where there is one, overrides it."""
        state = (known or {}).get("state", "waiting")
        return "interrupted" if state == "running" else state

    def add(self, job: Job) -> None:
        self.own.add(_key(job.overrides))
        self.jobs[_key(job.overrides)] = {
            "number": job.number,
            "overrides": list(job.overrides),
            "folder": str(job.folder),
            "state": job.state,
            "exit_code": job.exit_code,
            "error": job.error,
        }

    def write(self) -> None:
        """With what other processes have written meanwhile: a search may have several."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):  # a file system without locks: one process then
                held.enter_context(locked(self.folder / ".sweep.lock"))
            self.jobs = {**self.written(), **{key: self.jobs[key] for key in self.own}}
            self._write()

    def _write(self) -> None:
        jobs = sorted(self.jobs.values(), key=lambda job: job["number"])
        jobs = [
            {**job, "folder": str(Path(job["folder"]).relative_to(self.folder))} for job in jobs
        ]
        write_atomically(self.path, json.dumps({"jobs": jobs}, indent=2) + "\n")


def earlier_sweep(folder: Path, wanted: Sequence[Sequence[str]], resume: object) -> Path:
    """The sweep to take up: the one named, this very folder, or the newest beside it that shares most jobs."""
    if not isinstance(resume, bool):
        named = Path(str(resume)).absolute()
        if not (named / "sweep.json").is_file():
            raise PoseError(f"sweep.resume={resume}: there is no sweep.json in that folder.")
        return named
    if (folder / "sweep.json").is_file():
        return folder
    keys = {_key(overrides) for overrides in wanted}
    found = [
        (len(keys & set(SweepFile(path.parent).jobs)), path)
        for path in folder.parent.glob("*/sweep.json")
    ]
    shared, _, path = max(
        ((n, path.stat().st_mtime, path) for n, path in found), default=(0, 0.0, folder)
    )
    if not shared:
        raise PoseError(
            f"sweep.resume=true: no sweep in {folder.parent} has any of these jobs; give the same overrides as then, "
            "or name its folder: sweep.resume=FOLDER."
        )
    _remove_empty(folder)
    return path.parent


def _remove_empty(folder: Path) -> None:
    """Hydra has made a folder for a new sweep already, with nothing but its config in it."""
    if folder.is_dir() and {entry.name for entry in folder.iterdir()} <= {"multirun.yaml"}:
        shutil.rmtree(folder)


def _key(overrides: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(overrides))
