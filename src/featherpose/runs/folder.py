"""A run folder as people ask about it: what was run, how it ended, its curves and its predictions."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from featherpose import intervals
from featherpose.errors import PoseError
from featherpose.intervals import Evidence
from featherpose.place import command
from featherpose.runs import metrics_csv, score
from featherpose.runs.heartbeat import died
from featherpose.runs.record import FILE, RunRecord
from featherpose.runs.score import PREDICTIONS, Score
from featherpose.skeletons import Skeleton, skeleton_of

DONE = "finished"
# What training calls its folders: date, time, and the four digits that set two of the same second apart
_STAMP = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-([0-9a-f]{4})_")

_SHOWN = re.compile(r"(.+) \((.+)\)")  # how `names_apart` writes it
NEWEST = re.compile(r"last(?:-(\d+))?")


class NoRun(PoseError):
    """No run fits what was asked for."""


@dataclass(frozen=True)
class Run:
    """One run folder, read lazily and never written."""

    folder: Path

    def __str__(self) -> str:
        return self.name

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        score = "no score yet" if self.score is None else f"{self.metric} {self.score:.2f}"
        if self.own_score.interval:
            score += " [{:.2f}, {:.2f}]".format(*self.own_score.interval)
        lines = (score, self.protocol, epochs(self), str(self.folder))
        return "<br>".join([f"<b>{escape(self.name)}</b> {state_of(self)}", *map(escape, lines)])

    @cached_property
    def record(self) -> RunRecord:
        """run.json."""
        record = RunRecord.read(self.folder)
        if record is None:
            raise PoseError(f"{self.folder} is not a run folder: it has no run.json.")
        return record

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config."""
        return _yaml(self.folder / "config.yaml", dict) or {}

    @cached_property
    def overrides(self) -> list[str]:
        """What was written on the command line."""
        return _yaml(self.folder / ".hydra" / "overrides.yaml", list) or []

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """metrics.csv: one row per epoch."""
        rows = metrics_csv.read(self.folder / "metrics.csv")
        return pd.DataFrame(rows) if rows else pd.DataFrame({"epoch": pd.Series(dtype=int)})

    @cached_property
    def steps(self) -> pd.DataFrame:
        """steps.csv: one row in so many steps, `trainer.log_every_n_steps`; empty for runs made without it."""
        rows = metrics_csv.read(self.folder / "steps.csv", "step")
        return pd.DataFrame(rows) if rows else pd.DataFrame({"step": pd.Series(dtype=int)})

    @cached_property
    def damage(self) -> str | None:
        """What of the files that tables and reports need can't be read, in a sentence; None where all can."""
        try:
            _ = self.record, self.config, self.overrides, self.metrics, self.all_scores
        except PoseError as error:
            return str(error)
        return None

    @cached_property
    def predictions(self) -> dict[str, np.ndarray]:
        """`predictions/val.npz`, of the best checkpoint."""
        path = self.folder / PREDICTIONS
        if not path.is_file():
            raise PoseError(
                f"{self.name} has no predictions ({path}): it did not get as far as scoring its best checkpoint."
            )
        return _arrays(path)

    @cached_property
    def skeleton(self) -> Skeleton:
        choice = self.select("data.skeleton")
        if choice is None:
            raise PoseError(f"{self.folder / 'config.yaml'} says nothing about data.skeleton.")
        return skeleton_of(choice)

    @property
    def name(self) -> str:
        return self.record.name or self.folder.name

    @property
    def id(self) -> str:
        """A short word that `find_run` takes: `9a3f`, `9a3f/2` for a job of a sweep, else the folder's name."""
        own = _STAMP.match(self.folder.name)
        if own:
            return own[1]
        sweep, job = _STAMP.match(f"{self.folder.resolve().parent.name}_"), _job_number(self.folder)
        return f"{sweep[1]}/{job}" if sweep and job >= 0 else self.folder.name

    @property
    def seconds(self) -> float | None:
        """From the first start to the end; None while it runs."""
        first, last = self.record.started, self.record.finished
        if not first or not last:
            return None
        return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()

    @property
    def state(self) -> str:
        """running, finished, failed or interrupted; `died` where the process that was running is gone."""
        return self.record.state if self.silent is None else "died"

    @cached_property
    def silent(self) -> float | None:
        """How many seconds ago a run that died gave its last sign; None for all others."""
        return died(self.folder, self.record)

    @property
    def score(self) -> float | None:
        """The best checkpoint's main score, as evaluated at the end."""
        return self.record.best.score if self.record.best else None

    @property
    def scores(self) -> dict[str, float]:
        """All final scores of the best checkpoint, by names without `val/`."""
        return {name.removeprefix("val/"): value for name, value in self.record.scores.items()}

    @cached_property
    def own_score(self) -> Score:
        """What training itself measured of the best checkpoint."""
        return score.of_training(self.record, self.select("data.input_size"))

    @cached_property
    def all_scores(self) -> list[Score]:
        """The own score and those of later evaluations of the same checkpoint."""
        later = score.of_evaluations(self.folder)
        return [self.own_score, *(each for each in later if each.epoch == self.own_score.epoch)]

    def evidence(self, score: Score) -> Evidence | None:
        """What a score's interval was drawn from; None of runs that kept none."""
        return intervals.load(self.folder / score.evidence) if score.evidence else None

    def output_names(self, count: int) -> list[str]:
        """What each supervised output is: by the network's own words where the run has kept them."""
        named = self.record.network.outputs
        return named if len(named) == count else [f"stage {n}" for n in range(1, count + 1)]

    @property
    def metric(self) -> str:
        """The main score's published name, e.g. PCKh@0.5."""
        return self.own_score.metric

    @property
    def protocol(self) -> str:
        """All that the score depends on beside the network; equal words mean comparable scores."""
        return self.own_score.words

    def select(self, key: str, default: Any = None) -> Any:
        """A value of the config by its dotted name."""
        value: Any = self.config
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                return default
            value = value[part]
        return value


def epochs(run: Run) -> str:
    count = len(run.metrics)
    return f"{count} epoch{'s' if count != 1 else ''}"


def find_runs(*places: str | Path, left_out: list[str] | None = None) -> list[Run]:
    """All run folders at or below the places, oldest first.

    A damaged one is left out: `left_out` gets the sentence that says why, else it is a warning.
    """
    found: dict[Path, Run] = {}
    for place in places:
        root = Path(place)
        if not root.exists():
            raise PoseError(f"There is no folder {root}.")
        own = root / FILE
        for path in [own] if own.is_file() else sorted(_records(root)):
            found[path.parent.resolve()] = Run(path.parent)
    sound = []
    for run in found.values():
        if run.damage is None:
            sound.append(run)
        elif left_out is not None:
            left_out.append(run.damage)
        else:
            warnings.warn(f"left out: {run.damage}", stacklevel=2)
    return sorted(sound, key=lambda run: (str(run.record.started), _job_number(run.folder)))


def find_run(name: str | Path, root: str | Path = "runs") -> Run:
    """One run by its folder, its id, by any part of its folder's or its name that fits one run only, or by `last`.

    `last-1` is the one before the last, `last-2` the one before that.
    """
    if (Path(name) / FILE).is_file():
        return _sound(Run(Path(name)))
    if Path(name).is_dir():
        raise PoseError(f"{name} is not a run folder: it has no run.json.")
    left_out: list[str] = []
    runs = find_runs(root, left_out=left_out) if Path(root).exists() else []
    if (newest := NEWEST.fullmatch(str(name))) and runs:
        back = int(newest[1] or 0)
        if back >= len(runs):
            raise NoRun(f"There is no run {name}: {root} holds {len(runs)} runs.")
        return runs[-1 - back]
    fitting = [run for run in runs if str(name) in (run.name, run.id)] or [
        run for run in runs if str(name) in str(run.folder) or str(name) in run.name
    ]
    if not fitting and (shown := _SHOWN.fullmatch(str(name))):  # pasted from a table
        fitting = [run for run in runs if run.name.startswith(shown[1]) and _ends(run, shown[2])]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        damaged = [sentence for sentence in left_out if str(name) in sentence.partition(" ")[0]]
        if damaged:
            raise PoseError(damaged[0])
        raise NoRun(f"There is no run {name!r} below {root} ({len(runs)} runs there).")
    told = [run.id for run in fitting]
    if len(set(told)) < len(told):  # copies
        told = [str(run.folder) for run in fitting]
    raise PoseError(
        f"{name!r} fits {len(fitting)} runs: {', '.join(told[:4])}{', …' if len(told) > 4 else ''}. "
        f"Name one by its id, as `{command('runs list')}` has it, or by its folder."
    )


def _ends(run: Run, end: str) -> bool:
    return run.id == end or run.folder.resolve().as_posix().endswith(f"/{end}")


def _sound(run: Run) -> Run:
    if run.damage is not None:
        raise PoseError(run.damage)
    return run


def _yaml(path: Path, kind: type) -> Any:
    """A file of plain YAML that holds a mapping, or a list; None where there is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise PoseError(f"{path} can't be read ({reason:.200}).") from error
    if content is not None and not isinstance(content, kind):
        raise PoseError(f"{path} is {content!r:.40}, not the {kind.__name__} of a run.")
    return content


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {key: file[key] for key in file.files}
    except Exception as error:  # whatever zipfile, zlib and NumPy raise on a damaged file
        raise PoseError(f"{path} can't be read ({error}).") from error
    missing = {"index", "keypoints", "confidence", "joints", "visible"} - found.keys()
    if missing:
        raise PoseError(f"{path} has no {', '.join(sorted(missing))}.")
    return found


def _records(root: Path) -> list[Path]:
    """run.json files, without walking into what runs hold."""
    found = []
    for folder, below, files in os.walk(root):
        if FILE in files:
            found.append(Path(folder) / FILE)
            below.clear()
        else:
            below[:] = [
                name
                for name in below
                if name not in ("wandb", "tensorboard", "mlruns", "trackio", ".hydra")
            ]
    return found


def state_of(run: Run) -> str:
    """The state for people: one that died with its age."""
    return run.state if run.silent is None else f"{run.state} {age(run.silent)} ago"


def age(seconds: float) -> str:
    """In the largest unit of which it has two: 40 s, 12 min, 3 h, 5 days."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _job_number(folder: Path) -> int:
    head = folder.name.partition("_")[0]
    return int(head) if head.isdigit() else -1
