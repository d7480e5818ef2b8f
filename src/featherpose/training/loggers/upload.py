"""A run folder into W&B, whole: for runs that were killed, resumed, offline, or trained without a dashboard."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from featherpose.errors import PoseError
from featherpose.runs import metrics_csv
from featherpose.runs.folder import DONE, Run, epochs
from featherpose.runs.record import RUNNING, mark
from featherpose.training.loggers.dashboards import tags_of
from featherpose.training.loggers.identity import Identity
from featherpose.training.loggers.weights_and_biases import (
    STEP,
    define,
    logged_in,
    mode_of,
    start,
    summarise,
)

INIT_TIMEOUT = 30.0  # seconds, as for a training run


def upload(
    run: Run,
    directory: Path,
    project: str | None = None,
    entity: str | None = None,
    mode: str | None = None,
) -> str:
    """Writes the run's history, config, pictures, summary and state as one W&B run; gives a sentence on what it did.

    The W&B run is named by what the folder holds, so that nothing is there twice: of a run that went on since, the
    whole history becomes a new one.

    Args:
        run: the run folder.
        directory: holds `wandb/` with all offline runs.
        project: the W&B project; None takes the one that the run's config names.
        entity: the team; None as above.
        mode: online or offline; None is online where a key is found.
    """
    if run.state == RUNNING:
        raise PoseError(f"{run.name} still runs: upload it when it has ended.")
    if there := _there_already(run, mode):
        return there
    import wandb

    number, ours = contents(run), run.select("logger.wandb", {})
    identity = Identity.of_folder(run.folder, run.name, run.record.group, _tags(run), {})
    arguments = {
        "project": project or ours.get("project") or "featherpose",
        "entity": entity or ours.get("entity"),
        "name": run.name,
        "group": run.record.group,
        "job_type": "train",
        "tags": list(identity.tags),
        "config": identity.parameters,
        "dir": str(directory),
        "id": number,
    }
    directory.mkdir(parents=True, exist_ok=True)
    theirs = start(arguments, mode, INIT_TIMEOUT)
    online, place = mode_of(theirs) == "online", Path(theirs.dir).parent
    _write(theirs, run, wandb.Image)
    theirs.finish(exit_code=0 if run.state == DONE else run.record.exit_code or 1)
    told = {"id": number, "mode": mode_of(theirs), "dir": str(place)}
    with contextlib.suppress(OSError):  # a folder that can only be read
        mark(run.folder, uploaded=told | {"url": theirs.url if online else None})
    where = f"uploaded: {theirs.url}" if online else f"written for W&B: wandb sync {place}"
    before = run.record.dashboard("uploaded") or run.record.dashboard("wandb")
    last = f" (whole; the earlier W&B run {before['id']} can go)" if before.get("id") else ""
    return f"{run.name}: {epochs(run)}, {run.state}{last}; {where}"


def contents(run: Run) -> str:
    """A number for what would be uploaded: the same for the same history, config, scores, pictures and state."""
    record = run.record
    told = [run.state, record.name, record.started, record.scores, record.error, _names(run)]
    digest = hashlib.sha256(json.dumps(told, default=str).encode())
    for name in ("metrics.csv", "steps.csv", "config.yaml"):
        path = run.folder / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:16]


def history(run: Run) -> list[tuple[dict[str, Any], list[Path]]]:
    """The rows as the run logged them, by step, and the pictures that belong to an epoch's row."""
    pictures: dict[int, list[Path]] = {}
    for name in _names(run):
        pictures.setdefault(_epoch(name), []).append(run.folder / "pictures" / name)
    rows: list[tuple[dict[str, Any], list[Path]]] = []
    for row in metrics_csv.read(run.folder / "steps.csv", "step"):
        rows.append((_renamed(row), []))
    for row in metrics_csv.read(run.folder / "metrics.csv"):
        rows.append((_renamed(row), pictures.get(int(row["epoch"]), [])))
    return sorted(rows, key=lambda row: (row[0].get(STEP, 0), "epoch" in row[0]))


def _write(theirs: Any, run: Run, picture: Any) -> None:
    defined: set[str] = set()
    for row, pictures in history(run):
        for path in pictures:
            key = path.stem.partition("_")[0]  # preview or worst, as training calls them
            row[key] = picture(str(path), caption=f"epoch {row['epoch']}")
        for name in row.keys() - defined:
            define(theirs, name)
        defined |= row.keys()
        theirs.log(row)
    best = run.folder / "pictures" / "predictions.png"
    if best.is_file():
        theirs.log({"predictions": picture(str(best))})
    summarise(theirs, run.record)
    theirs.summary["state"] = run.state
    if run.record.error:
        theirs.summary["error"] = run.record.error


def _there_already(run: Run, mode: str | None) -> str | None:
    """Why there is nothing to do, in a sentence."""
    own, uploaded = run.record.dashboard("wandb"), run.record.dashboard("uploaded")
    if own.get("mode") == "online" and run.state == DONE and not run.record.resumed:
        return f"{run.name}: nothing to do, it was online while it trained ({own.get('url')})."
    if uploaded.get("id") != contents(run):
        return None
    if uploaded.get("mode") == "online":
        return f"{run.name}: nothing to do, it is uploaded ({uploaded.get('url')})."
    place = Path(uploaded.get("dir", ""))
    if not place.is_dir():
        return None
    if any(place.glob("*.synced")):
        return f"{run.name}: nothing to do, {place} is synced."
    if mode == "offline" or not logged_in():
        return f"{run.name}: nothing to do, it is written for W&B: wandb sync {place}."
    return None


def _names(run: Run) -> list[str]:
    """Of the pictures of epochs; those of older runs are PNG."""
    kept = (run.folder / "pictures").glob("*_[0-9]*.*g")
    return sorted(path.name for path in kept)


def _epoch(name: str) -> int:
    return int(re.sub(r"\D", "", name) or -1)


def _renamed(row: metrics_csv.Row) -> dict[str, Any]:
    return {STEP if name == "step" else name: value for name, value in row.items()}


def _tags(run: Run) -> tuple[str, ...]:
    path = run.folder / ".hydra" / "hydra.yaml"
    choices = (
        OmegaConf.select(OmegaConf.load(path), "hydra.runtime.choices") if path.is_file() else {}
    )
    return tuple(tags_of(OmegaConf.create(run.config), choices or {}))
