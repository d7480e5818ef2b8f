"""How a sweep stands: which jobs are done, running, failed, or never started."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from featherpose.errors import PoseError
from featherpose.runs.folder import DONE, Run


@dataclass(frozen=True)
class Job:
    """One job of a sweep: what it should run, and the run folder if there is one."""

    number: int
    overrides: tuple[str, ...]
    run: Run | None

    @property
    def state(self) -> str:
        return "missing" if self.run is None else self.run.state


def jobs(sweep: str | Path) -> list[Job]:
    """All jobs that a sweep folder's multirun.yaml asks for, and any other run that lies in it."""
    folder = Path(sweep)
    whole = folder / "multirun.yaml"
    runs = {_number(path.parent): Run(path.parent) for path in sorted(folder.glob("*/run.json"))}
    if not whole.is_file() and not runs:
        raise PoseError(f"{folder} is not a sweep folder: it holds neither multirun.yaml nor runs.")
    asked = _asked(yaml.safe_load(whole.read_text(encoding="utf-8"))) if whole.is_file() else {}
    numbers = sorted(set(asked) | set(runs))
    found = []
    for number in numbers:
        run = runs.get(number)
        found.append(Job(number, asked.get(number) or tuple(run.overrides if run else ()), run))
    return found


def counts(found: Iterable[Job]) -> dict[str, int]:
    """How many jobs are in each state, done first."""
    states = [job.state for job in found]
    order = [DONE, "running", "failed", "interrupted", "died", "missing"]
    return {state: states.count(state) for state in [*order, *sorted(set(states) - set(order))] if state in states}


def to_repeat(found: Iterable[Job]) -> list[str]:
    """Command lines of the jobs that did not finish and are not running."""
    return [
        "python src/train.py " + " ".join(shlex.quote(o) for o in job.overrides)
        for job in found
        if job.state not in (DONE, "running")
    ]


def _asked(document: dict[str, Any]) -> dict[int, tuple[str, ...]]:
    """The grid that Hydra's own sweeper makes of its overrides; other sweepers decide as they go."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    hydra = document.get("hydra", {})
    if not str((hydra.get("sweeper") or {}).get("_target_", "")).endswith("BasicSweeper"):
        return {}
    asked = list((hydra.get("overrides") or {}).get("task") or [])
    asked += [f"{key}={value}" for key, value in ((hydra.get("sweeper") or {}).get("params") or {}).items()]
    axes: list[list[str]] = []
    for override in OverridesParser.create().parse_overrides(asked):
        key = override.get_key_element()
        sweeps = override.is_sweep_override()
        values = override.sweep_string_iterator() if sweeps else [override.get_value_element_as_str()]
        axes.append([f"{key}={value}" for value in values])
    return dict(enumerate(product(*axes)))


def _number(folder: Path) -> int:
    head = folder.name.partition("_")[0]
    return int(head) if head.isdigit() else -1
