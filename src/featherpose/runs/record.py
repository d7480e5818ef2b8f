"""`run.json` of a run folder, as a type: what was run, on what, how it ended. Its one reader and its one writer."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from featherpose.errors import PoseError
from featherpose.files import write_atomically
from featherpose.runs.typed import build

FILE = "run.json"
RUNNING, FINISHED, FAILED, INTERRUPTED = "running", "finished", "failed", "interrupted"
BROKEN_OFF = OVER_BUDGET, PRUNED = (
    "over budget",
    "pruned",
)  # by a search: they have done what they should


@dataclass(frozen=True)
class Git:
    """The commit of the code that ran, and whether the tree differed from it."""

    commit: str | None = None
    dirty: bool | None = None


@dataclass(frozen=True)
class NetworkFacts:
    """What was trained, counted at the input size."""

    name: str = ""
    parameters: int | None = None
    macs: float | None = None  # of the convolutions
    thop_macs: float | None = None  # as the papers' tool counts them
    thop_parameters: int | None = None  # likewise: without bare ones as alpha and gamma
    stages: Any = None  # numbers, or one for each branch
    channels: Any = None
    stride: int | None = None
    outputs: list[str] = field(default_factory=list)  # what each supervised one is, in words


@dataclass(frozen=True)
class DataFacts:
    """On whom: how many persons, how many were left out and why, and the SHA-256 of each annotation file."""

    name: str = ""
    train: int | None = None
    val: int | None = None
    scored_on: str | None = None  # the set that validates, where there are several
    split: str = "val"
    skipped: dict[str, dict[str, int]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    input_size: list[int] = field(default_factory=list)  # height, width


@dataclass(frozen=True)
class Best:
    """The checkpoint that is kept, and its score as measured at the end."""

    path: str = ""
    epoch: int | None = None
    score: float | None = None


@dataclass
class RunRecord:
    """What run.json holds. `extra` keeps what it does not name: the dashboards' own entries, e.g. `wandb`."""

    name: str = ""
    group: str | None = None  # the sweep
    state: str = "unknown"
    error: str | None = None  # one sentence
    exit_code: int | None = None
    started: str | None = None
    finished: str | None = None
    resumed: list[str] = field(default_factory=list)
    seed: int | None = None
    command: str | None = None
    git: Git = field(default_factory=Git)
    versions: dict[str, str] = field(default_factory=dict)
    host: str | None = None
    platform: str | None = None
    pid: int | None = None
    machine: str | None = None  # see `heartbeat.machine`
    device: str | None = None
    precision: str | None = None  # of the arithmetic, as it was used
    compile: bool | None = None  # whether torch.compile was asked for and worked
    network: NetworkFacts = field(default_factory=NetworkFacts)
    data: DataFacts = field(default_factory=DataFacts)
    protocol: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, float] = field(default_factory=dict)
    best: Best | None = None
    scores: dict[str, float] = field(default_factory=dict)
    scored: int | None = None  # people; data.val where it is not said
    interval: list[float] = field(default_factory=list)  # 95% of the main score: low, high
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> RunRecord | None:
        """The record of a run folder; None where there is none yet, a PoseError where it is damaged."""
        path = folder / FILE
        content = _json(path)
        if content is None:
            return None
        record = build(cls, {**content, "extra": None}, str(path))
        record.extra = {key: value for key, value in content.items() if key not in _NAMES}
        for moment in (record.started, record.finished):
            _check_moment(moment, path)
        return record

    def write(self, folder: Path) -> None:
        content = {**asdict(self), **self.extra}
        content.pop("extra")
        write_atomically(folder / FILE, json.dumps(content, indent=2, default=str) + "\n")

    def update(self, **changes: Any) -> None:
        """Fields by their names; what is no field is kept in `extra`."""
        for name, value in changes.items():
            if name in _NAMES:
                setattr(self, name, value)
            else:
                self.extra[name] = value

    def dashboard(self, name: str) -> dict[str, Any]:
        """What a logger has noted about itself, e.g. `dashboard("wandb")["id"]`."""
        entry = self.extra.get(name)
        return entry if isinstance(entry, dict) else {}


_NAMES = {each.name for each in fields(RunRecord)}


def mark(folder: Path, **changes: Any) -> None:
    """Changes some fields for a process that cannot any more; a damaged record gives way."""
    try:
        content = _json(folder / FILE) or {}
    except PoseError:
        content = {}
    write_atomically(
        folder / FILE, json.dumps({**content, **changes}, indent=2, default=str) + "\n"
    )


def _json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no JSON, or no UTF-8
        raise PoseError(f"{path} can't be read ({error}).") from error
    if not isinstance(content, dict):
        raise PoseError(f"{path} is {content!r:.40}, not the record of a run.")
    return content


def _check_moment(moment: str | None, path: Path) -> None:
    try:
        if moment is not None and datetime.fromisoformat(moment).tzinfo is None:
            raise ValueError
    except ValueError as error:
        raise PoseError(f"{path}: {moment!r} is no date and time with its zone.") from error
