"""A run folder as people ask about it: what was run, how it ended, its curves and its predictions."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from featherpose.errors import PoseError
from featherpose.skeletons import Skeleton, skeleton_of
from featherpose.sweeps.job import runs_elsewhere

DONE = "finished"


@dataclass(frozen=True)
class Run:
    """One run folder, read lazily and never written."""

    folder: Path

    def __str__(self) -> str:
        return self.name

    @cached_property
    def record(self) -> dict[str, Any]:
        """run.json."""
        try:
            return json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PoseError(f"{self.folder} is not a run folder: it has no run.json.") from None
        except json.JSONDecodeError as error:
            raise PoseError(f"{self.folder / 'run.json'} cannot be read: {error}.") from error

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config."""
        path = self.folder / "config.yaml"
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.is_file() else {}

    @cached_property
    def overrides(self) -> list[str]:
        """What was written on the command line."""
        path = self.folder / ".hydra" / "overrides.yaml"
        return yaml.safe_load(path.read_text(encoding="utf-8")) or [] if path.is_file() else []

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """metrics.csv: one row per epoch."""
        path = self.folder / "metrics.csv"
        if not path.is_file() or not path.stat().st_size:
            return pd.DataFrame({"epoch": pd.Series(dtype=int)})
        return pd.read_csv(path)

    @cached_property
    def predictions(self) -> dict[str, np.ndarray]:
        """predictions/val.npz of the best checkpoint."""
        path = self.folder / "predictions" / "val.npz"
        if not path.is_file():
            raise PoseError(
                f"{self.name} has no predictions ({path}): it did not get as far as scoring its best checkpoint."
            )
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    @cached_property
    def skeleton(self) -> Skeleton:
        choice = self.config.get("data", {}).get("skeleton")
        if choice is None:
            raise PoseError(f"{self.folder / 'config.yaml'} says nothing about data.skeleton.")
        return skeleton_of(choice)

    @property
    def name(self) -> str:
        return self.record.get("name") or self.folder.name

    @property
    def state(self) -> str:
        """running, finished, failed or interrupted; `died` where the process that was running is gone."""
        state = self.record.get("state", "unknown")
        return "died" if state == "running" and not runs_elsewhere(self.record) else state

    @property
    def score(self) -> float | None:
        """The best checkpoint's main score, as evaluated at the end."""
        best = (self.record.get("best") or {}).get("score")
        return float(best) if best is not None else None

    @property
    def scores(self) -> dict[str, float]:
        """All final scores of the best checkpoint, by names without `val/`."""
        return {
            name.removeprefix("val/"): value
            for name, value in (self.record.get("scores") or {}).items()
        }

    @property
    def metric(self) -> str:
        """The main score's published name, e.g. PCKh@0.5."""
        plain = [
            n for n in self.scores if "/" not in n and n not in ("score", "loss", "epoch", "step")
        ]
        same = [n for n in plain if self.scores[n] == self.scores.get("score")]
        return (same or plain or ["score"])[0]

    @property
    def protocol(self) -> str:
        """Everything that a score depends on beside the network, in a few words; equal words mean comparable scores."""
        data, protocol = self.record.get("data") or {}, self.record.get("protocol") or {}
        size = data.get("input_size") or self.config.get("data", {}).get("input_size") or []
        flip = (
            "flip" + (" + shift" if protocol.get("shift") else "")
            if protocol.get("flip")
            else "no flip"
        )
        words = [
            str(data.get("name", "?")),
            f"{data.get('val', '?')} persons",
            "x".join(map(str, size)) or "?",
            flip,
            str(protocol.get("decoder", "?")),
            f"{str(protocol.get('boxes', '?')).replace('_', ' ')} boxes",
            f"{protocol.get('mean', '?')} mean",
        ]
        return ", ".join(words)

    def select(self, key: str, default: Any = None) -> Any:
        """A value of the config by its dotted name."""
        value: Any = self.config
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                return default
            value = value[part]
        return value


def find_runs(*places: str | Path) -> list[Run]:
    """All run folders at or below the places, oldest first."""
    found: dict[Path, Run] = {}
    for place in places:
        root = Path(place)
        if not root.exists():
            raise PoseError(f"There is no folder {root}.")
        for path in (
            [root / "run.json"] if (root / "run.json").is_file() else sorted(_records(root))
        ):
            found[path.parent.resolve()] = Run(path.parent)
    return sorted(
        found.values(), key=lambda run: (str(run.record.get("started")), _job_number(run.folder))
    )


def find_run(name: str | Path, root: str | Path = "runs") -> Run:
    """One run by its folder, by `last`, or by any part of its folder's or its own name that fits one run only."""
    if (Path(name) / "run.json").is_file():
        return Run(Path(name))
    if Path(name).is_dir():
        raise PoseError(f"{name} is not a run folder: it has no run.json.")
    runs = find_runs(root) if Path(root).exists() else []
    if str(name) == "last" and runs:
        return runs[-1]
    fitting = [run for run in runs if str(name) == run.name] or [
        run for run in runs if str(name) in str(run.folder) or str(name) in run.name
    ]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise PoseError(f"There is no run {name!r} below {root} ({len(runs)} runs there).")
    names = ", ".join(str(run.folder) for run in fitting[:4])
    raise PoseError(
        f"{name!r} fits {len(fitting)} runs: {names}{', …' if len(fitting) > 4 else ''}. Name one of the folders."
    )


def _records(root: Path) -> list[Path]:
    """run.json files, without walking into what runs hold."""
    found = []
    for folder, below, files in os.walk(root):
        if "run.json" in files:
            found.append(Path(folder) / "run.json")
            below.clear()
        else:
            below[:] = [
                name
                for name in below
                if name not in ("wandb", "tensorboard", "mlruns", "trackio", ".hydra")
            ]
    return found


def _job_number(folder: Path) -> int:
    head = folder.name.partition("_")[0]
    return int(head) if head.isdigit() else -1
