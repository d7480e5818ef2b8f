"""How a sweep stands: which jobs are done, running, failed, or never started."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import yaml

from featherpose.errors import PoseError
from featherpose.place import command
from featherpose.runs.folder import DONE, Run
from featherpose.runs.record import BROKEN_OFF

JOURNAL = "search.journal"  # of a sweep whose jobs a search proposes
STUDY = "search"  # the name that it has in there
ANSWER = "answer.md"  # of a search that came to its end


@dataclass(frozen=True)
class Job:
    """One job of a sweep: what it should run, and the run folder if there is one."""

    number: int
    overrides: tuple[str, ...]
    run: Run | None

    @property
    def state(self) -> str:
        if self.run is None:
            return "missing"
        return "damaged" if self.damage is not None else self.run.state

    @property
    def damage(self) -> str | None:
        """Why its folder can't be read, in a sentence."""
        return self.run.damage if self.run else None


def jobs(sweep: str | Path) -> list[Job]:
    """All jobs that a sweep folder's multirun.yaml asks for, and any other run that lies in it."""
    folder = Path(sweep)
    runs = {_number(path.parent): Run(path.parent) for path in sorted(folder.glob("*/run.json"))}
    asked = _planned(folder) or _asked(_multirun(folder))
    if not asked and not runs:
        raise PoseError(f"{folder} is not a sweep folder: it holds neither multirun.yaml nor runs.")
    numbers = sorted(set(asked) | set(runs))
    found = []
    for number in numbers:
        run = runs.get(number)
        found.append(
            Job(
                number,
                asked.get(number) or tuple(run.overrides if run and run.damage is None else ()),
                run,
            )
        )
    return found


class HasOverrides(Protocol):
    @property
    def overrides(self) -> Sequence[str]: ...


def own_overrides(job: HasOverrides, found: Sequence[HasOverrides]) -> str:
    """Those that not every job of the sweep has."""
    common = set.intersection(*(set(each.overrides) for each in found)) if len(found) > 1 else set()
    return " ".join(each for each in job.overrides if each not in common)


def counts(found: Iterable[Job]) -> dict[str, int]:
    """How many jobs are in each state, done first."""
    states = [job.state for job in found]
    order = [DONE, *BROKEN_OFF, "running", "failed", "interrupted", "died", "damaged", "missing"]
    return {
        state: states.count(state)
        for state in [*order, *sorted(set(states) - set(order))]
        if state in states
    }


def to_go_on(sweep: str | Path) -> list[str]:
    """The command lines that run what did not finish and is not running: the sweep itself where it can be taken up."""
    folder = Path(sweep)
    waiting = [job for job in jobs(folder) if job.state not in (DONE, *BROKEN_OFF, "running")]
    given = _multirun(folder).get("hydra", {}).get("overrides") or {}
    task = given.get("task") or []
    hydra = [each for each in given.get("hydra") or [] if not each.startswith("hydra.mode=")]
    searching = (folder / JOURNAL).is_file() and not (folder / ANSWER).is_file()
    if searching or (waiting and task and (folder / "sweep.json").is_file()):
        return [
            _command(
                "-m",
                *hydra,
                *[o for o in task if not o.startswith(("sweep.resume=", "sweep.force="))],
                f"sweep.resume={folder}",
            )
        ]
    return [_command(*job.overrides) for job in waiting]


def _command(*words: str) -> str:
    return " ".join([command("train"), *map(shlex.quote, words)])


def _multirun(folder: Path) -> dict[str, Any]:
    path = folder / "multirun.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.is_file() else {}


def _planned(folder: Path) -> dict[int, tuple[str, ...]]:
    """What the launcher of one process per job has planned so far."""
    path = folder / "sweep.json"
    if not path.is_file():
        return {}
    return {
        job["number"]: tuple(job["overrides"])
        for job in json.loads(path.read_text(encoding="utf-8"))["jobs"]
    }


def _asked(document: dict[str, Any]) -> dict[int, tuple[str, ...]]:
    """The grid that Hydra's own sweeper makes of its overrides; other sweepers decide as they go."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    hydra = document.get("hydra", {})
    if not str((hydra.get("sweeper") or {}).get("_target_", "")).endswith("BasicSweeper"):
        return {}
    asked = list((hydra.get("overrides") or {}).get("task") or [])
    asked += [
        f"{key}={value}"
        for key, value in ((hydra.get("sweeper") or {}).get("params") or {}).items()
    ]
    axes: list[list[str]] = []
    for override in OverridesParser.create().parse_overrides(asked):
        key = override.get_key_element()
        sweeps = override.is_sweep_override()
        values = (
            override.sweep_string_iterator() if sweeps else [override.get_value_element_as_str()]
        )
        axes.append([f"{key}={value}" for value in values])
    return dict(enumerate(product(*axes)))


def _number(folder: Path) -> int:
    head = folder.name.partition("_")[0]
    return int(head) if head.isdigit() else -1


def newest_sweep(root: Path) -> Path:
    """The sweep that was touched last below a folder of runs."""
    folders = sorted((root / "sweeps").glob("*/"), key=lambda folder: folder.stat().st_mtime)
    if not folders:
        raise PoseError(f"There are no sweeps in {root / 'sweeps'}.")
    return folders[-1]
