"""Runs as W&B has them: an offline run's directory, or a project on the server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from featherpose.errors import PoseError


@dataclass(frozen=True)
class OfflineRun:
    """What lies in `wandb/offline-run-*`: the logged rows, the config and how the run ended."""

    id: str
    name: str
    group: str | None
    tags: tuple[str, ...]
    config: dict[str, Any]
    history: pd.DataFrame
    summary: dict[str, Any]
    exit_code: int | None
    axes: dict[str, str]  # what each value is drawn against

    def by_epoch(self) -> pd.DataFrame:
        """One row per epoch, like metrics.csv: training and validation log their parts of it separately."""
        return self.history.groupby("epoch").last()


def read_offline(folder: str | Path) -> OfflineRun:
    """Reads a W&B run directory without network or key, by W&B's own `leet inspect`."""
    if not list(Path(folder).glob("run-*.wandb")):
        raise PoseError(f"{folder} is not a W&B run directory: it holds no run-*.wandb.")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PoseError(
            f"{folder} cannot be read by wandb {' '.join(command[3:5])}: {done.stderr.strip()[-300:]}"
        )
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    started = next((record["run"] for record in records if record["type"] == "run"), None)
    if started is None:
        raise PoseError(f"{folder} holds no run record yet.")
    rows = []
    summary = {}
    axes = {}
    exit_code = None
    for record in records:
        if record["type"] == "history":
            rows.append(record["history"]["item"])
        elif record["type"] == "summary":
            summary |= record["summary"].get("update", {})
        elif record["type"] == "metric":
            axes[record["metric"].get("name")] = record["metric"].get("step_metric")
        elif record["type"] == "exit":
            exit_code = int(record["exit"].get("exit_code", 0))
    config = {key: value for key, value in started["config"]["update"].items() if key != "_wandb"}
    return OfflineRun(
        id=started["run_id"],
        name=started["display_name"],
        group=started.get("run_group"),
        tags=tuple(started.get("tags", ())),
        config=config,
        history=pd.DataFrame(rows),
        summary=summary,
        exit_code=exit_code,
        axes=axes,
    )


def online_frame(
    project: str = "featherpose", entity: str | None = None, api: Any = None
) -> pd.DataFrame:
    """One row per run of a W&B project: name, state, group, score, summary. Needs a login and the network.

    Args:
        project: the W&B project.
        entity: the team; None takes the user's default.
        api: a `wandb.Api`; made if None.
    """
    if api is None:
        import wandb

        try:
            api = wandb.Api()
        except Exception as error:
            raise PoseError(
                f"W&B cannot be asked ({error}): log in with `wandb login`, or read the run folders."
            ) from error
    rows = []
    for run in api.runs(f"{entity}/{project}" if entity else project):
        summary = {
            key: value for key, value in dict(run.summary).items() if not key.startswith("_")
        }
        score = summary.get("best.score", summary.get("val/score"))
        if isinstance(score, Mapping):  # of a run that goes on: the best so far
            score = score.get("max")
        protocol = dict(run.config).get("protocol", {}).get("name")
        known = {
            "name": run.name,
            "state": run.state,
            "group": run.group,
            "score": score,
            "protocol": protocol,
        }
        rows.append(known | {"url": run.url} | summary)
    return pd.DataFrame(rows)
